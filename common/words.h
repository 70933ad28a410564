/*
 * words - a line taken apart at blanks, and lists of texts.
 *
 * As people write a command: what stands in '…' or "…" stays together,
 * nothing else means anything. Never a shell: no variables, no escapes.
 */
#ifndef COMMON_WORDS_H
#define COMMON_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/assert.h"
#include "common/buf.h"

struct words {
	char **items; /* ended by NULL; NULL when there are none */
	uint32_t count;
};

#define WORDS_EMPTY ((struct words){ NULL, 0 })

/* Copies. */
void words_add(struct words *w, const char *text, size_t len);
/* Wipes: what somebody wrote may be a secret. */
void words_fini(struct words *w);
void words_copy(struct words *to, const struct words *from);
bool words_equal(const struct words *a, const struct words *b);

/*
 * Adds the words of text; one that begins with # ends it, as a comment. With
 * commas a comma parts words, too. -EINVAL when a quote is not closed; what
 * was added before it stays.
 */
int words_split(struct words *w, const char *text, bool commas) MUST_CHECK;

/* One word so that words_split() reads it back. */
void words_quote(const char *word, struct buf *out);

#endif
