/*
 * check - see check.h.
 */
#include "tests/simulation/check.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/json.h"
#include "engine/instance.h"
#include "engine/journal.h"
#include "flusher/batch.h"
#include "flusher/flusher.h"
#include "flusher/lease.h"
#include "tests/simulation/process.h"
#include "tests/simulation/work.h"

/* Activation and attempt of each. */
struct attempts {
	uint64_t *list;
	uint32_t count;
	uint32_t cap;
};

struct witness {
	struct instance *engine;
	int32_t seq;
	struct attempts finished;
	struct attempts dispatched; /* as often as they were */
	struct attempts beaten;     /* one for each heartbeat */
};

#define VERSIONS_MAX 16
#define HOLDS_US (7 * CLOCK_SECOND_US) /* keeper_holds() */
/* Half of the slowest round trip that is believed. */
#define CLOCK_ERROR_US INT64_C(200000)

static struct definition *definitions[VERSIONS_MAX];

static const char *
name_of(const struct instance_row *row)
{
	static char text[UUID_TEXT_SIZE];

	uuid_text(&row->id, text);
	return text;
}

struct definition *
check_definition(const struct version_row *version)
{
	struct definition **d = &definitions[version->id];
	struct definition_report report = { .count = 0 };

	ASSERT(version->id < VERSIONS_MAX);
	if (*d == NULL)
		*d = definition_parse(version->definition.data,
		                      (size_t)version->definition.len, &report);
	if (*d == NULL)
		violated("a definition of the world's own is wrong: %.*s",
		         version->definition.len, version->definition.data);
	return *d;
}

static struct instance *
engine_create(const struct instance_row *row, int64_t started_us,
              struct effects *effects)
{
	struct buf input = BUF_EMPTY;
	struct error err = { .message = "" };
	struct instance *engine;

	if (json_parse(row->input.data, (size_t)row->input.len,
	               VALUE_DEPTH_MAX, &input, NULL, &err) < 0)
		violated("an input of the world's own is wrong: %s",
		         err.message);
	engine = instance_create(
	    check_definition(row->version),
	    &(struct instance_options){
	        .id = row->id,
	        .workflow = { (const uint8_t *)row->version->workflow.data,
	                      (size_t)row->version->workflow.len },
	        .started_at_us = started_us,
	        .input = buf_slice(&input),
	        .value_bytes_max = process_settings.value_bytes_max },
	    effects);
	buf_fini(&input);
	return engine;
}

static struct witness *
witness_of(struct instance_row *row)
{
	struct effects ignored = { NULL, 0, 0 };

	if (row->witness != NULL)
		return row->witness;
	if (!row->cur.started)
		violated("instance %s is worked on before it was claimed",
		         name_of(row));
	row->witness = keep_alloc(sizeof(*row->witness));
	row->witness->engine = engine_create(row, row->cur.started_us,
	                                     &ignored);
	effects_fini(&ignored);
	return row->witness;
}

/* Pools follow the database's clock; when it jumps that takes a while. */
static bool
too_early(int64_t due_us)
{
	return !world.clock_jumped &&
	    due_us > server_clock_us() + CLOCK_ERROR_US;
}

/* ---- what is committed ---- */

static uint32_t
attempts_count(const struct attempts *a, uint32_t activation,
               uint32_t attempt)
{
	uint64_t key = (uint64_t)activation << 32 | attempt;
	uint32_t times = 0;

	for (uint32_t i = 0; i < a->count; i++)
		times += a->list[i] == key;
	return times;
}

/* How often it is there with this one. */
static uint32_t
attempts_add(struct attempts *a, uint32_t activation, uint32_t attempt)
{
	if (a->count == a->cap) {
		uint64_t *more;

		a->cap = a->cap * 2 + 16;
		more = keep_alloc(a->cap * sizeof(*more));
		if (a->count > 0)
			memcpy(more, a->list, a->count * sizeof(*more));
		a->list = more;
	}
	a->list[a->count++] = (uint64_t)activation << 32 | attempt;
	return attempts_count(a, activation, attempt);
}

static void
finished_once(struct instance_row *row, const struct event *e)
{
	if (e->kind == EVENT_CANCEL || e->kind == EVENT_PENDING ||
	    e->kind == EVENT_HEARTBEAT ||
	    (e->kind == EVENT_FIRED && e->attempt == 0))
		return;
	if (attempts_add(&row->witness->finished, e->activation,
	                 e->attempt) > 1)
		violated("instance %s: action %u attempt %u is finished twice "
		         "in the journal",
		         name_of(row), e->activation, e->attempt);
}

/* Each heartbeat is somebody's who said it. */
static void
beaten_as_often(struct instance_row *row, const struct event *e)
{
	uint32_t said = 0;

	for (uint32_t i = 0; i < tables.command_count; i++) {
		const struct command_row *c = tables.commands[i];

		said += c->instance == row && c->activation == e->activation &&
		    c->attempt == e->attempt &&
		    strcmp(c->kind, "task_heartbeat") == 0;
	}
	if (attempts_add(&row->witness->beaten, e->activation, e->attempt) >
	    said)
		violated("instance %s: action %u attempt %u has more "
		         "heartbeats in the journal than the %u that were "
		         "said",
		         name_of(row), e->activation, e->attempt, said);
}

void
check_log(struct instance_row *row, const struct log_row *log,
          const struct uuid *incarnation)
{
	struct witness *w = witness_of(row);
	struct effects ignored = { NULL, 0, 0 };
	struct error err = { .message = "" };
	struct slice text = { (const uint8_t *)log->entries.data,
		              (size_t)log->entries.len };
	struct journal_reader *reader;
	struct event e;
	struct pending_view pending;
	int32_t count = 0;
	int64_t due_us;
	int more;

	note_id("journal", &row->id, (uint64_t)log->seq);
	if (!row->cur.owned || !uuid_equal(&row->cur.owner, incarnation))
		violated("instance %s: a journal row of a pool that does not "
		         "hold its lease",
		         name_of(row));
	if (log->seq != w->seq + 1)
		violated("instance %s: the journal goes on with entry %d "
		         "after %d",
		         name_of(row), log->seq, w->seq);
	reader = journal_reader_create(text, log->at_us, &err);
	if (reader == NULL)
		violated("instance %s: a journal row cannot be read: %s",
		         name_of(row), err.message);
	while ((more = journal_reader_next(reader, &e, &err)) > 0) {
		count++;
		finished_once(row, &e);
		if (e.kind == EVENT_HEARTBEAT)
			beaten_as_often(row, &e);
		if (e.kind == EVENT_FIRED &&
		    instance_timer(w->engine, e.activation, &due_us) &&
		    too_early(due_us))
			violated("instance %s: timer %u fires %lld us early",
			         name_of(row), e.activation,
			         (long long)(due_us - server_clock_us()));
		if (e.kind == EVENT_FIRED &&
		    instance_pending(w->engine, e.activation, &pending) &&
		    too_early(pending.due_us))
			violated("instance %s: the time of task %u ends %lld "
			         "us early",
			         name_of(row), e.activation,
			         (long long)(pending.due_us -
			                     server_clock_us()));
		if (instance_apply(w->engine, &e, &ignored) < 0)
			violated("instance %s: journal entry %d (kind %d, "
			         "action %u, attempt %u) does not fit",
			         name_of(row), w->seq + count, (int)e.kind,
			         e.activation, e.attempt);
		effects_clear(&ignored);
	}
	if (more < 0 || count != log->count)
		violated("instance %s: a journal row of %d entries holds %d",
		         name_of(row), log->count, count);
	w->seq += count;
	journal_reader_destroy(&reader);
	effects_fini(&ignored);
}

static bool
pool_there(const struct uuid *incarnation)
{
	for (uint32_t i = 0; i < tables.pool_count; i++)
		if (tables.pools[i]->exists &&
		    tables.pools[i]->deleting == NULL &&
		    uuid_equal(&tables.pools[i]->incarnation, incarnation))
			return true;
	return false;
}

static void
check_end(struct instance_row *row)
{
	struct witness *w = witness_of(row);
	static const enum status statuses[] = {
		[INSTANCE_RUNNING] = ROW_RUNNING,
		[INSTANCE_SUCCEEDED] = ROW_SUCCEEDED,
		[INSTANCE_FAILED] = ROW_FAILED,
		[INSTANCE_TIMED_OUT] = ROW_TIMED_OUT,
		[INSTANCE_CANCELLED] = ROW_CANCELLED,
	};
	struct buf output = BUF_EMPTY;
	struct end_view end;

	if (statuses[instance_status(w->engine)] != row->next.status)
		violated("instance %s ends with status %d, by its journal it "
		         "is %s",
		         name_of(row), (int)row->next.status,
		         instance_status_name(instance_status(w->engine)));
	instance_end(w->engine, &end);
	if (end.output != NULL)
		json_write(end.output->s, &output);
	if ((end.output != NULL) != (row->next.output.data != NULL) ||
	    (end.output != NULL &&
	     (output.len != (size_t)row->next.output.len ||
	      memcmp(output.data, row->next.output.data, output.len) != 0)))
		violated("instance %s ends with %.*s, by its journal with %s",
		         name_of(row), row->next.output.len,
		         row->next.output.data, buf_text(&output));
	buf_fini(&output);
}

static bool
cancelled(const struct instance_row *row)
{
	for (uint32_t i = 0; i < tables.command_count; i++)
		if (tables.commands[i]->instance == row &&
		    !tables.commands[i]->gone &&
		    strcmp(tables.commands[i]->kind, "cancel") == 0)
			return true;
	return false;
}

void
check_instance(struct instance_row *row, const struct uuid *incarnation)
{
	const struct instance_values *old = &row->cur, *new = &row->next;

	if (old->status >= ROW_SUCCEEDED)
		violated("instance %s is changed after its end", name_of(row));
	/* Only what somebody wants to end anyway: then that is done without
	 * its journal. */
	if (new->status == ROW_BLOCKED && !cancelled(row))
		violated("instance %s is set aside: %.*s", name_of(row),
		         new->reason.len, new->reason.data);
	if (old->owned && new->owned &&
	    !uuid_equal(&old->owner, &new->owner) && pool_there(&old->owner))
		violated("instance %s gets a second owner", name_of(row));
	if (old->owned && !new->owned &&
	    !uuid_equal(&old->owner, incarnation) && pool_there(&old->owner))
		violated("instance %s is taken from a pool that is there",
		         name_of(row));
	if (new->owned && (!uuid_equal(&new->owner, incarnation) ||
	                   !pool_there(incarnation)))
		violated("instance %s is claimed for a pool that is not "
		         "there", name_of(row));
	if (new->owned != old->owned)
		note_id(new->owned ? "claimed" : "released", &row->id,
		        new->status == ROW_WAITING ?
		            (uint64_t)(new->due_us - server_clock_us()) :
		            0);
	if (new->status < ROW_SUCCEEDED)
		return;
	if (old->status != ROW_BLOCKED)
		check_end(row);
	world.instances_open--;
	note_id("end", &row->id, new->status);
}

/* ---- what people may answer for ---- */

bool
check_task(struct instance_row *row, struct check_task *out)
{
	struct effects wanted = { NULL, 0, 0 };
	struct pending_view pending;
	struct action_view view;
	struct place_view place;
	struct definition *d;
	bool found = false;
	uint32_t from;

	if (row->cur.status >= ROW_SUCCEEDED || row->witness == NULL)
		return false;
	instance_wanted(row->witness->engine, &wanted);
	d = instance_definition(row->witness->engine);
	from = wanted.count > 0 ? dice(wanted.count) : 0;
	for (uint32_t n = 0; n < wanted.count && !found; n++) {
		uint32_t activation =
		    wanted.list[(from + n) % wanted.count].activation;

		if (!instance_place(row->witness->engine, activation, &place))
			continue;
		*out = (struct check_task){
			.activation = activation,
			.action = definition_state_action(d, place.state_no),
		};
		if (instance_pending(row->witness->engine, activation,
		                     &pending)) {
			out->attempt = pending.attempt;
			out->pending = found = true;
		} else if (instance_action(row->witness->engine, activation,
		                           &view)) {
			out->attempt = view.attempt;
			found = true;
		}
	}
	effects_fini(&wanted);
	return found;
}

/* ---- what is dispatched ---- */

static struct instance_row *
row_of(const struct uuid *id)
{
	for (uint32_t i = 0; i < tables.instance_count; i++)
		if (uuid_equal(&tables.instances[i]->id, id))
			return tables.instances[i];
	violated("an instance that nobody started is dispatched");
}

/*
 * A pool that came back while it was being taken over may not know yet, for
 * as long as a heartbeat lets it dispatch: then an action may run twice, and
 * the fence refuses one of the two. Nobody else has that excuse.
 */
static bool
beat_lately(const struct uuid *incarnation)
{
	for (uint32_t i = 0; i < tables.pool_count; i++)
		if (uuid_equal(&tables.pools[i]->incarnation, incarnation) &&
		    world.now_us - tables.pools[i]->beat_us < HOLDS_US)
			return true;
	return false;
}

static void
check_item(const struct process *p, struct cursor *c)
{
	struct action_view view;
	struct slice id_bytes, action, input;
	uint64_t token, activation, attempt, timeout, place;
	struct instance_row *row;
	struct uuid id;
	uint32_t parts;

	if (cursor_array(c, &parts) < 0 || parts < 8 || parts > 9 ||
	    cursor_uint(c, &token) < 0 || cursor_bytes(c, &id_bytes) < 0 ||
	    id_bytes.len != 16 || cursor_uint(c, &activation) < 0 ||
	    cursor_uint(c, &attempt) < 0 || cursor_bytes(c, &action) < 0 ||
	    cursor_uint(c, &timeout) < 0 ||
	    cursor_uint(c, &place) < 0)
		violated("a DISPATCH that is none");
	input = cursor_value(c);
	if (parts > 8)
		(void)cursor_value(c);
	memcpy(id.bytes, id_bytes.data, 16);
	row = row_of(&id);
	note_id("dispatch", &id, activation << 8 | attempt);
	if (!row->cur.owned ||
	    !uuid_equal(&row->cur.owner, process_incarnation(p))) {
		if (beat_lately(process_incarnation(p)))
			return;
		violated("instance %s: action %llu is dispatched by a pool "
		         "that does not hold its lease",
		         name_of(row), (unsigned long long)activation);
	}
	if (!instance_action(witness_of(row)->engine, (uint32_t)activation,
	                     &view) ||
	    view.attempt != attempt)
		violated("instance %s: action %llu attempt %llu is "
		         "dispatched, but by what is committed it is not "
		         "wanted",
		         name_of(row), (unsigned long long)activation,
		         (unsigned long long)attempt);
	attempts_add(&row->witness->dispatched, (uint32_t)activation,
	             (uint32_t)attempt);
	if (input.len != view.input->s.len ||
	    memcmp(input.data, view.input->s.data, input.len) != 0)
		violated("instance %s: action %llu is dispatched with "
		         "another input than its journal says",
		         name_of(row), (unsigned long long)activation);
	if (too_early(view.not_before_us))
		violated("instance %s: action %llu is dispatched before its "
		         "retry delay is over",
		         name_of(row), (unsigned long long)activation);
}

void
check_dispatch(const struct process *p, struct slice payload)
{
	struct cursor c = cursor_of(payload);
	uint32_t count;

	if (cursor_array(&c, &count) < 0)
		violated("a DISPATCH that is none");
	while (count-- > 0)
		check_item(p, &c);
}

void
check_settled(const struct process *p, const struct uuid *id,
              uint32_t activation, uint32_t attempt, bool known)
{
	struct instance_row *row = row_of(id);
	struct action_view view;

	if (row->witness == NULL || row->cur.status >= ROW_SUCCEEDED ||
	    !row->cur.owned ||
	    !uuid_equal(&row->cur.owner, process_incarnation(p)))
		return;
	if (!instance_action(row->witness->engine, activation, &view) ||
	    view.attempt != attempt)
		return;
	/* With two of a kind under way the first answer counts. What a worker
	 * without a scoreboard runs for an earlier flusher runs again, and
	 * so does what was not the pool's for a while. */
	if (!known ||
	    lease_find(process_flusher(p)->leases, id) == NULL ||
	    attempts_count(&row->witness->dispatched, activation, attempt) > 1) {
		note_id("thrown away", id,
		        (uint64_t)activation << 8 | attempt);
		world.thrown_away++;
		return;
	}
	violated("instance %s: the completion of action %u attempt %u is "
	         "acknowledged and not in the journal",
	         name_of(row), activation, attempt);
}

/* ---- what is held in memory ---- */

static bool
same_wanted(const struct instance *a, const struct instance *b,
            uint32_t activation)
{
	struct action_view x, y;
	struct pending_view p = { .attempt = 0 }, q = { .attempt = 0 };
	int64_t due_x = 0, due_y = 0;
	bool is_action = instance_action(a, activation, &x);
	bool is_timer = instance_timer(a, activation, &due_x);

	if (is_action != instance_action(b, activation, &y) ||
	    is_timer != instance_timer(b, activation, &due_y) ||
	    instance_pending(a, activation, &p) !=
	        instance_pending(b, activation, &q) ||
	    p.attempt != q.attempt || p.due_us != q.due_us)
		return false;
	if (is_action &&
	    (x.attempt != y.attempt || x.not_before_us != y.not_before_us ||
	     x.timeout_us != y.timeout_us || x.state_no != y.state_no))
		return false;
	return due_x == due_y;
}

static void
check_lease(const struct lease *lease, struct instance_row *row)
{
	struct instance *witness = witness_of(row)->engine;
	struct effects mine = { NULL, 0, 0 }, theirs = { NULL, 0, 0 };
	bool same;

	instance_wanted(lease->engine, &mine);
	instance_wanted(witness, &theirs);
	same = mine.count == theirs.count &&
	    instance_status(lease->engine) == instance_status(witness) &&
	    lease->seq == (uint32_t)row->witness->seq;
	for (uint32_t i = 0; same && i < mine.count; i++)
		same = mine.list[i].kind == theirs.list[i].kind &&
		    mine.list[i].activation == theirs.list[i].activation &&
		    same_wanted(lease->engine, witness,
		                mine.list[i].activation);
	if (!same)
		violated("instance %s: its journal (up to %d) gives another "
		         "state than memory has (up to %u)",
		         name_of(row), row->witness->seq, lease->seq);
	effects_fini(&mine);
	effects_fini(&theirs);
}

void
check_memory(const struct process *p)
{
	const struct flusher *f = process_flusher(p);
	const struct lease *lease;

	if (f->leases == NULL)
		return;
	TAILQ_FOREACH (lease, leases_all(f->leases), entry) {
		struct instance_row *row = row_of(&lease->id);

		if (lease->engine == NULL || lease->rebuild != NULL ||
		    lease->batches > 0 ||
		    !row->cur.owned ||
		    !uuid_equal(&row->cur.owner, process_incarnation(p)))
			continue;
		check_lease(lease, row);
	}
}

/* ---- the end ---- */

/* An instance without a world: the oldest wish first. */
void
reference_output(const struct instance_row *row, struct buf *out)
{
	struct effects wanted = { NULL, 0, 0 };
	int64_t now_us = row->cur.started_us;
	struct instance *engine = engine_create(row, now_us, &wanted);
	struct end_view end;

	while (instance_status(engine) == INSTANCE_RUNNING) {
		struct work_result result = { .value = BUF_EMPTY };
		struct action_view view;
		struct event e = { .at_us = 0 };

		effects_clear(&wanted);
		instance_wanted(engine, &wanted);
		ASSERT(wanted.count > 0);
		e.activation = wanted.list[0].activation;
		if (instance_action(engine, e.activation, &view)) {
			if (view.not_before_us > now_us)
				now_us = view.not_before_us;
			e.attempt = view.attempt;
			work_run(view.action, view.attempt, view.input->s,
			         &result);
			e.kind = result.error == NULL ? EVENT_SUCCEEDED :
			                                EVENT_FAILED;
			e.value = result.error == NULL ?
			    buf_slice(&result.value) :
			    SLICE_NONE;
			e.error = result.error == NULL ?
			    SLICE_NONE :
			    slice_of(result.error);
		} else {
			ASSERT(instance_timer(engine, e.activation, &now_us));
			e.kind = EVENT_FIRED;
		}
		e.at_us = now_us;
		ASSERT(instance_apply(engine, &e, &wanted) == 0);
		buf_fini(&result.value);
	}
	instance_end(engine, &end);
	if (end.output != NULL)
		json_write(end.output->s, out);
	effects_fini(&wanted);
	instance_destroy(&engine);
}

void
check_ends(void)
{
	struct buf want = BUF_EMPTY;

	for (uint32_t i = 0; i < tables.instance_count; i++) {
		struct instance_row *row = tables.instances[i];

		if (row->cur.status < ROW_SUCCEEDED)
			violated("instance %s never ends: status %d after "
			         "%.0f s", name_of(row), (int)row->cur.status,
			         (double)world.now_us / 1e6);
		if (row->cur.owned)
			violated("instance %s has ended and has an owner",
			         name_of(row));
		if (row->version->id >= FIXED_WORKFLOWS ||
		    row->cur.status == ROW_CANCELLED)
			continue;
		want.len = 0;
		reference_output(row, &want);
		/* Three workers died of one action, for no fault of its own. */
		if (row->cur.status == ROW_FAILED &&
		    row->cur.error.len == 13 &&
		    memcmp(row->cur.error.data, "Rappel.Poison", 13) == 0)
			continue;
		if (row->cur.status != ROW_SUCCEEDED ||
		    want.len != (size_t)row->cur.output.len ||
		    memcmp(want.data, row->cur.output.data, want.len) != 0)
			violated("instance %s of workflow %d ends with status "
			         "%d and %.*s; without faults: %s",
			         name_of(row), (int)row->version->id,
			         (int)row->cur.status, row->cur.output.len,
			         row->cur.output.data, buf_text(&want));
	}
	buf_fini(&want);
}

bool
check_progress(void)
{
	for (uint32_t i = 0; i < tables.progress_count; i++)
		if (!tables.progress[i]->gone)
			return false;
	return true;
}

void
check_reset(void)
{
	for (uint32_t i = 0; i < tables.instance_count; i++)
		if (tables.instances[i]->witness != NULL)
			instance_destroy(
			    &tables.instances[i]->witness->engine);
	for (int i = 0; i < VERSIONS_MAX; i++)
		definition_unref(&definitions[i]);
}
