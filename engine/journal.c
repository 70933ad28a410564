/*
 * journal - events as the JSON entries of action_log, both ways.
 */
#include "engine/journal.h"

#include <errno.h>
#include <stdlib.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/value.h"

#define JOURNAL_READER_MAGIC 0x10a31a1dU

/* Where each thing stands in an entry. */
enum column {
	COLUMN_KIND,
	COLUMN_AT,
	COLUMN_ACTIVATION,
	COLUMN_ATTEMPT,
	COLUMN_STATE,
	COLUMN_INDEX,
	COLUMN_WORKER,
	COLUMN_RUN,
	COLUMN_VALUE, /* or the error's name */
	COLUMN_CAUSE,
	COLUMN_EXTRA,
	COLUMNS,
};

/* The row and the entry are around the value. */
#define ENTRY_DEPTH_MAX (VALUE_DEPTH_MAX + 2)

/* ---- writing ---- */

static void
add_uint(struct buf *json, uint64_t n)
{
	char digits[20];
	char *at = digits + sizeof(digits);

	do {
		*--at = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	buf_add(json, at, (size_t)(digits + sizeof(digits) - at));
}

static void
add_int(struct buf *json, int64_t n)
{
	if (n < 0)
		buf_add_byte(json, '-');
	add_uint(json, n < 0 ? 0 - (uint64_t)n : (uint64_t)n);
}

/* An entry under construction: nulls are owed until something follows. */
struct entry {
	struct buf *json;
	uint32_t owed;
};

static void
column(struct entry *e)
{
	for (; e->owed > 0; e->owed--)
		buf_add(e->json, ",null", 5);
	buf_add_byte(e->json, ',');
}

static void
column_int(struct entry *e, int64_t n)
{
	column(e);
	add_int(e->json, n);
}

static void
column_place(struct entry *e, int64_t n)
{
	if (n < 0)
		e->owed++;
	else
		column_int(e, n);
}

static void
column_text(struct entry *e, struct slice text)
{
	if (text.len == 0) {
		e->owed++;
		return;
	}
	column(e);
	json_write_str(text, e->json);
}

static void
column_value(struct entry *e, struct slice value)
{
	if (value.len == 0 || value_type(value) == VALUE_NULL) {
		e->owed++;
		return;
	}
	column(e);
	json_write(value, e->json);
}

/* Of an attempt in a worker, which is named. */
static bool
kind_ran(enum event_kind kind)
{
	return kind == EVENT_SUCCEEDED || kind == EVENT_FAILED ||
	       kind == EVENT_LOST || kind == EVENT_PENDING;
}

static bool
kind_has_value(enum event_kind kind)
{
	return kind == EVENT_SUCCEEDED || kind == EVENT_HEARTBEAT;
}

void
journal_entry_add(struct buf *json, int64_t row_at_us, const struct event *e,
		  const struct journal_place *place)
{
	struct entry entry = { json, 0 };

	buf_reserve(json, 128);
	if (json->len > 0 && json->data[json->len - 1] != '[')
		buf_add_byte(json, ',');
	buf_add_byte(json, '[');
	add_uint(json, (uint64_t)e->kind);
	/* Wraps where the reader wraps back. */
	column_int(&entry, (int64_t)((uint64_t)e->at_us - (uint64_t)row_at_us));
	column_int(&entry, e->activation);
	column_int(&entry, e->attempt);
	column_place(&entry, place->state_no);
	column_place(&entry, place->index);
	if (kind_ran(e->kind) && e->worker != WORKER_NONE) {
		column_int(&entry, e->worker);
		column(&entry);
		add_uint(json, e->run_us);
	} else {
		entry.owed += 2; /* nobody ran it */
	}
	if (kind_has_value(e->kind)) {
		column_value(&entry, e->value);
		entry.owed++; /* no cause */
	} else {
		column_text(&entry, e->error);
		column_text(&entry, e->cause);
	}
	if (e->extra.len > 0)
		column_value(&entry, e->extra);
	buf_add_byte(json, ']');
}

/* ---- reading ---- */

struct journal_reader {
	uint32_t magic;
	int64_t row_at_us;
	struct buf bytes; /* the row as msgpack */
	struct cursor rest;
	uint32_t count;
	uint32_t left;
};

struct journal_reader *
journal_reader_create(struct slice json, int64_t row_at_us, struct error *err)
{
	struct journal_reader *r = mem_zalloc(sizeof(*r));
	struct item item;

	r->magic = JOURNAL_READER_MAGIC;
	r->row_at_us = row_at_us;
	if (json_parse((const char *)json.data, json.len, ENTRY_DEPTH_MAX,
		       &r->bytes, NULL, err) != 0) {
		journal_reader_destroy(&r);
		return NULL;
	}
	r->rest = cursor_of(buf_slice(&r->bytes));
	item = cursor_next(&r->rest);
	if (item.type != VALUE_ARRAY) {
		error_set(err, "a row of the journal must be a list");
		journal_reader_destroy(&r);
		return NULL;
	}
	r->count = item.count;
	r->left = item.count;
	return r;
}

void
journal_reader_destroy(struct journal_reader **rp)
{
	struct journal_reader *r = *rp;

	if (r == NULL)
		return;
	*rp = NULL;
	CHECK_OBJ(r, JOURNAL_READER_MAGIC);
	buf_fini(&r->bytes);
	r->magic = 0;
	free(r);
}

uint32_t
journal_reader_count(const struct journal_reader *r)
{
	CHECK_OBJ(r, JOURNAL_READER_MAGIC);
	return r->count;
}

/* The next column as a number up to max; null and missing are 0. */
static bool
read_uint(struct cursor *c, uint32_t *left, uint64_t max, uint64_t *out)
{
	struct item item;

	*out = 0;
	if (*left == 0)
		return true;
	--*left;
	item = cursor_next(c);
	if (item.type == VALUE_NULL)
		return true;
	if (item.type == VALUE_UINT)
		*out = item.u;
	else if (item.type == VALUE_INT && item.i >= 0)
		*out = (uint64_t)item.i;
	else
		return false;
	return *out <= max;
}

static bool
read_text(struct cursor *c, uint32_t *left, struct slice *out)
{
	struct item item;

	if (*left == 0)
		return true;
	--*left;
	item = cursor_next(c);
	if (item.type == VALUE_STR)
		*out = item.bytes;
	return item.type == VALUE_STR || item.type == VALUE_NULL;
}

/* A value or an error, and its cause. */
static bool
read_answer(struct cursor *c, uint32_t *left, struct event *e)
{
	struct slice none = SLICE_NONE;

	if (!kind_has_value(e->kind))
		return read_text(c, left, &e->error) &&
		       read_text(c, left, &e->cause);
	e->value = SLICE_LITERAL("\xc0");
	if (*left > 0) {
		--*left;
		e->value = cursor_value(c);
	}
	return read_text(c, left, &none) && none.data == NULL;
}

static bool
read_extra(struct cursor *c, uint32_t *left, struct event *e)
{
	if (*left == 0)
		return true;
	--*left;
	e->extra = cursor_value(c);
	return value_type(e->extra) == VALUE_MAP;
}

/* Who ran it: null is nobody. */
static bool
read_worker(struct cursor *c, uint32_t *left, struct event *e)
{
	struct cursor peek = *c;
	bool nobody = kind_ran(e->kind) &&
		      (*left == 0 || cursor_next(&peek).type == VALUE_NULL);
	uint64_t worker;

	if (!read_uint(c, left, WORKER_NONE - 1, &worker))
		return false;
	e->worker = nobody ? WORKER_NONE : (uint32_t)worker;
	return true;
}

/* c is at an entry's content, of left columns. */
static bool
read_entry(struct cursor *c, uint32_t *left, int64_t row_at_us, struct event *e)
{
	uint64_t kind;
	uint64_t activation;
	uint64_t attempt;
	uint64_t place;
	struct item at;

	*e = (struct event){ .at_us = row_at_us };
	if (*left < COLUMN_ACTIVATION ||
	    !read_uint(c, left, EVENT_HEARTBEAT, &kind) || kind == 0)
		return false;
	e->kind = (enum event_kind)kind;
	at = cursor_next(c);
	--*left;
	if (at.type != VALUE_INT)
		return false;
	e->at_us = (int64_t)((uint64_t)row_at_us + (uint64_t)at.i);
	if (!read_uint(c, left, UINT32_MAX, &activation) ||
	    !read_uint(c, left, UINT32_MAX, &attempt) ||
	    !read_uint(c, left, UINT64_MAX, &place) || /* state */
	    !read_uint(c, left, UINT64_MAX, &place) || /* index */
	    !read_worker(c, left, e) ||
	    !read_uint(c, left, UINT64_MAX, &e->run_us))
		return false;
	e->activation = (uint32_t)activation;
	e->attempt = (uint32_t)attempt;
	return read_answer(c, left, e) && read_extra(c, left, e) &&
	       *left == 0;
}

int
journal_reader_next(struct journal_reader *r, struct event *out,
		    struct error *err)
{
	struct event e;
	struct item item;

	CHECK_OBJ(r, JOURNAL_READER_MAGIC);
	if (r->left == 0)
		return 0;

	struct cursor c = r->rest;

	item = cursor_next(&c);
	/* Columns are counted down in the item itself. */
	if (item.type != VALUE_ARRAY || item.count > COLUMNS ||
	    !read_entry(&c, &item.count, r->row_at_us, &e)) {
		error_set(err,
			  "entry %u of a row of the journal is not "
			  "what this version writes",
			  r->count - r->left + 1);
		return -EPROTO;
	}
	r->rest = c;
	r->left--;
	*out = e;
	return 1;
}
