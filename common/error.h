/*
 * error - what was wrong, where, and what to do, in words for a person.
 *
 * Filled by code that judges what somebody wrote (a definition, a file, an
 * input, a peer's bytes) and shown by the program that asked. No allocation:
 * a longer text is cut. Fields that do not apply are empty or 0.
 */
#ifndef COMMON_ERROR_H
#define COMMON_ERROR_H

#include <stdint.h>

struct error {
	char state[96];    /* of a definition: the state concerned, or "" */
	char field[64];    /* the field or key concerned, or "" */
	uint32_t line;     /* 1-based line in the text, or 0 */
	char message[400]; /* one sentence, no newline, no final full stop */
};

/* Sets the message and leaves the place alone. A NULL err is fine. */
void error_set(struct error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Empties every field. A NULL err is fine. */
void error_clear(struct error *err);

/*
 * Writes "state "X", field "Y", line N: message" with the parts that are
 * set, into text, cut at size bytes and always ended by NUL.
 */
void error_text(const struct error *err, char *text, uint32_t size);

#endif
