/*
 * builder - one value, put together piece by piece by somebody who is not
 * trusted to do it right.
 *
 * What it made is a value by construction: counts, keys, depth, UTF-8, finite
 * numbers and the size are checked as it goes, so that nobody has to read it
 * again. The first mistake is remembered with its place, and what follows it
 * is ignored.
 */
#ifndef WORKER_BUILDER_H
#define WORKER_BUILDER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/assert.h"
#include "common/buf.h"
#include "common/error.h"
#include "common/value.h"

#define BUILDER_OPEN UINT32_MAX

struct builder {
	struct buf *out; /* the caller's; empty at first */
	size_t bytes_max;
	struct slice borrowed; /* the whole value, when it lies elsewhere */
	bool whole;            /* the one value is complete */
	bool failed;
	bool too_large; /* so it failed */
	uint32_t depth;
	struct error err;
	struct builder_level {
		bool map;
		bool open;       /* until builder_end() */
		bool value_next; /* of a map: its key is there */
		uint32_t count;  /* that it shall have */
		uint32_t done;
		size_t head;   /* of an open one: where its count belongs */
		size_t key_at; /* the last key's text, in out */
		size_t key_len;
	} levels[VALUE_DEPTH_MAX];
};

/* Cheap: what is not used yet is not touched. */
void builder_init(struct builder *b, struct buf *out, size_t bytes_max);

void builder_null(struct builder *b);
void builder_bool(struct builder *b, bool v);
void builder_int(struct builder *b, int64_t v);
void builder_uint(struct builder *b, uint64_t v);
void builder_double(struct builder *b, double v);
/* A key, where one belongs. */
void builder_text(struct builder *b, const char *text, size_t len);
/* count, or BUILDER_OPEN. */
void builder_array(struct builder *b, uint32_t count);
void builder_map(struct builder *b, uint32_t count);
void builder_end(struct builder *b);
/* Bytes that nobody has checked; copied. */
void builder_raw(struct builder *b, struct slice packed);
/* A checked value; as the whole result it is not copied, and has to live as
 * long. */
void builder_value(struct builder *b, struct slice value);
void builder_json(struct builder *b, const char *text, size_t len);

/* 0 with the value, null when nothing was put; or -EINVAL with b->err. */
int builder_finish(struct builder *b, struct slice *out) MUST_CHECK;

#endif
