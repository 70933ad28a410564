/*
 * statements_claimer - what the claimer's statements do: claims, reading of
 * journals, giving back, commands.
 */
#include "tests/simulation/statement_parts.h"

/* One row as claims and sql_owned give it. */
static void
give(PGresult *r, int n, const struct instance_row *row,
     const struct instance_values *v, bool started_before)
{
	put_uuid(r, n, 0, &row->id);
	put_int8(r, n, 1, row->version->id);
	put_int4(r, n, 2, -row->priority);
	put_time(r, n, 3, v->started_us);
	put_bool(r, n, 4, started_before);
	put_text(r, n, 5, row->input);
	put_text(r, n, 6, row->name);
	put_bool(r, n, 7, commanded(row, false));
	put_bool(r, n, 8, commanded(row, true));
}

/* False: somebody has it. */
static bool
claim_one(struct backend *b, struct instance_row *row, const struct uuid *me,
          PGresult *r, int *n)
{
	bool before = row->cur.started;
	struct instance_values *v;

	if (lock_others(b, &row->lock) || row->lock.owner == b)
		return false;
	v = change(b, row);
	v->status = ROW_RUNNING;
	v->owned = true;
	v->owner = *me;
	if (!before) {
		v->started = true;
		v->started_us = b->now_us;
	}
	give(r, (*n)++, row, v, before);
	return true;
}

static int
by_place(const void *a, const void *b)
{
	const struct instance_row *const *x = a, *const *y = b;

	if ((*x)->priority != (*y)->priority)
		return (*x)->priority > (*y)->priority ? -1 : 1;
	return memcmp((*x)->id.bytes, (*y)->id.bytes, 16);
}

static int
by_due(const void *a, const void *b)
{
	const struct instance_row *const *x = a, *const *y = b;

	if ((*x)->cur.due_us != (*y)->cur.due_us)
		return (*x)->cur.due_us < (*y)->cur.due_us ? -1 : 1;
	return memcmp((*x)->id.bytes, (*y)->id.bytes, 16);
}

static bool
behind(const struct instance_row *row, int32_t priority,
       const struct uuid *id)
{
	return -row->priority > priority ||
	    (-row->priority == priority &&
	     memcmp(row->id.bytes, id->bytes, 16) > 0);
}

static struct instance_row **
candidates(uint32_t *count_out)
{
	*count_out = 0;
	return keep_alloc(tables.instance_count * sizeof(void *) + 8);
}

static enum ran
take(struct backend *b, struct message *m, struct instance_row **rows,
     uint32_t count, const struct uuid *me, int64_t limit)
{
	PGresult *r = tuples(m, 9);
	int n = 0;

	for (uint32_t i = 0; i < count && n < limit; i++)
		claim_one(b, rows[i], me, r, &n);
	return RAN_DONE;
}

/* Planted: as if it had waited for the others, and then taken what it saw. */
static void
take_twice(struct instance_row **rows, uint32_t *count)
{
	for (uint32_t i = 0; i < tables.instance_count && *count < 8; i++)
		if (tables.instances[i]->cur.status == ROW_RUNNING &&
		    permille(30))
			rows[(*count)++] = tables.instances[i];
}

/* Those that the array names are left out. */
static bool
shunned(const struct sent *s, int i, const struct instance_row *row)
{
	struct elements ids = param_array(s, i);
	struct text id;

	while (next_element(&ids, &id))
		if (memcmp(id.data, row->id.bytes, 16) == 0)
			return true;
	return false;
}

static enum ran
run_claim_queued(struct backend *b, struct message *m, const struct sent *s)
{
	struct uuid me = param_uuid(s, 0), id = param_uuid(s, 4);
	uint32_t count;
	struct instance_row **rows = candidates(&count);

	for (uint32_t i = 0; i < tables.instance_count; i++)
		if (tables.instances[i]->cur.status == ROW_QUEUED &&
		    behind(tables.instances[i], param_int4(s, 3), &id) &&
		    !shunned(s, 2, tables.instances[i]))
			rows[count++] = tables.instances[i];
	qsort(rows, count, sizeof(*rows), by_place);
	if (world.plant == PLANT_CLAIM_TWICE)
		take_twice(rows, &count);
	return take(b, m, rows, count, &me, param_int8(s, 1));
}

static bool
due(const struct instance_row *row, int64_t now_us)
{
	/* 0 is null. */
	return row->cur.status == ROW_WAITING && row->cur.due_us != 0 &&
	    row->cur.due_us <= now_us;
}

static enum ran
run_claim_due(struct backend *b, struct message *m, const struct sent *s)
{
	struct uuid me = param_uuid(s, 0);
	uint32_t count;
	struct instance_row **rows = candidates(&count);

	for (uint32_t i = 0; i < tables.instance_count; i++)
		if (due(tables.instances[i], b->now_us) &&
		    !shunned(s, 2, tables.instances[i]))
			rows[count++] = tables.instances[i];
	qsort(rows, count, sizeof(*rows), by_due);
	return take(b, m, rows, count, &me, param_int8(s, 1));
}

/* The first that nobody has locked; it is ours until the end. */
static enum ran
first_of(struct backend *b, struct message *m, struct instance_row **rows,
         uint32_t count)
{
	PGresult *r = tuples(m, 1);

	for (uint32_t i = 0; i < count; i++) {
		if (!lock_try(b, &rows[i]->lock))
			continue;
		touch(b, TOUCHED_INSTANCE)->instance = rows[i];
		put_uuid(r, 0, 0, &rows[i]->id);
		break;
	}
	return RAN_DONE;
}

static enum ran
run_first_queued(struct backend *b, struct message *m, const struct sent *s)
{
	struct uuid id = param_uuid(s, 2);
	uint32_t count;
	struct instance_row **rows = candidates(&count);

	for (uint32_t i = 0; i < tables.instance_count; i++)
		if (tables.instances[i]->cur.status == ROW_QUEUED &&
		    behind(tables.instances[i], param_int4(s, 1), &id) &&
		    !shunned(s, 0, tables.instances[i]))
			rows[count++] = tables.instances[i];
	qsort(rows, count, sizeof(*rows), by_place);
	return first_of(b, m, rows, count);
}

static enum ran
run_first_due(struct backend *b, struct message *m, const struct sent *s)
{
	uint32_t count;
	struct instance_row **rows = candidates(&count);

	for (uint32_t i = 0; i < tables.instance_count; i++)
		if (due(tables.instances[i], b->now_us) &&
		    !shunned(s, 0, tables.instances[i]))
			rows[count++] = tables.instances[i];
	qsort(rows, count, sizeof(*rows), by_due);
	return first_of(b, m, rows, count);
}

static enum ran
run_claim_commanded(struct backend *b, struct message *m,
                    const struct sent *s)
{
	struct uuid me = param_uuid(s, 0);
	uint32_t count;
	struct instance_row **rows = candidates(&count);

	for (uint32_t i = 0; i < tables.instance_count; i++) {
		struct instance_row *row = tables.instances[i];

		if ((row->cur.status == ROW_QUEUED ||
		     row->cur.status == ROW_WAITING) &&
		    commanded(row, false) && !shunned(s, 2, row))
			rows[count++] = row;
	}
	return take(b, m, rows, count, &me, param_int8(s, 1));
}

static enum ran
run_peek(struct backend *b, struct message *m, const struct sent *s)
{
	struct uuid id = param_uuid(s, 1);
	bool queued = false, waits = false, commands = false;
	PGresult *r = tuples(m, 3);

	for (uint32_t i = 0; i < tables.instance_count; i++) {
		const struct instance_row *row = tables.instances[i];

		queued = queued || (row->cur.status == ROW_QUEUED &&
		                    behind(row, param_int4(s, 0), &id));
		waits = waits || due(row, b->now_us);
	}
	for (uint32_t i = 0; i < tables.command_count; i++)
		commands = commands || !tables.commands[i]->gone;
	put_bool(r, 0, 0, queued);
	put_bool(r, 0, 1, waits);
	put_bool(r, 0, 2, commands);
	return RAN_DONE;
}

static enum ran
run_blocked_cancel(struct backend *b, struct message *m, const struct sent *s)
{
	(void)s;
	for (uint32_t i = 0; i < tables.command_count; i++) {
		struct command_row *c = tables.commands[i];
		struct instance_values *v;

		if (c->gone || strcmp(c->kind, "cancel") != 0 ||
		    c->instance->cur.status != ROW_BLOCKED ||
		    lock_others(b, &c->instance->lock))
			continue;
		v = change(b, c->instance);
		v->status = ROW_CANCELLED;
		v->cause = c->cause;
	}
	return changed(m);
}

static enum ran
run_owned(struct backend *b, struct message *m, const struct sent *s)
{
	struct uuid me = param_uuid(s, 0);
	PGresult *r = tuples(m, 9);
	int n = 0;

	for (uint32_t i = 0; i < tables.instance_count; i++) {
		struct instance_row *row = tables.instances[i];
		struct elements known = param_array(s, 2);
		struct text id;
		bool is_known = false;

		if (!owned_by(b, row, &me) || n >= param_int8(s, 1))
			continue;
		while (next_element(&known, &id))
			is_known = is_known ||
			    memcmp(id.data, row->id.bytes, 16) == 0;
		if (!is_known)
			give(r, n++, row, seen(b, row), true);
	}
	return RAN_DONE;
}

static enum ran
run_log_read(struct backend *b, struct message *m, const struct sent *s)
{
	struct uuid id = param_uuid(s, 0);
	struct instance_row *row = instance_find(&id);
	PGresult *r = tuples(m, 5);
	int n = 0;

	for (uint32_t i = 0; row != NULL && i < row->log_count; i++) {
		const struct log_row *log = row->log[i];

		if (log->by != NULL && log->by != b)
			continue;
		put_uuid(r, n, 0, &id);
		put_int4(r, n, 1, log->seq);
		put_int4(r, n, 2, log->count);
		put_time(r, n, 3, log->at_us);
		put_text(r, n++, 4, log->entries);
	}
	return RAN_DONE;
}

static void
give_command(PGresult *r, int *n, const struct command_row *c)
{
	put_int8(r, *n, 0, c->id);
	put_uuid(r, *n, 1, &c->instance->id);
	put_text(r, *n, 2,
	         (struct text){ c->kind, (int)strlen(c->kind) });
	put_int4(r, *n, 3, (int32_t)c->activation);
	put_int4(r, *n, 4, (int32_t)c->attempt);
	put_text(r, *n, 5, c->result);
	put_text(r, *n, 6, c->error);
	put_text(r, *n, 7, c->cause);
	(*n)++;
}

static enum ran
run_commands_of(struct backend *b, struct message *m, const struct sent *s)
{
	struct uuid id = param_uuid(s, 0);
	PGresult *r = tuples(m, 8);
	int n = 0;

	(void)b;
	for (uint32_t i = 0; i < tables.command_count; i++)
		if (!tables.commands[i]->gone &&
		    uuid_equal(&tables.commands[i]->instance->id, &id))
			give_command(r, &n, tables.commands[i]);
	return RAN_DONE;
}

static enum ran
run_commands_read(struct backend *b, struct message *m, const struct sent *s)
{
	struct uuid me = param_uuid(s, 0);
	PGresult *r = tuples(m, 8);
	int n = 0;

	for (uint32_t i = 0; i < tables.command_count; i++)
		if (!tables.commands[i]->gone && n < param_int8(s, 1) &&
		    tables.commands[i]->id > param_int8(s, 2) &&
		    owned_by(b, tables.commands[i]->instance, &me))
			give_command(r, &n, tables.commands[i]);
	return RAN_DONE;
}

static enum ran
run_commands_sweep(struct backend *b, struct message *m, const struct sent *s)
{
	(void)s;
	for (uint32_t i = 0; i < tables.command_count; i++) {
		struct command_row *c = tables.commands[i];

		if (c->gone || c->deleting ||
		    c->instance->cur.status < ROW_SUCCEEDED)
			continue;
		if (!lock_try(b, &c->lock))
			return RAN_BLOCKED;
		c->deleting = true;
		touch(b, TOUCHED_COMMAND)->command = c;
	}
	return changed(m);
}

static enum ran
run_still_owned(struct backend *b, struct message *m, const struct sent *s)
{
	struct uuid id = param_uuid(s, 0), owner = param_uuid(s, 1);
	struct instance_row *row = instance_find(&id);
	PGresult *r = tuples(m, 1);

	if (row != NULL && owned_by(b, row, &owner))
		put_int4(r, 0, 0, 1);
	return RAN_DONE;
}

static enum ran
run_version_read(struct backend *b, struct message *m, const struct sent *s)
{
	PGresult *r = tuples(m, 2);

	(void)b;
	for (uint32_t i = 0; i < tables.version_count; i++)
		if (tables.versions[i]->id == param_int8(s, 0)) {
			put_text(r, 0, 0, tables.versions[i]->workflow);
			put_text(r, 0, 1, tables.versions[i]->definition);
		}
	return RAN_DONE;
}

static enum ran
run_release(struct backend *b, struct message *m, const struct sent *s)
{
	struct uuid me = param_uuid(s, 0), id = param_uuid(s, 1);
	struct instance_row *row = instance_find(&id);
	struct instance_values *v;

	if (row == NULL || !owned_by(b, row, &me))
		return changed(m);
	if (lock_others(b, &row->lock))
		return refuse(m, "55P03");
	v = change(b, row);
	v->status = status_of(param_text(s, 2));
	v->owned = false;
	v->due_us = s->nulls[3] ? 0 : params_time_us(param_int8(s, 3));
	v->reason = param_text(s, 4);
	return changed(m);
}

static enum ran
run_reason_set(struct backend *b, struct message *m, const struct sent *s)
{
	(void)b;
	(void)s;
	return changed(m);
}

const struct statement_run claimer_statements[] = {
	{ "claim_queued", run_claim_queued },
	{ "claim_due", run_claim_due },
	{ "first_queued", run_first_queued },
	{ "first_due", run_first_due },
	{ "claim_commanded", run_claim_commanded },
	{ "peek", run_peek },
	{ "blocked_cancel", run_blocked_cancel },
	{ "owned", run_owned },
	{ "log_read", run_log_read },
	{ "commands_of", run_commands_of },
	{ "commands_read", run_commands_read },
	{ "commands_sweep", run_commands_sweep },
	{ "still_owned", run_still_owned },
	{ "version_read", run_version_read },
	{ "release", run_release },
	{ "reason_set", run_reason_set },
	{ NULL, NULL },
};
