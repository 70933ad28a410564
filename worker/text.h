/*
 * text - what a program wrote, made fit for a journal. Pure.
 */
#ifndef WORKER_TEXT_H
#define WORKER_TEXT_H

#include "common/buf.h"

/*
 * Appends the end of text, at most max bytes of it, to out: it begins at a
 * whole character; NUL and what is no UTF-8 become '?'.
 */
void text_clean(struct slice text, size_t max, struct buf *out);

/* The text without blanks and newlines at its end. */
struct slice text_trim(struct slice text);

#endif
