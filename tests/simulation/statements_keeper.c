/*
 * statements_keeper - what the keeper's statements do: the pool's row, the
 * heartbeat, takeovers, the ends of sessions.
 */
#include "schema/migrations.h"
#include "tests/simulation/statement_parts.h"

static enum ran
run_session_set(struct backend *b, struct message *m, const struct sent *s)
{
	(void)b;
	(void)s;
	tuples(m, 1);
	return RAN_DONE;
}

static enum ran
run_session_check(struct backend *b, struct message *m, const struct sent *s)
{
	const struct text system = { "7000000000000000001", 19 };
	PGresult *r = tuples(m, 9);

	(void)s;
	put_int4(r, 0, 0, SCHEMA_VERSION);
	put_text(r, 0, 1, system);
	put_text(r, 0, 2, system);
	put_int4(r, 0, 3, 1);
	put_bool(r, 0, 4, false);
	put_int4(r, 0, 5, b->pid);
	put_text(r, 0, 6, (struct text){ NULL, 0 });
	put_text(r, 0, 7, (struct text){ "on", 2 });
	put_text(r, 0, 8, (struct text){ "rappel", 6 });
	return RAN_DONE;
}

static enum ran
run_pool_add(struct backend *b, struct message *m, const struct sent *s)
{
	struct uuid me = param_uuid(s, 0);
	struct pool_row *pool;

	for (uint32_t i = 0; i < tables.pool_count; i++) {
		pool = tables.pools[i];
		if (!uuid_equal(&pool->incarnation, &me))
			continue;
		if (pool->inserting != NULL && pool->inserting != b)
			return RAN_BLOCKED;
		if (pool->exists || pool->inserting == b)
			return changed(m);
	}
	pool = keep_alloc(sizeof(*pool));
	pool->incarnation = me;
	pool->name = param_text(s, 1);
	pool->host = param_text(s, 2);
	pool->boot_id = param_text(s, 3);
	pool->dir = param_text(s, 4);
	pool->inserting = b;
	pool->lock.owner = b;
	touch(b, TOUCHED_POOL)->pool = pool;
	kept_push(&tables.pools, &tables.pool_count, pool);
	return changed(m);
}

static enum ran
run_heartbeat(struct backend *b, struct message *m, const struct sent *s)
{
	struct uuid me = param_uuid(s, 0);
	struct pool_row *pool = pool_find(b, &me);
	PGresult *r;

	if (pool != NULL) {
		if (!lock_try(b, &pool->beat_lock))
			return RAN_BLOCKED;
		pool->next_beat = pool->beat + 1;
		pool->next_idle = s->values[1][0] != 0;
		pool->beat_changed = true;
		touch(b, TOUCHED_BEAT)->pool = pool;
	}
	r = tuples(m, 1);
	if (pool != NULL)
		put_time(r, 0, 0, server_clock_us());
	return RAN_DONE;
}

static enum ran
run_pools_read(struct backend *b, struct message *m, const struct sent *s)
{
	struct uuid me = param_uuid(s, 0);
	PGresult *r = tuples(m, 4);
	int n = 0;

	for (uint32_t i = 0; i < tables.pool_count; i++) {
		const struct pool_row *p = tables.pools[i];

		if (!pool_visible(b, p) || uuid_equal(&p->incarnation, &me))
			continue;
		put_uuid(r, n, 0, &p->incarnation);
		put_int8(r, n, 1, p->beat);
		put_bool(r, n, 2, text_is(p->host, param_text(s, 1)) &&
		                      text_is(p->boot_id, param_text(s, 2)) &&
		                      text_is(p->dir, param_text(s, 3)));
		put_text(r, n++, 3, p->name);
	}
	return RAN_DONE;
}

static enum ran
run_lock_timeout_short(struct backend *b, struct message *m,
                       const struct sent *s)
{
	(void)s;
	b->lock_timeout_us = 300 * CLOCK_MS_US;
	return changed(m);
}

static enum ran
run_pool_delete(struct backend *b, struct message *m, const struct sent *s)
{
	struct uuid id = param_uuid(s, 0);
	struct pool_row *pool = pool_find(b, &id);

	if (pool == NULL)
		return changed(m);
	if ((!lock_try(b, &pool->lock) || !lock_try(b, &pool->beat_lock)) &&
	    world.plant != PLANT_NO_WAIT)
		return RAN_BLOCKED;
	pool->deleting = b;
	touch(b, TOUCHED_POOL)->pool = pool;
	touch(b, TOUCHED_BEAT)->pool = pool;
	return changed(m);
}

static void
requeue(struct backend *b, struct instance_row *row)
{
	struct instance_values *v;

	if (lock_others(b, &row->lock))
		return;
	v = change(b, row);
	v->status = ROW_QUEUED;
	v->owned = false;
}

static enum ran
run_instances_requeue(struct backend *b, struct message *m,
                      const struct sent *s)
{
	struct uuid owner = param_uuid(s, 0);

	for (uint32_t i = 0; i < tables.instance_count; i++)
		if (owned_by(b, tables.instances[i], &owner))
			requeue(b, tables.instances[i]);
	return changed(m);
}

static enum ran
run_instances_inherit(struct backend *b, struct message *m,
                      const struct sent *s)
{
	struct uuid owner = param_uuid(s, 0), heir = param_uuid(s, 1);

	for (uint32_t i = 0; i < tables.instance_count; i++) {
		struct instance_row *row = tables.instances[i];

		if (owned_by(b, row, &owner) && !lock_others(b, &row->lock))
			change(b, row)->owner = heir;
	}
	return changed(m);
}

static enum ran
run_orphans_requeue(struct backend *b, struct message *m,
                    const struct sent *s)
{
	(void)s;
	for (uint32_t i = 0; i < tables.instance_count; i++) {
		struct instance_row *row = tables.instances[i];

		if (seen(b, row)->owned &&
		    pool_find(b, &seen(b, row)->owner) == NULL)
			requeue(b, row);
	}
	return changed(m);
}

/* Of those the pool's row names, the ones that live; and ends them. */
static int64_t
backends_of(const struct sent *s, bool end)
{
	struct uuid id = param_uuid(s, 0);
	int32_t pid = param_int4(s, 1);
	int64_t count = 0;

	for (uint32_t i = 0; i < tables.pool_count; i++) {
		const struct pool_row *p = tables.pools[i];

		if (!p->exists || !uuid_equal(&p->incarnation, &id))
			continue;
		for (uint32_t n = 0; n < p->backend_count; n++) {
			struct backend *other, *next;

			if (p->backends[n].by != NULL ||
			    (pid != 0 && p->backends[n].pid != pid))
				continue;
			for (other = LIST_FIRST(&backends); other != NULL;
			     other = next) {
				next = LIST_NEXT(other, entry);
				if (other->pid != p->backends[n].pid)
					continue;
				count++;
				if (end)
					server_end_backend(other);
			}
		}
	}
	return count;
}

static enum ran
run_backends_end(struct backend *b, struct message *m, const struct sent *s)
{
	int64_t count = backends_of(s, true);
	PGresult *r = tuples(m, 1);

	(void)b;
	for (int i = 0; i < (int)count; i++)
		put_bool(r, i, 0, true);
	return RAN_DONE;
}

static enum ran
run_backends_count(struct backend *b, struct message *m, const struct sent *s)
{
	(void)b;
	put_int8(tuples(m, 1), 0, 0, backends_of(s, false));
	return RAN_DONE;
}

static enum ran
run_listen_work(struct backend *b, struct message *m, const struct sent *s)
{
	(void)s;
	b->listens_work = true;
	return changed(m);
}

static enum ran
run_listen_command(struct backend *b, struct message *m, const struct sent *s)
{
	(void)s;
	b->listens_command = true;
	return changed(m);
}

static enum ran
run_wake(struct backend *b, struct message *m, const struct sent *s)
{
	(void)s;
	for (uint32_t i = 0; i < tables.pool_count; i++)
		if (tables.pools[i]->exists && tables.pools[i]->idle)
			b->tells_work = true;
	put(tuples(m, 1), 0, 0, "", 0);
	return RAN_DONE;
}

/* Nothing is ever to blame here. */
static enum ran
run_blame(struct backend *b, struct message *m, const struct sent *s)
{
	struct uuid id = param_uuid(s, 0);

	(void)b;
	if (instance_find(&id) != NULL)
		violated("an instance is blamed for a flusher's end");
	put(tuples(m, 1), 0, 0, NULL, 0);
	return RAN_DONE;
}

static enum ran
run_partitions(struct backend *b, struct message *m, const struct sent *s)
{
	(void)b;
	(void)s;
	put_int4(tuples(m, 1), 0, 0, 0);
	return RAN_DONE;
}

/* $1: the incarnation; then arrays: instance, activation, attempt. */
static void
run_progress(struct backend *b, const struct sent *s, bool gone)
{
	struct elements instances = param_array(s, 1);
	struct elements activations = param_array(s, 2);
	struct elements attempts = param_array(s, 3);
	struct text id;

	while (next_element(&instances, &id)) {
		struct progress_row *row = keep_alloc(sizeof(*row));
		struct text activation = must_element(&activations);
		struct text attempt = must_element(&attempts);

		row->instance = uuid_at((const uint8_t *)id.data);
		row->activation =
		    (int32_t)read32((const uint8_t *)activation.data);
		row->attempt = (int32_t)read32((const uint8_t *)attempt.data);
		row->incarnation = param_uuid(s, 0);
		row->gone = gone;
		touch(b, TOUCHED_PROGRESS)->progress = row;
	}
}

static enum ran
run_progress_write(struct backend *b, struct message *m, const struct sent *s)
{
	run_progress(b, s, false);
	return changed(m);
}

static enum ran
run_progress_delete(struct backend *b, struct message *m, const struct sent *s)
{
	run_progress(b, s, true);
	return changed(m);
}

static enum ran
run_progress_clear(struct backend *b, struct message *m, const struct sent *s)
{
	struct uuid me = param_uuid(s, 0);

	for (uint32_t i = 0; i < tables.progress_count; i++) {
		struct progress_row *row;

		if (tables.progress[i]->gone ||
		    !uuid_equal(&tables.progress[i]->incarnation, &me))
			continue;
		row = keep_alloc(sizeof(*row));
		*row = *tables.progress[i];
		row->gone = true;
		touch(b, TOUCHED_PROGRESS)->progress = row;
	}
	return changed(m);
}

const struct statement_run keeper_statements[] = {
	{ "progress_clear", run_progress_clear },
	{ "progress_write", run_progress_write },
	{ "progress_delete", run_progress_delete },
	{ "session_set", run_session_set },
	{ "session_check", run_session_check },
	{ "pool_add", run_pool_add },
	{ "heartbeat", run_heartbeat },
	{ "pools_read", run_pools_read },
	{ "lock_timeout_short", run_lock_timeout_short },
	{ "pool_delete", run_pool_delete },
	{ "instances_requeue", run_instances_requeue },
	{ "instances_inherit", run_instances_inherit },
	{ "orphans_requeue", run_orphans_requeue },
	{ "backends_end", run_backends_end },
	{ "backends_count", run_backends_count },
	{ "listen_work", run_listen_work },
	{ "listen_command", run_listen_command },
	{ "wake", run_wake },
	{ "blame", run_blame },
	{ "partitions", run_partitions },
	{ "heartbeat_add", run_partitions },
	{ NULL, NULL },
};
