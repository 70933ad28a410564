/*
 * out - tables and JSON on stdout.
 */
#include "ctl/out.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/utf8.h"

#define CELL_WIDTH_MAX 60U
#define TABLE_MAGIC 0x7ab1e001U

struct table {
	uint32_t magic;
	uint32_t column_count;
	char **cells;
	uint32_t count;
	uint32_t cap;
};

bool
out_is_json(const struct ctl *c)
{
	return c->format == FORMAT_JSON || c->format == FORMAT_JSONL;
}

/* JSON as it is; for a terminal what it would obey as \uXXXX, which means
 * the same. All of that is in strings, and C0 is escaped already. */
static void
write_json(const char *text, size_t len)
{
	size_t n;

	if (!isatty(STDOUT_FILENO)) {
		fwrite(text, 1, len, stdout);
		return;
	}
	for (size_t i = 0; i < len; i += n) {
		const unsigned char *s = (const unsigned char *)text + i;

		if (utf8_harmless(text + i, len - i, &n) || s[0] < 0x20)
			fwrite(s, 1, n, stdout);
		else if (n == 1)
			printf(s[0] == 0x7f ? "\\u007f" : "?");
		else if (n == 2)
			printf("\\u%04x", (s[0] & 0x1fU) << 6 | (s[1] & 0x3fU));
		else
			printf("\\u%04x", (s[0] & 0xfU) << 12 |
						  (s[1] & 0x3fU) << 6 |
						  (s[2] & 0x3fU));
	}
}

void
out_stored(const char *json)
{
	write_json(json, strlen(json));
}

void
out_json(struct json_out *j)
{
	write_json((const char *)j->text.data, j->text.len);
	putchar('\n');
	json_out_fini(j);
}

void
out_line(const char *format, ...)
{
	va_list list;
	char *text;
	int len;

	va_start(list, format);
	len = vasprintf(&text, format, list);
	va_end(list);
	if (len < 0)
		mem_exhausted();
	/* Programs get it as it is. */
	if (isatty(STDOUT_FILENO))
		utf8_tame(text, '?');
	puts(text);
	free(text);
}

void
out_value_pretty(struct slice value)
{
	struct buf text = BUF_EMPTY;

	json_write_pretty(value, &text);
	write_json((const char *)text.data, text.len);
	if (text.len == 0 || text.data[text.len - 1] != '\n')
		putchar('\n');
	buf_fini(&text);
}

void
out_json_text(const char *json)
{
	struct buf value = BUF_EMPTY;

	/* What a value cannot hold is shown as it is stored. */
	if (isatty(STDOUT_FILENO) &&
	    json_parse(json, strlen(json), DEFINITION_DEPTH_MAX, &value, NULL,
		       NULL) == 0)
		out_value_pretty(buf_slice(&value));
	else {
		write_json(json, strlen(json));
		putchar('\n');
	}
	buf_fini(&value);
}

void
duration_text(double seconds, char text[DURATION_TEXT_SIZE])
{
	unsigned long long whole;

	if (seconds < 0)
		seconds = 0;
	whole = (unsigned long long)seconds;
	if (seconds < 0.0995)
		snprintf(text, DURATION_TEXT_SIZE, "%.1f ms", seconds * 1e3);
	else if (seconds < 0.9995)
		snprintf(text, DURATION_TEXT_SIZE, "%.0f ms", seconds * 1e3);
	else if (seconds < 60)
		snprintf(text, DURATION_TEXT_SIZE, "%.1f s", seconds);
	else if (whole < 3600)
		snprintf(text, DURATION_TEXT_SIZE, "%llu min %llu s",
			 whole / 60, whole % 60);
	else if (whole < 86400)
		snprintf(text, DURATION_TEXT_SIZE, "%llu h %llu min",
			 whole / 3600, whole / 60 % 60);
	else
		snprintf(text, DURATION_TEXT_SIZE, "%llu d %llu h",
			 whole / 86400, whole / 3600 % 24);
}

/* ---- tables ---- */

struct table *
table_create(uint32_t column_count)
{
	struct table *t = mem_zalloc(sizeof(*t));

	t->magic = TABLE_MAGIC;
	t->column_count = column_count;
	return t;
}

void
table_destroy(struct table **tp)
{
	struct table *t = *tp;

	if (t == NULL)
		return;
	*tp = NULL;
	CHECK_OBJ(t, TABLE_MAGIC);
	for (uint32_t n = 0; n < t->count; n++)
		free(t->cells[n]);
	free(t->cells);
	free(t);
}

/*
 * A cell is one line without control characters, cut at a character's
 * boundary. A terminal must not obey what somebody stored.
 */
static char *
cell_text(const char *text)
{
	struct buf b = BUF_EMPTY;
	size_t left = strlen(text), n;
	uint32_t width = 0;

	for (const char *p = text; left > 0; p += n, left -= n) {
		bool harmless = utf8_harmless(p, left, &n);

		if (++width > CELL_WIDTH_MAX) {
			buf_add_text(&b, "…");
			break;
		}
		if (harmless)
			buf_add(&b, p, n);
		else
			buf_add_byte(&b, ' ');
	}
	return buf_text(&b);
}

void
table_add(struct table *t, const char *text)
{
	CHECK_OBJ(t, TABLE_MAGIC);
	if (t->count == t->cap) {
		t->cap = t->cap == 0 ? 64 : t->cap * 2;
		t->cells = mem_realloc(t->cells, t->cap * sizeof(*t->cells));
	}
	t->cells[t->count++] =
	    cell_text(text == NULL || *text == '\0' ? "-" : text);
}

void
table_add_int(struct table *t, int64_t number)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", (long long)number);
	table_add(t, text);
}

/* Characters, as far as a terminal shows one cell for each. */
static uint32_t
text_width(const char *text)
{
	uint32_t width = 0;

	for (; *text != '\0'; text++)
		if (((unsigned char)*text & 0xc0) != 0x80)
			width++;
	return width;
}

/* The colour of a word that is a status, or "". */
static const char *
word_color(const char *word)
{
	static const char *const good[] = { "succeeded", "ready", "working" };
	static const char *const bad[] = { "failed", "timed_out", "blocked",
					   "killed" };

	for (size_t n = 0; n < sizeof(good) / sizeof(good[0]); n++)
		if (strcmp(word, good[n]) == 0)
			return "\033[32m";
	for (size_t n = 0; n < sizeof(bad) / sizeof(bad[0]); n++)
		if (strcmp(word, bad[n]) == 0)
			return "\033[31m";
	return "";
}

static void
print_cell(const struct ctl *c, const char *text, uint32_t width, bool last,
	   bool heading)
{
	const char *color = !c->color_out ? ""
			    : heading     ? "\033[1m"
					  : word_color(text);

	printf("%s%s%s", color, text, *color != '\0' ? "\033[0m" : "");
	if (last)
		putchar('\n');
	else
		printf("%*s", (int)(width - text_width(text) + 2), "");
}

void
table_print(const struct ctl *c, const struct table *t,
	    const char *const *headings)
{
	CHECK_OBJ(t, TABLE_MAGIC);

	uint32_t n = t->column_count;
	uint32_t *widths = mem_calloc(n, sizeof(*widths));

	for (uint32_t i = 0; c->headers && i < n; i++)
		widths[i] = text_width(headings[i]);
	for (uint32_t i = 0; i < t->count; i++) {
		uint32_t width = text_width(t->cells[i]);

		if (width > widths[i % n])
			widths[i % n] = width;
	}
	for (uint32_t i = 0; c->headers && i < n; i++)
		print_cell(c, headings[i], widths[i], i + 1 == n, true);
	for (uint32_t i = 0; i < t->count; i++)
		print_cell(c, t->cells[i], widths[i % n], (i + 1) % n == 0,
			   false);
	free(widths);
}

void
out_field(const struct ctl *c, const char *label, const char *format, ...)
{
	va_list list;
	char *text;
	int len;

	if (format == NULL)
		return;
	va_start(list, format);
	len = vasprintf(&text, format, list);
	va_end(list);
	if (len < 0)
		mem_exhausted();
	/* Lines stay; anything else a terminal would obey does not. */
	utf8_tame(text, ' ');
	printf("%s%s:%s%*s%s\n", c->color_out ? "\033[1m" : "", label,
	       c->color_out ? "\033[0m" : "",
	       (int)(strlen(label) < 14 ? 14 - strlen(label) : 1), "", text);
	free(text);
}

/* ---- rows of a result ---- */

/* What a column's text looks like to a person, in text[] or as it is. */
static const char *
human_text(const char *value, enum column_type type,
	   char text[DURATION_TEXT_SIZE])
{
	switch (type) {
	case COLUMN_TEXT:
	case COLUMN_NUMBER:
	case COLUMN_JSON:
		return value;
	case COLUMN_BOOL:
		return value[0] == 't' ? "yes" : "no";
	case COLUMN_TIME:
		/* "2026-01-14T12:00:00.123456Z" to "2026-01-14T12:00:00Z" */
		if (strlen(value) < 20)
			return value;
		snprintf(text, DURATION_TEXT_SIZE, "%.19sZ", value);
		return text;
	case COLUMN_SECONDS:
		duration_text(strtod(value, NULL), text);
		return text;
	}
	return value;
}

void
out_row_members(struct json_out *j, const PGresult *rows, int row,
		const struct column *columns, uint32_t column_count)
{
	for (uint32_t n = 0; n < column_count; n++) {
		const char *value = PQgetvalue(rows, row, (int)n);

		if (columns[n].key == NULL)
			continue;
		if (PQgetisnull(rows, row, (int)n)) {
			json_out_null(j, columns[n].key);
			continue;
		}
		switch (columns[n].type) {
		case COLUMN_TEXT:
		case COLUMN_TIME:
			json_out_text(j, columns[n].key, value);
			break;
		case COLUMN_NUMBER:
		case COLUMN_SECONDS:
		case COLUMN_JSON:
			json_out_raw(j, columns[n].key, value);
			break;
		case COLUMN_BOOL:
			json_out_bool(j, columns[n].key, value[0] == 't');
			break;
		}
	}
}

static void
rows_as_json(const struct ctl *c, const PGresult *rows, int first, int count,
	     const struct column *columns, uint32_t column_count)
{
	struct json_out j = JSON_OUT_EMPTY;

	/* A row a line in both; JSONL has no brackets around them. */
	if (c->format == FORMAT_JSON)
		putchar('[');
	for (int row = first; row < first + count; row++) {
		json_out_open(&j, NULL, '{');
		out_row_members(&j, rows, row, columns, column_count);
		json_out_close(&j, '}');
		if (c->format == FORMAT_JSON && row + 1 < first + count)
			buf_add_byte(&j.text, ',');
		if (c->format == FORMAT_JSON && row + 1 == first + count)
			buf_add_byte(&j.text, ']');
		out_json(&j);
	}
	if (c->format == FORMAT_JSON && count == 0)
		puts("]");
}

static void
rows_as_table(const struct ctl *c, const PGresult *rows, int first, int count,
	      const struct column *columns, uint32_t column_count)
{
	const char **headings = mem_calloc(column_count, sizeof(*headings));
	uint32_t shown = 0;
	struct table *t;

	for (uint32_t n = 0; n < column_count; n++)
		if (columns[n].heading != NULL)
			headings[shown++] = columns[n].heading;
	t = table_create(shown);
	for (int row = first; row < first + count; row++) {
		for (uint32_t n = 0; n < column_count; n++) {
			char text[DURATION_TEXT_SIZE];

			if (columns[n].heading == NULL)
				continue;
			if (PQgetisnull(rows, row, (int)n)) {
				table_add(t, NULL);
				continue;
			}
			table_add(t, human_text(PQgetvalue(rows, row, (int)n),
						columns[n].type, text));
		}
	}
	table_print(c, t, headings);
	table_destroy(&t);
	free(headings);
}

void
out_rows(const struct ctl *c, const PGresult *rows, int first, int count,
	 const struct column *columns, uint32_t column_count)
{
	switch (c->format) {
	case FORMAT_JSON:
	case FORMAT_JSONL:
		rows_as_json(c, rows, first, count, columns, column_count);
		break;
	case FORMAT_NAME:
		for (int row = first; row < first + count; row++)
			out_line("%s", PQgetvalue(rows, row, 0));
		break;
	case FORMAT_TABLE:
		rows_as_table(c, rows, first, count, columns, column_count);
		break;
	}
}

void
out_record(const struct ctl *c, const PGresult *rows, int row,
	   const struct column *columns, uint32_t column_count)
{
	struct json_out j = JSON_OUT_EMPTY;

	switch (c->format) {
	case FORMAT_JSON:
	case FORMAT_JSONL:
		json_out_open(&j, NULL, '{');
		out_row_members(&j, rows, row, columns, column_count);
		json_out_close(&j, '}');
		out_json(&j);
		break;
	case FORMAT_NAME:
		out_line("%s", PQgetvalue(rows, row, 0));
		break;
	case FORMAT_TABLE:
		for (uint32_t n = 0; n < column_count; n++) {
			char text[DURATION_TEXT_SIZE];

			if (columns[n].heading == NULL ||
			    PQgetisnull(rows, row, (int)n))
				continue;
			out_field(c, columns[n].heading, "%s",
				  human_text(PQgetvalue(rows, row, (int)n),
					     columns[n].type, text));
		}
		break;
	}
}
