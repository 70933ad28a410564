/*
 * rows - see rows.h.
 */
#include "bench/rows.h"

#include <arpa/inet.h>
#include <string.h>

#include "common/clock.h"

#define FAN_OUT 16
#define STEPS (1 + FAN_OUT + 1 + 1) /* spread, sequence, spread, combine */
#define PG_EPOCH_US INT64_C(946684800000000)

/* Type oids as in pg_type.dat; fixed for ever. */
enum { PG_INT4 = 23, PG_JSON = 114, PG_TIMESTAMPTZ = 1184, PG_UUID = 2950 };

/* One row per action: what an entry of the journal says, a column each. */
static const struct column bare_columns[] = {
	{ "instance_id", "uuid", PG_UUID, 2951 },
	{ "seq", "int4", PG_INT4, 1007 },
	{ "activation", "int4", PG_INT4, 1007 },
	{ "attempt", "int4", PG_INT4, 1007 },
	{ "state", "int4", PG_INT4, 1007 },
	{ "worker", "int4", PG_INT4, 1007 },
	{ "at", "timestamptz", PG_TIMESTAMPTZ, 1185 },
	{ "result", "json", PG_JSON, 199 },
};

static const struct column packed_columns[] = {
	{ "instance_id", "uuid", PG_UUID, 2951 },
	{ "seq", "int4", PG_INT4, 1007 },
	{ "count", "int4", PG_INT4, 1007 },
	{ "at", "timestamptz", PG_TIMESTAMPTZ, 1185 },
	{ "entries", "json", PG_JSON, 199 },
};

int
rows_columns(enum method method, const struct column **out)
{
	if (method == METHOD_PACKED) {
		*out = packed_columns;
		return sizeof(packed_columns) / sizeof(packed_columns[0]);
	}
	*out = bare_columns;
	return sizeof(bare_columns) / sizeof(bare_columns[0]);
}

static void
add32(struct buf *b, uint32_t v)
{
	uint32_t raw = htonl(v);

	buf_add(b, &raw, sizeof(raw));
}

static void
add64(struct buf *b, uint64_t v)
{
	uint64_t raw = __builtin_bswap64(v);

	buf_add(b, &raw, sizeof(raw));
}

/* Fields are written the same way in an array and in a COPY row. */
static void
field_uuid(struct buf *b, const struct uuid *u)
{
	add32(b, sizeof(u->bytes));
	buf_add(b, u->bytes, sizeof(u->bytes));
}

static void
field_int(struct buf *b, int v)
{
	add32(b, 4);
	add32(b, (uint32_t)v);
}

static void
field_time(struct buf *b, int64_t us)
{
	add32(b, 8);
	add64(b, (uint64_t)(us - PG_EPOCH_US));
}

static void
field_null(struct buf *b)
{
	add32(b, UINT32_MAX);
}

/* As PostgreSQL's rappel.uuid7(): time-ordered, the rest random. */
static void
instance_begin(struct running *r)
{
	uint64_t ms = (uint64_t)clock_wall_us() / 1000;

	uuid_random(&r->id);
	for (int i = 0; i < 6; i++)
		r->id.bytes[i] = (uint8_t)(ms >> (8 * (5 - i)));
	r->id.bytes[6] = (uint8_t)(0x70 | (r->id.bytes[6] & 0x0f));
	r->step = 0;
	r->seq = 1;
}

static unsigned
step_entries(int step)
{
	return step == 0 || step == FAN_OUT + 1 ? FAN_OUT : 1;
}

void
rows_init(struct rows *rows, enum method method)
{
	memset(rows, 0, sizeof(*rows));
	rows->method = method;
	rows->column_count = rows_columns(method, &rows->columns);
	/* Each somewhere else in its life, or all would spread at once. */
	for (int i = 0; i < ROWS_INSTANCES; i++) {
		instance_begin(&rows->active[i]);
		rows->active[i].step = i % STEPS;
	}
	rows->left = step_entries(rows->active[0].step);
}

void
rows_fini(struct rows *rows)
{
	buf_fini(&rows->copy);
	for (int i = 0; i < ROWS_COLUMNS_MAX; i++)
		buf_fini(&rows->arrays[i]);
}

/* The buffer for column i of the next row: of its array, or of the row. */
static struct buf *
column_buf(struct rows *rows, int i)
{
	return rows->method == METHOD_COPY ? &rows->copy : &rows->arrays[i];
}

static void
row_bare(struct rows *rows, const struct running *r, int64_t now_us)
{
	if (rows->method == METHOD_COPY) {
		uint16_t fields = htons((uint16_t)rows->column_count);

		buf_add(&rows->copy, &fields, sizeof(fields));
	}
	field_uuid(column_buf(rows, 0), &r->id);
	field_int(column_buf(rows, 1), r->seq);
	field_int(column_buf(rows, 2), r->seq);
	field_int(column_buf(rows, 3), 1);
	field_int(column_buf(rows, 4), r->step);
	field_int(column_buf(rows, 5), r->seq % 4);
	field_time(column_buf(rows, 6), now_us);
	field_null(column_buf(rows, 7));
}

static void
row_packed(struct rows *rows, const struct running *r, unsigned entries,
	   int64_t now_us)
{
	struct buf *json = &rows->arrays[4];
	size_t start;
	uint32_t len;

	field_uuid(&rows->arrays[0], &r->id);
	field_int(&rows->arrays[1], r->seq);
	field_int(&rows->arrays[2], (int)entries);
	field_time(&rows->arrays[3], now_us);
	add32(json, 0);
	start = json->len;
	for (unsigned i = 0; i < entries; i++) {
		int seq = r->seq + (int)i;

		/* [kind, at, activation, attempt, state, index, worker, run] */
		buf_printf(json, "%s[1,%d,%d,1,%d,%u,%d,4]", i ? "," : "[",
			   100 + seq, seq, r->step, i, seq % 4);
	}
	buf_add_byte(json, ']');
	len = htonl((uint32_t)(json->len - start));
	memcpy(json->data + start - 4, &len, 4);
}

unsigned
rows_build(struct rows *rows, unsigned actions)
{
	static const char copy_header[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0\0";
	unsigned count = 0;
	int64_t now_us = clock_wall_us();

	rows->copy.len = 0;
	if (rows->method == METHOD_COPY)
		buf_add(&rows->copy, copy_header, 19);
	for (int i = 0; i < rows->column_count; i++) {
		rows->arrays[i].len = 0;
		add32(&rows->arrays[i], 1);
		add32(&rows->arrays[i], 1); /* may hold NULLs */
		add32(&rows->arrays[i], rows->columns[i].element);
		add32(&rows->arrays[i], 0); /* length: below */
		add32(&rows->arrays[i], 1);
	}
	for (unsigned done = 0; done < actions;) {
		struct running *r = &rows->active[rows->turn];
		unsigned take = rows->left;

		if (take > actions - done)
			take = actions - done;
		if (rows->method == METHOD_PACKED) {
			row_packed(rows, r, take, now_us);
			count++;
			r->seq += (int)take;
		} else {
			for (unsigned i = 0; i < take; i++, r->seq++)
				row_bare(rows, r, now_us);
			count += take;
		}
		done += take;
		rows->left -= take;
		if (rows->left > 0)
			continue;
		if (++r->step == STEPS)
			instance_begin(r);
		rows->turn = (rows->turn + 1) % ROWS_INSTANCES;
		rows->left = step_entries(rows->active[rows->turn].step);
	}
	for (int i = 0; i < rows->column_count; i++) {
		uint32_t raw = htonl(count);

		memcpy(rows->arrays[i].data + 12, &raw, 4);
	}
	if (rows->method == METHOD_COPY)
		buf_add(&rows->copy, "\377\377", 2);
	return count;
}
