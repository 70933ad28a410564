/*
 * batch_pack - see batch_pack.h.
 */
#include "flusher/batch_pack.h"

#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/json.h"
#include "common/mem.h"
#include "engine/instance.h"
#include "flusher/batch.h"
#include "flusher/flusher.h"
#include "flusher/lease.h"
#include "flusher/params.h"
#include "flusher/sql.h"

static void
pack_rows(struct batch *b, struct params *p, struct db_call *call)
{
	uint32_t rows = batch_rows(b);

	params_clear(p);
	params_array_begin(p, PG_UUID);
	for (uint32_t i = 0; i < rows; i++)
		params_add_uuid(p, &batch_row(b, i)->lease->id);
	params_array_end(p);
	params_array_begin(p, PG_INT4);
	for (uint32_t i = 0; i < rows; i++)
		params_add_int4(p, (int32_t)batch_row(b, i)->seq);
	params_array_end(p);
	params_array_begin(p, PG_INT4);
	for (uint32_t i = 0; i < rows; i++)
		params_add_int4(p, (int32_t)batch_row(b, i)->count);
	params_array_end(p);
	params_array_begin(p, PG_TIMESTAMPTZ);
	for (uint32_t i = 0; i < rows; i++)
		params_add_time(p, batch_row(b, i)->at_us);
	params_array_end(p);
	params_array_begin(p, PG_JSON);
	for (uint32_t i = 0; i < rows; i++) {
		struct batch_row *row = batch_row(b, i);

		buf_add_byte(&row->json, ']');
		params_add_bytes(p, buf_slice(&row->json));
		row->json.len--; /* it may be sent again */
	}
	params_array_end(p);
	params_send(p, call, &sql_log_insert);
}

/* A column of type text takes every character but NUL: U+FFFD stands for
 * it. The journal, as JSON, has it as it was. */
static void
add_text_or_null(struct params *p, struct buf *kept, struct slice text)
{
	if (text.data == NULL) {
		params_add_null(p);
		return;
	}
	if (memchr(text.data, 0, text.len) == NULL) {
		params_add_bytes(p, text);
		return;
	}
	kept->len = 0;
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] == 0)
			buf_add(kept, "\xef\xbf\xbd", 3);
		else
			buf_add_byte(kept, text.data[i]);
	}
	params_add_bytes(p, buf_slice(kept));
}

static void
pack_ends(struct flusher *f, struct batch *b, struct params *p,
          struct db_call *call)
{
	uint32_t count = batch_ends(b);
	struct end_view *ends = mem_calloc(count, sizeof(*ends));
	int64_t now = flusher_now_us(f);
	struct buf text = BUF_EMPTY;

	for (uint32_t i = 0; i < count; i++)
		instance_end(batch_end(b, i)->engine, &ends[i]);
	params_clear(p);
	params_uuid(p, &f->incarnation);
	params_array_begin(p, PG_UUID);
	for (uint32_t i = 0; i < count; i++)
		params_add_uuid(p, &batch_end(b, i)->id);
	params_array_end(p);
	params_array_begin(p, PG_TEXT);
	for (uint32_t i = 0; i < count; i++)
		params_add_bytes(
		    p, slice_of(instance_status_name(ends[i].status)));
	params_array_end(p);
	params_array_begin(p, PG_JSON);
	for (uint32_t i = 0; i < count; i++) {
		if (ends[i].output == NULL) {
			params_add_null(p);
			continue;
		}
		text.len = 0;
		json_write(ends[i].output->s, &text);
		params_add_bytes(p, buf_slice(&text));
	}
	params_array_end(p);
	params_array_begin(p, PG_TEXT);
	for (uint32_t i = 0; i < count; i++)
		add_text_or_null(p, &text, ends[i].error);
	params_array_end(p);
	params_array_begin(p, PG_TEXT);
	for (uint32_t i = 0; i < count; i++)
		add_text_or_null(p, &text, ends[i].cause);
	params_array_end(p);
	params_array_begin(p, PG_TIMESTAMPTZ);
	for (uint32_t i = 0; i < count; i++)
		params_add_time(p, now);
	params_array_end(p);
	params_send(p, call, &sql_instances_end);
	buf_fini(&text);
	free(ends);
}

static void
pack_commands(struct batch *b, struct params *p, struct db_call *call)
{
	params_clear(p);
	params_array_begin(p, PG_INT8);
	for (uint32_t i = 0; i < batch_commands(b); i++)
		params_add_int8(p, batch_command(b, i));
	params_array_end(p);
	params_send(p, call, &sql_commands_delete);
}

void
batch_pack(struct flusher *f, struct batch *b, struct params *p,
           struct db_call *call)
{
	params_clear(p);
	params_uuid(p, &f->incarnation);
	params_send(p, call, &sql_fence);
	if (batch_rows(b) > 0)
		pack_rows(b, p, call);
	if (batch_ends(b) > 0)
		pack_ends(f, b, p, call);
	if (batch_commands(b) > 0)
		pack_commands(b, p, call);
}
