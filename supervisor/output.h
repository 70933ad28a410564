/*
 * output - what a worker prints: a pipe that is read without ever blocking,
 * lines that are logged with where they came from, and the last few kept.
 *
 * Runs in the supervisor. A worker that floods costs a bounded amount of time
 * and memory, is slowed down by its full pipe and never blocked for good: what
 * is above its rate is read, counted and thrown away. A line is cut at
 * LOG_FOREIGN_BYTES.
 */
#ifndef SUPERVISOR_OUTPUT_H
#define SUPERVISOR_OUTPUT_H

#include <stdint.h>

#include "common/assert.h"
#include "common/buf.h"

#define OUTPUT_LINES 4U /* kept for status */
/* Of each: the remedy stands at the end of a line that says why. */
#define OUTPUT_LINE_BYTES 512U

struct child;
struct output;

/* For a worker's slot; lives as long as the slot. */
struct output *output_create(struct child *c);
/* Sets *o to NULL; NULL is fine. */
void output_destroy(struct output **o);

/*
 * A life begins: the descriptor to hand to it as 1 and 2, which the caller
 * closes, or -errno. Forgets what the life before printed last only when this
 * one prints something.
 */
int output_begin(struct output *o) MUST_CHECK;
/* The process is dead: what is left in the pipe, then nothing any more, even
 * when a descendant still holds the other end. */
void output_end(struct output *o);

/* Once a second: tells how much was thrown away. */
void output_tick(struct output *o);

/* The last line that this life printed, or NULL; and of any life. Borrowed
 * until the next one is read. */
const char *output_said(const struct output *o);
const char *output_last(const struct output *o);

/* Adds the last lines, oldest first, as a msgpack array of at most max. */
void output_pack_last(const struct output *o, uint32_t max, struct buf *out);

#endif
