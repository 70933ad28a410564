/*
 * utf8 - is it really UTF-8.
 */
#ifndef COMMON_UTF8_H
#define COMMON_UTF8_H

#include <stdbool.h>
#include <stddef.h>

/*
 * True when all len bytes are UTF-8 as Unicode defines it: no surrogates, no
 * overlong forms, nothing above U+10FFFF. NUL is a character like others.
 */
bool utf8_valid(const void *text, size_t len);

/*
 * The length, at most len, up to which text does not end within a
 * character, when it was valid before somebody cut it at len.
 */
size_t utf8_cut(const char *text, size_t len);

/*
 * Whether the character at text (len bytes, at least one) only shows itself:
 * no control character (C0, DEL, C1), no separator of lines, nothing that
 * turns the direction of what follows, and UTF-8 at all. Either way *len_out
 * is how many bytes it has.
 */
bool utf8_harmless(const char *text, size_t len, size_t *len_out);
/* In place, every byte of what is not harmless becomes with, but for newlines
 * and tabs. */
void utf8_tame(char *text, char with);

#endif
