/*
 * statements - what each statement of flusher/sql.c does to the tables, found
 * by its name: those of every session and of the writer here. One that is
 * nowhere ends the program: the model is to follow.
 */
#include "flusher/sql.h"
#include "tests/simulation/statement_parts.h"

/* ---- every session ---- */

static enum ran
run_fence(struct backend *b, struct message *m, const struct sent *s)
{
	struct uuid me = param_uuid(s, 0);
	struct pool_row *pool = pool_find(b, &me);

	if (world.plant != PLANT_FENCE_OFF) {
		if (pool == NULL)
			return refuse(m, SQLSTATE_FENCED);
		if (!lock_share_try(b, &pool->lock))
			return RAN_BLOCKED;
		touch(b, TOUCHED_POOL)->pool = pool;
	}
	put(tuples(m, 1), 0, 0, "", 0);
	return RAN_DONE;
}

static enum ran
run_backend_add(struct backend *b, struct message *m, const struct sent *s)
{
	struct uuid me = param_uuid(s, 0);
	struct pool_row *pool = pool_find(b, &me);

	if (pool == NULL)
		return refuse(m, "23503");
	if (!lock_share_try(b, &pool->lock))
		return RAN_BLOCKED;
	touch(b, TOUCHED_POOL)->pool = pool;
	for (uint32_t i = 0; i < pool->backend_count; i++)
		if (pool->backends[i].pid == b->pid)
			return changed(m);
	/* Places of backends that are gone are used again. */
	for (uint32_t i = 0; i < 64; i++) {
		struct pool_backend *free_one = &pool->backends[i];
		struct backend *other;
		bool lives = false;

		LIST_FOREACH (other, &backends, entry)
			lives = lives || other->pid == free_one->pid;
		if (i < pool->backend_count && lives)
			continue;
		free_one->pid = b->pid;
		free_one->by = b;
		if (i == pool->backend_count)
			pool->backend_count++;
		touch(b, TOUCHED_BACKENDS)->pool = pool;
		return changed(m);
	}
	violated("a pool with 64 sessions that live");
}

/* ---- writer ---- */

static enum ran
log_place(struct backend *b, struct message *m, struct instance_row *row,
          int32_t seq)
{
	for (uint32_t i = 0; i < row->log_count; i++) {
		if (row->log[i]->seq != seq)
			continue;
		if (row->log[i]->by != NULL && row->log[i]->by != b)
			return RAN_BLOCKED;
		return refuse(m, "23505");
	}
	return RAN_DONE;
}

static void
log_put(struct backend *b, struct instance_row *row, struct log_row *log)
{
	uint32_t at;

	ASSERT(row != NULL);
	at = row->log_count;
	if (row->log_count == row->log_cap) {
		struct log_row **more;

		row->log_cap = row->log_cap == 0 ? 16 : row->log_cap * 2;
		more = keep_alloc(row->log_cap * sizeof(*more));
		if (at > 0)
			memcpy(more, row->log, at * sizeof(*more));
		row->log = more;
	}
	for (; at > 0 && row->log[at - 1]->seq > log->seq; at--)
		row->log[at] = row->log[at - 1];
	row->log[at] = log;
	row->log_count++;
	log->by = b;
	{
		struct touch *t = touch(b, TOUCHED_LOG);

		t->instance = row;
		t->log = log;
	}
}

static enum ran
run_log_insert(struct backend *b, struct message *m, const struct sent *s)
{
	struct elements ids = param_array(s, 0), seqs = param_array(s, 1);
	struct elements counts = param_array(s, 2), ats = param_array(s, 3);
	struct elements texts = param_array(s, 4);
	struct elements look_ids = ids, look_seqs = seqs;
	struct text id;

	/* All are looked at before any is put: one may have to wait. */
	while (next_element(&look_ids, &id)) {
		struct uuid u = uuid_at((const uint8_t *)id.data);
		struct text seq = must_element(&look_seqs);
		struct instance_row *row = instance_find(&u);
		enum ran ran;

		if (row == NULL)
			violated("a journal row of no instance");
		ran = log_place(b, m, row,
		                (int32_t)read32((const uint8_t *)seq.data));
		if (ran != RAN_DONE)
			return ran;
	}
	while (next_element(&ids, &id)) {
		struct uuid u = uuid_at((const uint8_t *)id.data);
		struct log_row *log = keep_alloc(sizeof(*log));

		log->seq = (int32_t)read32(
		    (const uint8_t *)must_element(&seqs).data);
		log->count = (int32_t)read32(
		    (const uint8_t *)must_element(&counts).data);
		log->at_us = params_time_us(
		    read64((const uint8_t *)must_element(&ats).data));
		log->entries = must_element(&texts);
		log_put(b, instance_find(&u), log);
	}
	return changed(m);
}

static enum ran
run_instances_end(struct backend *b, struct message *m, const struct sent *s)
{
	struct uuid me = param_uuid(s, 0);
	struct elements ids = param_array(s, 1), statuses = param_array(s, 2);
	struct elements outputs = param_array(s, 3);
	struct elements errors = param_array(s, 4);
	struct elements causes = param_array(s, 5);
	PGresult *r = tuples(m, 2);
	struct text id;
	int n = 0;

	while (next_element(&ids, &id)) {
		struct uuid u = uuid_at((const uint8_t *)id.data);
		struct instance_row *row = instance_find(&u);
		struct instance_values *v;
		struct text status = must_element(&statuses);
		struct text output = must_element(&outputs);
		struct text error = must_element(&errors);
		struct text cause = must_element(&causes);
		bool mine = row != NULL && owned_by(b, row, &me);

		if (mine && lock_others(b, &row->lock))
			continue;
		put_uuid(r, n, 0, &u);
		put_bool(r, n++, 1, !mine);
		if (!mine)
			continue;
		v = change(b, row);
		v->status = status_of(status);
		v->owned = false;
		v->output = output;
		v->error = error;
		v->cause = cause;
	}
	return RAN_DONE;
}

static enum ran
run_commands_delete(struct backend *b, struct message *m,
                    const struct sent *s)
{
	struct elements ids = param_array(s, 0);
	struct text id;

	while (next_element(&ids, &id))
		for (uint32_t i = 0; i < tables.command_count; i++) {
			struct command_row *c = tables.commands[i];

			if (c->id != read64((const uint8_t *)id.data) ||
			    c->gone)
				continue;
			if (!lock_try(b, &c->lock))
				return RAN_BLOCKED;
			if (c->deleting)
				continue;
			c->deleting = true;
			touch(b, TOUCHED_COMMAND)->command = c;
		}
	return changed(m);
}

static enum ran
run_pool_row_lock(struct backend *b, struct message *m, const struct sent *s)
{
	struct uuid id = param_uuid(s, 0);
	struct pool_row *pool = pool_find(b, &id);
	PGresult *r;

	if (pool != NULL) {
		if (!lock_try(b, &pool->lock) && world.plant != PLANT_NO_WAIT)
			return RAN_BLOCKED;
		touch(b, TOUCHED_POOL)->pool = pool;
	}
	r = tuples(m, 1);
	if (pool != NULL)
		put_int4(r, 0, 0, 1);
	return RAN_DONE;
}

static enum ran
run_log_probe(struct backend *b, struct message *m, const struct sent *s)
{
	struct uuid id = param_uuid(s, 0);
	struct instance_row *row = instance_find(&id);
	PGresult *r = tuples(m, 1);
	bool found = world.plant == PLANT_UNKNOWN_DONE;

	(void)b;
	for (uint32_t i = 0; row != NULL && i < row->log_count; i++)
		found = found || (row->log[i]->by == NULL &&
		                  row->log[i]->seq == param_int4(s, 1));
	if (found && world.plant != PLANT_UNKNOWN_FAILED)
		put_int4(r, 0, 0, 1);
	return RAN_DONE;
}

static enum ran
run_ends_probe(struct backend *b, struct message *m, const struct sent *s)
{
	struct uuid me = param_uuid(s, 0);
	struct elements ids = param_array(s, 1);
	PGresult *r = tuples(m, 2);
	struct text id;
	int n = 0;

	while (next_element(&ids, &id)) {
		struct uuid u = uuid_at((const uint8_t *)id.data);
		struct instance_row *row = instance_find(&u);

		if (row == NULL || owned_by(b, row, &me))
			continue;
		put_uuid(r, n, 0, &u);
		put_bool(r, n++, 1, false);
	}
	return RAN_DONE;
}

static const struct statement_run writer_statements[] = {
	{ "fence", run_fence },
	{ "backend_add", run_backend_add },
	{ "log_insert", run_log_insert },
	{ "instances_end", run_instances_end },
	{ "commands_delete", run_commands_delete },
	{ "pool_row_lock", run_pool_row_lock },
	{ "log_probe", run_log_probe },
	{ "ends_probe", run_ends_probe },
	{ NULL, NULL },
};

enum ran
statement_run(struct backend *b, struct message *m)
{
	static const struct statement_run *const tables_of[] = {
		writer_statements, claimer_statements, keeper_statements
	};
	const struct sent *s = &m->list[m->at];

	for (int i = 0; i < 3; i++)
		for (const struct statement_run *r = tables_of[i];
		     r->name != NULL; r++)
			if (strcmp(r->name, s->statement->name) == 0)
				return r->run(b, m, s);
	violated("the world does not know the statement %s",
	         s->statement->name);
}
