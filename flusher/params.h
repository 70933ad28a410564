/*
 * params - the parameters of one statement, in PostgreSQL's binary format.
 *
 * Filled one after the other and handed to db_call_add(), which copies.
 * Reused from call to call, so that the hot path allocates nothing.
 */
#ifndef FLUSHER_PARAMS_H
#define FLUSHER_PARAMS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/uuid.h"
#include "flusher/db.h"

#define PARAMS_MAX 12

/* Type oids as in pg_type.dat; fixed for ever. */
enum pg_oid {
	PG_BOOL = 16,
	PG_INT8 = 20,
	PG_INT4 = 23,
	PG_TEXT = 25,
	PG_JSON = 114,
	PG_JSON_ARRAY = 199,
	PG_INT4_ARRAY = 1007,
	PG_TEXT_ARRAY = 1009,
	PG_INT8_ARRAY = 1016,
	PG_TIMESTAMPTZ = 1184,
	PG_TIMESTAMPTZ_ARRAY = 1185,
	PG_UUID = 2950,
	PG_UUID_ARRAY = 2951,
};

struct params {
	struct buf bytes;
	uint32_t starts[PARAMS_MAX];
	uint32_t ends[PARAMS_MAX];
	bool nulls[PARAMS_MAX];
	int count;
	uint32_t array_elements; /* of the array that is open */
};

void params_init(struct params *p);
void params_fini(struct params *p);
void params_clear(struct params *p);

void params_uuid(struct params *p, const struct uuid *u);
void params_int4(struct params *p, int32_t v);
void params_int8(struct params *p, int64_t v);
void params_bool(struct params *p, bool v);
void params_text(struct params *p, struct slice text);
void params_null(struct params *p);
void params_time(struct params *p, int64_t us); /* since 1970 */

/* An array: begin with the element type, add elements, end. */
void params_array_begin(struct params *p, enum pg_oid element);
void params_array_end(struct params *p);
void params_add_uuid(struct params *p, const struct uuid *u);
void params_add_int4(struct params *p, int32_t v);
void params_add_int8(struct params *p, int64_t v);
void params_add_time(struct params *p, int64_t us);
void params_add_bytes(struct params *p, struct slice bytes); /* text, json */
void params_add_null(struct params *p);

/* Adds the statement with these parameters to the call. */
void params_send(const struct params *p, struct db_call *call,
                 const struct db_statement *statement);

/* PostgreSQL counts from 2000. */
int64_t params_time_us(int64_t pg_time);

#endif
