/*
 * history - see history.h. First a time with faults, then one without, in
 * which everything has to end.
 */
#include "tests/simulation/history.h"

#include <string.h>

#include "common/assert.h"
#include "common/json.h"
#include "tests/simulation/check.h"
#include "tests/simulation/process.h"
#include "tests/simulation/server.h"
#include "tests/simulation/network.h"
#include "tests/simulation/supervisor.h"
#include "tests/simulation/work.h"

#define QUIET_US (300 * CLOCK_SECOND_US) /* then random workflows are ended */
#define LIMIT_US (900 * CLOCK_SECOND_US) /* of the time without faults */
#define ENTRIES_MAX 300 /* then a random workflow is ended, too */
#define MEMORY_STEPS 64U /* between two looks at what flushers hold */

static uint32_t random_workflows;
static int64_t command_ids;
static uint64_t id_times;
static struct backend somebody; /* who holds rows locked by hand */

/* ---- what people do ---- */

static void
version_add(uint32_t number)
{
	struct version_row *v = keep_alloc(sizeof(*v));
	const char *text = work_definition(number);

	v->id = number;
	v->workflow = (struct text){ "w", 1 };
	v->definition.len = (int)strlen(text);
	v->definition.data = keep_copy(text, strlen(text));
	kept_push(&tables.versions, &tables.version_count, v);
}

static void
instance_start(void *arg, uint64_t number)
{
	struct instance_row *row = keep_alloc(sizeof(*row));
	struct buf input = BUF_EMPTY;

	(void)arg;
	(void)number;
	id_times += 1 + dice(5);
	for (int i = 0; i < 16; i++)
		row->id.bytes[i] = i < 6 ?
		    (uint8_t)(id_times >> (8 * (5 - i))) :
		    (uint8_t)dice(256);
	row->version = tables.versions[dice(tables.version_count)];
	row->priority = dice(4) == 0 ? (int32_t)dice(5) - 2 : 0;
	work_input(&input);
	row->input.len = (int)input.len;
	row->input.data = keep_copy(input.data, input.len);
	buf_fini(&input);
	row->cur.status = ROW_QUEUED;
	if (dice(10) == 0) {
		row->cur.status = ROW_WAITING;
		row->cur.due_us = server_clock_us() + dice(10000000);
	}
	/* Ids come in order of time, so the table is in order of ids. */
	kept_push(&tables.instances, &tables.instance_count, row);
	world.instances_open++;
	note_id("start", &row->id, (uint64_t)row->version->id);
	server_notify(true);
}

static struct command_row *
command_add(struct instance_row *row, const char *kind)
{
	struct command_row *c = keep_alloc(sizeof(*c));

	c->id = ++command_ids;
	c->instance = row;
	c->kind = kind;
	kept_push(&tables.commands, &tables.command_count, c);
	note_id(kind, &row->id, 0);
	server_notify(false);
	return c;
}

static void
cancel(struct instance_row *row)
{
	struct command_row *c;

	if (row->cur.status >= ROW_SUCCEEDED)
		return;
	c = command_add(row, "cancel");
	if (dice(2) == 0)
		c->cause = (struct text){ "nobody wants it", 15 };
}

/* As the unique index on rappel.commands says. */
static bool
is_answered(const struct instance_row *row, const struct check_task *task)
{
	for (uint32_t i = 0; i < tables.command_count; i++) {
		const struct command_row *c = tables.commands[i];

		if (c->instance == row && !c->gone &&
		    c->activation == task->activation &&
		    c->attempt == task->attempt &&
		    strcmp(c->kind, "task_heartbeat") != 0)
			return true;
	}
	return false;
}

static void
task_succeed(const struct check_task *task, struct command_row *c)
{
	struct work_result work;
	struct buf json = BUF_EMPTY;

	work_run(task->action, 1, SLICE_LITERAL("\xc0"), &work);
	if (work.value.len == 0)
		value_pack_null(&work.value);
	json_write(buf_slice(&work.value), &json);
	c->result.len = (int)json.len;
	c->result.data = keep_copy(json.data, json.len);
	buf_fini(&work.value);
	buf_fini(&json);
}

/* Somebody answers for a task of that instance, or says that he lives: of one
 * that is still with a worker only where any answer is as good. */
static void
task_answer(struct instance_row *row)
{
	struct check_task task;
	struct command_row *c;
	uint32_t what = dice(10);

	if (!check_task(row, &task) || is_answered(row, &task) ||
	    (!task.pending && !slice_is(task.action, "ask") &&
	     row->version->id < FIXED_WORKFLOWS))
		return;
	if (what < 3) {
		c = command_add(row, "task_heartbeat");
	} else if (what == 3) {
		c = command_add(row, "task_fail");
		c->error = (struct text){ "Bad", 3 };
	} else {
		c = command_add(row, "task_succeed");
		task_succeed(&task, c);
	}
	c->activation = task.activation;
	c->attempt = task.attempt;
}

static void
tasks_answer(void *arg, uint64_t number)
{
	uint32_t rare = world.faulty ? 20 : 4;

	(void)number;
	for (uint32_t i = 0; i < tables.instance_count; i++)
		if (dice(rare) == 0)
			task_answer(tables.instances[i]);
	world_after(dice(2000000), tasks_answer, arg, 0);
}

static void
unlock(void *arg, uint64_t number)
{
	struct instance_row *row = arg;

	(void)number;
	if (row->lock.owner == &somebody)
		row->lock.owner = NULL;
}

/* SELECT … FOR UPDATE by hand. */
static void
lock_by_hand(void)
{
	struct instance_row *row;

	if (tables.instance_count == 0)
		return;
	row = tables.instances[dice(tables.instance_count)];
	if (row->lock.owner != NULL)
		return;
	row->lock.owner = &somebody;
	note_id("locked by hand", &row->id, 0);
	world_after(dice(4000000), unlock, row, 0);
}

/* ---- faults ---- */

static void
clog_way(struct pool *pool, uint64_t us)
{
	note("clog", pool->no, us);
	pool->clogged_until_us = world.now_us + us;
}

static void
kill_flusher(struct pool *pool)
{
	if (pool->flusher != NULL)
		process_kill(pool->flusher);
}

/* Its machine is gone; another one is left. */
static void
retire(struct pool *pool)
{
	uint32_t left = 0;

	for (uint32_t i = 0; i < world.pool_count; i++)
		left += !world.pools[i].retired;
	if (left < 2)
		return;
	note("retire", pool->no, 0);
	pool->retired = true;
	kill_flusher(pool);
}

static void
clock_jump(void)
{
	bool back = dice(3) == 0;
	int64_t us = back ? -(int64_t)dice(20000000) :
	                    (int64_t)dice(600) * 1000000;

	world.wall_us += us;
	world.clock_jumped = true;
	note("clock jumps", back, (uint64_t)(back ? -us : us));
}

static void
fault(struct pool *pool)
{
	switch (dice(16)) {
	case 0:
		kill_flusher(pool);
		break;
	case 1:
	case 2:
		if (pool->flusher != NULL)
			process_kill_after(pool->flusher, 1 + dice(60));
		break;
	case 3:
		if (pool->flusher != NULL)
			process_stop(pool->flusher,
			             world.now_us + dice(3000000));
		break;
	case 4: /* long enough to be taken for dead */
		if (pool->flusher != NULL)
			process_stop(pool->flusher, world.now_us +
			             5000000 + dice(30000000));
		break;
	case 5:
		clog_way(pool, dice(2000000));
		break;
	case 6:
		clog_way(pool, dice(20000000));
		break;
	case 7: /* all, and they open in any order */
		for (uint32_t i = 0; i < world.pool_count; i++)
			clog_way(&world.pools[i], dice(8000000));
		break;
	case 8:
		server_crash(world.now_us + dice(4000000));
		break;
	case 9:
	case 10:
		network_break_one();
		break;
	case 11:
		clock_jump();
		break;
	case 12:
		supervisor_kill_worker(pool);
		break;
	case 13:
		lock_by_hand();
		break;
	case 14:
		if (dice(3) == 0)
			supervisor_drain(pool);
		else if (dice(2) == 0)
			supervisor_restart(pool);
		else if (dice(2) == 0)
			supervisor_hang(pool, dice(20000000));
		else if (dice(8) == 0)
			retire(pool);
		break;
	default:
		if (tables.instance_count > 0 && dice(3) == 0)
			cancel(tables.instances[dice(tables.instance_count)]);
		break;
	}
}

static void
faults(void *arg, uint64_t pause_us)
{
	(void)arg;
	if (!world.faulty)
		return;
	fault(&world.pools[dice(world.pool_count)]);
	world_after(1000 + dice((uint32_t)pause_us * 2), faults, NULL,
	            pause_us);
}

/* ---- a life ---- */

static void
history_begin(uint64_t seed, uint64_t *faulty_us_out)
{
	static const uint32_t batches[] = { 1, 2, 5, 50, 2000 };
	static const uint32_t rooms[] = { 1, 3, 10, 100 };
	uint32_t instances;

	world_begin(seed);
	server_begin();
	network_reset();
	command_ids = 0;
	id_times = 1;
	memset(&somebody, 0, sizeof(somebody));
	world.begun_us = world.now_us;
	world.faulty = true;
	world.fault_rate = dice(3) == 0 ? 0 : dice(60);
	process_settings.batch_actions_max = batches[dice(5)];
	process_settings.instances_max = rooms[dice(4)];
	process_settings.window_max = 1 + dice(16);
	process_settings.value_bytes_max = UINT64_C(1) << 20;
	for (uint32_t i = 0; i < FIXED_WORKFLOWS; i++)
		version_add(i);
	random_workflows = dice(4);
	for (uint32_t i = 0; i < random_workflows; i++)
		version_add(FIXED_WORKFLOWS + i);
	world.pool_count = 1 + dice(POOLS_MAX);
	for (uint32_t i = 0; i < world.pool_count; i++) {
		world.pools[i].no = i;
		snprintf(world.pools[i].dir, sizeof(world.pools[i].dir),
		         "/pool/%u", i);
		supervisor_start(&world.pools[i]);
	}
	*faulty_us_out = (1 + dice(60)) * CLOCK_SECOND_US;
	instances = 1 + dice(40);
	for (uint32_t i = 0; i < instances; i++)
		world_after(dice((uint32_t)*faulty_us_out), instance_start,
		            NULL, 0);
	world_after(dice(2000000), faults, NULL,
	            UINT64_C(200000) << dice(6));
	world_after(dice(2000000), tasks_answer, NULL, 0);
}

/* A random workflow may go round for ever. */
static void
cancel_endless(void)
{
	for (uint32_t i = 0; i < tables.instance_count; i++) {
		struct instance_row *row = tables.instances[i];

		if (row->version->id < FIXED_WORKFLOWS || row->given_up ||
		    row->log_count == 0 ||
		    row->log[row->log_count - 1]->seq < ENTRIES_MAX)
			continue;
		row->given_up = true;
		cancel(row);
	}
}

static void
step(void)
{
	if (!world_step())
		violated("nothing will ever happen again");
	if (world.steps % MEMORY_STEPS != 0)
		return;
	cancel_endless();
	for (uint32_t i = 0; i < world.pool_count; i++)
		if (world.pools[i].flusher != NULL)
			check_memory(world.pools[i].flusher);
}

static void
run_for(uint64_t us, bool until_all_ended)
{
	uint64_t end_us = world.now_us + us;

	while (world.now_us < end_us &&
	       !(until_all_ended && world.instances_open == 0))
		step();
}

static void
faults_end(void)
{
	note("faults end", 0, 0);
	world.faulty = false;
	for (uint32_t i = 0; i < world.pool_count; i++) {
		struct pool *pool = &world.pools[i];

		if (pool->clogged_until_us > world.now_us)
			pool->clogged_until_us = world.now_us;
		if (pool->flusher != NULL)
			process_kill_after(pool->flusher, 0);
	}
}

static uint32_t
commands_left(void)
{
	uint32_t left = 0;

	for (uint32_t i = 0; i < tables.command_count; i++)
		left += !tables.commands[i]->gone;
	return left;
}

struct history_result
history_run(uint64_t seed)
{
	struct history_result result;
	uint64_t faulty_us;

	history_begin(seed, &faulty_us);
	run_for(faulty_us, false);
	faults_end();
	run_for(QUIET_US, true);
	/* Nobody knows of a random workflow whether it ends by itself. */
	for (uint32_t i = 0; i < tables.instance_count; i++)
		if (tables.instances[i]->version->id >= FIXED_WORKFLOWS)
			cancel(tables.instances[i]);
	run_for(LIMIT_US - QUIET_US, true);
	check_ends();
	/* A flusher that was stopped before the faults ended may still be. */
	for (int i = 0; i < 24 && (i < 4 || commands_left() > 0 ||
	                            !check_progress()); i++)
		run_for(5 * CLOCK_SECOND_US, false);
	if (commands_left() > 0)
		violated("%u commands are left", commands_left());
	if (!check_progress())
		violated("progress of an attempt stays after its end");
	result = (struct history_result){
		.hash = world.hash,
		.virtual_us = world.now_us - world.begun_us,
		.steps = world.steps,
		.instances = tables.instance_count,
	};
	processes_reset();
	supervisors_end();
	result.parked = world.parked;
	result.thrown_away = world.thrown_away;
	memcpy(result.sights, world.sights, sizeof(result.sights));
	check_reset();
	server_end();
	world_end();
	return result;
}
