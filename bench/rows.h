/*
 * rows - batches of journal rows as queue-noop would bring them, in
 * PostgreSQL's binary formats.
 *
 * Used by limit, one per connection. Owns its buffers. Never blocks.
 *
 * 1,000 instances are active at a time and take turns; each turn is one of
 * an instance's 19 steps, which bring 49 entries. So keys arrive in the order
 * in which a pool writes them.
 */
#ifndef BENCH_ROWS_H
#define BENCH_ROWS_H

#include <stdint.h>

#include "common/buf.h"
#include "common/uuid.h"

#define ROWS_COLUMNS_MAX 8
#define ROWS_INSTANCES 1000

enum method {
	METHOD_UNNEST, /* a bare row per action; arrays, one a column */
	METHOD_COPY,   /* a bare row per action; COPY's binary format */
	METHOD_PACKED, /* a row per step, as in action_log; arrays */
};

struct column {
	const char *name;
	const char *type;
	uint32_t element; /* oid of the type */
	uint32_t array;   /* oid of its array */
};

/* The columns of a method's table; how many there are. */
int rows_columns(enum method method, const struct column **out);

/* An instance that runs: its steps are written one after the other. */
struct running {
	struct uuid id;
	int step;
	int seq; /* of the next entry */
};

struct rows {
	enum method method;
	const struct column *columns;
	int column_count;
	struct running active[ROWS_INSTANCES];
	unsigned turn; /* whose step is next */
	unsigned left; /* entries of that step not yet in a batch */
	/* The batch: an array a column, or for COPY its whole data. */
	struct buf arrays[ROWS_COLUMNS_MAX];
	struct buf copy;
};

void rows_init(struct rows *r, enum method method);
void rows_fini(struct rows *r);
/* Fills the buffers with the next batch of that many actions; how many rows
 * it has. */
unsigned rows_build(struct rows *r, unsigned actions);

#endif
