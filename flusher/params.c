/*
 * params - see params.h. An array is: dimensions, has-null flag, element
 * type, length, lower bound; then each element with its length (-1: NULL).
 */
#include "flusher/params.h"

#include <arpa/inet.h>
#include <string.h>

#define PG_EPOCH_US INT64_C(946684800000000)

static void
add32(struct buf *b, uint32_t v)
{
	uint32_t raw = htonl(v);

	buf_add(b, &raw, 4);
}

static void
add64(struct buf *b, uint64_t v)
{
	uint64_t raw = __builtin_bswap64(v);

	buf_add(b, &raw, 8);
}

void
params_init(struct params *p)
{
	memset(p, 0, sizeof(*p));
}

void
params_fini(struct params *p)
{
	buf_fini(&p->bytes);
}

void
params_clear(struct params *p)
{
	p->bytes.len = 0;
	p->count = 0;
}

static void
begin(struct params *p)
{
	ASSERT(p->count < PARAMS_MAX);
	p->nulls[p->count] = false;
	p->starts[p->count] = (uint32_t)p->bytes.len;
}

static void
end(struct params *p)
{
	p->ends[p->count++] = (uint32_t)p->bytes.len;
}

void
params_uuid(struct params *p, const struct uuid *u)
{
	begin(p);
	buf_add(&p->bytes, u->bytes, 16);
	end(p);
}

void
params_int4(struct params *p, int32_t v)
{
	begin(p);
	add32(&p->bytes, (uint32_t)v);
	end(p);
}

void
params_int8(struct params *p, int64_t v)
{
	begin(p);
	add64(&p->bytes, (uint64_t)v);
	end(p);
}

void
params_bool(struct params *p, bool v)
{
	begin(p);
	buf_add_byte(&p->bytes, v);
	end(p);
}

void
params_text(struct params *p, struct slice text)
{
	begin(p);
	buf_add(&p->bytes, text.data, text.len);
	end(p);
}

void
params_null(struct params *p)
{
	begin(p);
	p->nulls[p->count] = true;
	end(p);
}

void
params_time(struct params *p, int64_t us)
{
	params_int8(p, us - PG_EPOCH_US);
}

int64_t
params_time_us(int64_t pg_time)
{
	return pg_time + PG_EPOCH_US;
}

void
params_array_begin(struct params *p, enum pg_oid element)
{
	begin(p);
	p->array_elements = 0;
	add32(&p->bytes, 1);
	add32(&p->bytes, 1); /* may hold NULLs */
	add32(&p->bytes, (uint32_t)element);
	add32(&p->bytes, 0); /* length: known at the end */
	add32(&p->bytes, 1);
}

void
params_array_end(struct params *p)
{
	uint32_t raw = htonl(p->array_elements);

	memcpy(p->bytes.data + p->starts[p->count] + 12, &raw, 4);
	end(p);
}

static void
add_element(struct params *p, uint32_t len)
{
	p->array_elements++;
	add32(&p->bytes, len);
}

void
params_add_uuid(struct params *p, const struct uuid *u)
{
	add_element(p, 16);
	buf_add(&p->bytes, u->bytes, 16);
}

void
params_add_int4(struct params *p, int32_t v)
{
	add_element(p, 4);
	add32(&p->bytes, (uint32_t)v);
}

void
params_add_int8(struct params *p, int64_t v)
{
	add_element(p, 8);
	add64(&p->bytes, (uint64_t)v);
}

void
params_add_time(struct params *p, int64_t us)
{
	params_add_int8(p, us - PG_EPOCH_US);
}

void
params_add_bytes(struct params *p, struct slice bytes)
{
	add_element(p, (uint32_t)bytes.len);
	buf_add(&p->bytes, bytes.data, bytes.len);
}

void
params_add_null(struct params *p)
{
	add_element(p, UINT32_MAX);
}

void
params_send(const struct params *p, struct db_call *call,
            const struct db_statement *statement)
{
	const char *values[PARAMS_MAX];
	int lengths[PARAMS_MAX];

	ASSERT(p->count == statement->params);
	for (int i = 0; i < p->count; i++) {
		/* An empty text is not NULL: any address will do. */
		const char *at = p->bytes.data == NULL ?
		    "" :
		    (const char *)p->bytes.data + p->starts[i];

		values[i] = p->nulls[i] ? NULL : at;
		lengths[i] = (int)(p->ends[i] - p->starts[i]);
	}
	db_call_add(call, statement, values, lengths);
}
