/*
 * words - a line taken apart at blanks, and lists of texts.
 */
#include "common/words.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

static bool
is_between(char c, bool commas)
{
	return c == ' ' || c == '\t' || (c == ',' && commas);
}

void
words_add(struct words *w, const char *text, size_t len)
{
	w->items = mem_realloc(w->items, (w->count + 2) * sizeof(*w->items));
	w->items[w->count++] = mem_strndup(text, len);
	w->items[w->count] = NULL;
}

void
words_fini(struct words *w)
{
	for (uint32_t i = 0; i < w->count; i++) {
		explicit_bzero(w->items[i], strlen(w->items[i]));
		free(w->items[i]);
	}
	free(w->items);
	*w = WORDS_EMPTY;
}

void
words_copy(struct words *to, const struct words *from)
{
	words_fini(to);
	for (uint32_t i = 0; i < from->count; i++)
		words_add(to, from->items[i], strlen(from->items[i]));
}

bool
words_equal(const struct words *a, const struct words *b)
{
	if (a->count != b->count)
		return false;
	for (uint32_t i = 0; i < a->count; i++) {
		if (strcmp(a->items[i], b->items[i]) != 0)
			return false;
	}
	return true;
}

/* The word at *at, which moves behind it. */
static int
word_read(const char **at, bool commas, struct buf *word)
{
	const char *p = *at;

	while (*p != '\0' && !is_between(*p, commas)) {
		const char *close;

		if (*p != '\'' && *p != '"') {
			buf_add(word, p++, 1);
			continue;
		}
		close = strchr(p + 1, *p);
		if (close == NULL)
			return -EINVAL;
		buf_add(word, p + 1, (size_t)(close - p - 1));
		p = close + 1;
	}
	*at = p;
	return 0;
}

int
words_split(struct words *w, const char *text, bool commas)
{
	struct buf word = BUF_EMPTY;
	int rc = 0;

	for (;;) {
		while (is_between(*text, commas))
			text++;
		if (*text == '\0' || *text == '#')
			break;
		word.len = 0;
		rc = word_read(&text, commas, &word);
		if (rc < 0)
			break;
		words_add(w, buf_text(&word), word.len);
	}
	if (word.data != NULL)
		explicit_bzero(word.data, word.cap);
	buf_fini(&word);
	return rc;
}

/* It says something else without quotes. */
static bool
needs_quotes(const char *word)
{
	if (*word == '\0' || *word == '#')
		return true;
	for (; *word != '\0'; word++) {
		if (isspace((unsigned char)*word) ||
		    strchr("'\",", *word) != NULL)
			return true;
	}
	return false;
}

void
words_quote(const char *word, struct buf *out)
{
	if (!needs_quotes(word)) {
		buf_add_text(out, word);
		return;
	}
	if (*word == '\0')
		buf_add_text(out, "''");
	while (*word != '\0') {
		/* Up to the quote that this one cannot hold. */
		const char *quote = *word == '\'' ? "\"" : "'";
		size_t len = strcspn(word, quote);

		buf_add_text(out, quote);
		buf_add(out, word, len);
		buf_add_text(out, quote);
		word += len;
	}
}
