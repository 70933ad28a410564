/*
 * command - what people want of an instance or say of a task, from the table
 * rappel.commands, becomes an event of the instance.
 *
 * It is journaled and its row deleted in one transaction. Until that is
 * committed the row is found again by every look, also by one whose answer
 * comes behind the commit's: what is on its way, or was when the look began, is
 * left alone. One that comes too late is deleted as well; those of instances
 * that have ended are swept.
 */
#include "flusher/claim_parts.h"

#include <string.h>

#include "common/json.h"
#include "common/log.h"
#include "flusher/batch.h"
#include "flusher/commit.h"
#include "flusher/completion.h"
#include "flusher/db.h"
#include "flusher/dispatch.h"
#include "flusher/flusher.h"
#include "flusher/lease.h"
#include "flusher/timers.h"

/* As sql_commands_read and sql_commands_of have them. */
enum column {
	COLUMN_ID,
	COLUMN_INSTANCE,
	COLUMN_KIND,
	COLUMN_ACTIVATION,
	COLUMN_ATTEMPT,
	COLUMN_RESULT,
	COLUMN_ERROR,
	COLUMN_CAUSE,
};

static struct slice
column_text(const PGresult *r, int row, int column)
{
	if (PQgetisnull(r, row, column))
		return SLICE_NONE;
	return (struct slice){ (const uint8_t *)PQgetvalue(r, row, column),
		               (size_t)PQgetlength(r, row, column) };
}

/* Into c->value. Null is a value, too. */
static int
result_parse(struct claim *c, const PGresult *r, int row, struct error *err)
{
	struct slice text = column_text(r, row, COLUMN_RESULT);

	c->value.len = 0;
	if (text.data == NULL) {
		value_pack_null(&c->value);
		return 0;
	}
	return json_parse((const char *)text.data, text.len, VALUE_DEPTH_MAX,
	                  &c->value, NULL, err);
}

/* The answer is as good as a worker's, but no worker's. */
static void
answer_event(struct claim *c, const PGresult *r, int row, bool failed,
             struct error *err, struct event *out)
{
	struct completion done = {
		.activation = (uint32_t)db_int32(r, row, COLUMN_ACTIVATION),
		.attempt = (uint32_t)db_int32(r, row, COLUMN_ATTEMPT),
		.status = COMPLETION_FAILED,
	};

	if (failed) {
		done.error = column_text(r, row, COLUMN_ERROR);
		done.cause = column_text(r, row, COLUMN_CAUSE);
	} else if (result_parse(c, r, row, err) < 0) {
		done.error = SLICE_LITERAL("Rappel.ResultInvalid");
		done.cause = slice_of(err->message);
	} else {
		done.status = COMPLETION_SUCCEEDED;
		done.value = buf_slice(&c->value);
	}
	completion_event(&done, false, c->flusher->config.value_bytes_max, err,
	                 out);
	out->worker = WORKER_NONE;
}

static void
heartbeat_event(struct claim *c, const PGresult *r, int row, struct error *err,
                struct event *out)
{
	*out = (struct event){
		.kind = EVENT_HEARTBEAT,
		.activation = (uint32_t)db_int32(r, row, COLUMN_ACTIVATION),
		.attempt = (uint32_t)db_int32(r, row, COLUMN_ATTEMPT),
	};
	/* What cannot be held is not worth losing the heartbeat for. */
	if (result_parse(c, r, row, err) == 0)
		out->value = buf_slice(&c->value);
	else
		out->value = SLICE_LITERAL("\xc0");
}

static void
cancel_apply(struct claim *c, struct lease *lease, const PGresult *r, int row)
{
	struct flusher *f = c->flusher;
	struct event event = { .kind = EVENT_CANCEL,
		               .at_us = flusher_now_us(f),
		               .cause = column_text(r, row, COLUMN_CAUSE) };

	if (batch_apply(f, lease, &event))
		batch_add_command(f, &lease->id,
		                  db_int64(r, row, COLUMN_ID));
}

static void
task_apply(struct claim *c, struct lease *lease, const PGresult *r, int row)
{
	struct flusher *f = c->flusher;
	const char *kind = PQgetvalue(r, row, COLUMN_KIND);
	struct error err = { .message = "" };
	char text[UUID_TEXT_SIZE];
	struct event event;

	if (lease->engine == NULL || lease->ended)
		return;
	if (strcmp(kind, "task_heartbeat") == 0)
		heartbeat_event(c, r, row, &err, &event);
	else
		answer_event(c, r, row, strcmp(kind, "task_fail") == 0, &err,
		             &event);
	event.at_us = flusher_now_us(f);
	if (!batch_apply(f, lease, &event)) {
		uuid_text(&lease->id, text);
		log_info("task command late kind=%s instance=%s activation=%u "
		         "attempt=%u",
		         kind, text, event.activation, event.attempt);
	} else if (event.kind == EVENT_HEARTBEAT) {
		dispatch_beat(f, lease, &event);
	} else {
		/* The worker's answer, if there is one to come, is late; and
		 * so is the end of the time that there was for this one. */
		dispatch_let_go(f, lease, event.activation);
		timers_cancel(f->timers, lease, event.activation);
	}
	batch_add_command(f, &lease->id, db_int64(r, row, COLUMN_ID));
}

int64_t
commands_last(const PGresult *r)
{
	return db_int64(r, PQntuples(r) - 1, COLUMN_ID);
}

void
commands_take(struct claim *c, const PGresult *r, enum commands which)
{
	struct flusher *f = c->flusher;

	for (int i = 0; i < PQntuples(r); i++) {
		bool cancel =
		    strcmp(PQgetvalue(r, i, COLUMN_KIND), "cancel") == 0;
		struct lease *lease;
		struct uuid id;

		if (which != COMMANDS_ALL &&
		    cancel != (which == COMMANDS_CANCEL))
			continue;
		memcpy(id.bytes, PQgetvalue(r, i, COLUMN_INSTANCE), 16);
		lease = lease_find(f->leases, &id);
		/* Being read: the next look finds it. */
		if (lease == NULL || lease->rebuild != NULL ||
		    commit_consumes(f->commit, db_int64(r, i, COLUMN_ID)))
			continue;
		if (cancel)
			cancel_apply(c, lease, r, i);
		else
			task_apply(c, lease, r, i);
	}
}
