/*
 * exec - one run of a definition in this process, driven to its end.
 */
#include "ctl/exec.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/utf8.h"
#include "common/value.h"
#include "ctl/builtin.h"

#define EXEC_MAGIC 0xe8ec0001U
/* As large as the daemon's default for inputs and results. */
#define VALUE_BYTES_MAX ((uint64_t)1 << 20)

enum due_kind { DUE_ATTEMPT, DUE_TIMER, DUE_ANSWER };

/* Something that happens at a time. What is not wanted then is dropped. */
struct due {
	int64_t at_us;
	uint64_t seq; /* of equal times, the first planned goes first */
	enum due_kind kind;
	uint32_t activation;
	uint32_t attempt;
	struct value *value; /* ANSWER; NULL: States.Timeout */
	uint64_t run_us;
};

struct exec {
	uint32_t magic;
	struct exec_options options;
	struct instance *instance;
	struct effects effects;
	int64_t now_us;
	bool has_ended;

	struct due *heap; /* the earliest first */
	uint32_t heap_count;
	uint32_t heap_cap;
	uint64_t seq;

	uint32_t *path;
	uint32_t path_count;
	uint32_t path_cap;
	struct exec_task *tasks;
	uint32_t task_count;
	uint32_t task_cap;
};

/* ---- what is due ---- */

static bool
earlier(const struct due *a, const struct due *b)
{
	return a->at_us != b->at_us ? a->at_us < b->at_us : a->seq < b->seq;
}

static void
heap_push(struct exec *x, struct due d)
{
	uint32_t at = x->heap_count++;

	d.seq = x->seq++;
	if (x->heap_count > x->heap_cap) {
		x->heap_cap = x->heap_cap == 0 ? 64 : x->heap_cap * 2;
		x->heap = mem_realloc(x->heap, x->heap_cap * sizeof(*x->heap));
	}
	while (at > 0 && earlier(&d, &x->heap[(at - 1) / 2])) {
		x->heap[at] = x->heap[(at - 1) / 2];
		at = (at - 1) / 2;
	}
	x->heap[at] = d;
}

static struct due
heap_pop(struct exec *x)
{
	struct due first = x->heap[0];
	struct due last = x->heap[--x->heap_count];
	uint32_t at = 0;

	for (;;) {
		uint32_t child = at * 2 + 1;

		if (child >= x->heap_count)
			break;
		if (child + 1 < x->heap_count &&
		    earlier(&x->heap[child + 1], &x->heap[child]))
			child++;
		if (!earlier(&x->heap[child], &last))
			break;
		x->heap[at] = x->heap[child];
		at = child;
	}
	x->heap[at] = last;
	return first;
}

/* ---- the instance ---- */

static void
trace_cb(void *arg, uint32_t state_no, uint32_t activation)
{
	struct exec *x = arg;

	(void)activation;
	CHECK_OBJ(x, EXEC_MAGIC);
	if (x->path_count == x->path_cap) {
		x->path_cap = x->path_cap == 0 ? 64 : x->path_cap * 2;
		x->path = mem_realloc(x->path, x->path_cap * sizeof(*x->path));
	}
	x->path[x->path_count++] = state_no;
}

/* Plans what the last apply brought. */
static void
take_effects(struct exec *x)
{
	for (uint32_t n = 0; n < x->effects.count; n++) {
		uint32_t activation = x->effects.list[n].activation;
		struct due d = { .activation = activation };
		struct action_view view;

		switch (x->effects.list[n].kind) {
		case EFFECT_ACTION:
			if (!instance_action(x->instance, activation, &view))
				break;
			d.kind = DUE_ATTEMPT;
			d.attempt = view.attempt;
			d.at_us = view.not_before_us > x->now_us
				      ? view.not_before_us
				      : x->now_us;
			heap_push(x, d);
			break;
		case EFFECT_TIMER:
			if (!instance_timer(x->instance, activation, &d.at_us))
				break;
			d.kind = DUE_TIMER;
			heap_push(x, d);
			break;
		case EFFECT_PENDING:
			break; /* a mock is everybody's answer */
		case EFFECT_ABANDON:
			/* It is looked at again before it happens. */
			break;
		case EFFECT_END:
			x->has_ended = true;
			break;
		}
	}
	effects_clear(&x->effects);
}

static void
apply(struct exec *x, const struct event *e)
{
	/* What fits no activation any more came too late: nothing to do. */
	if (instance_apply(x->instance, e, &x->effects) == 0)
		take_effects(x);
}

struct exec *
exec_create(const struct exec_options *options)
{
	struct exec *x = mem_zalloc(sizeof(*x));
	struct instance_options how = {
		.workflow = slice_of(options->workflow),
		.input = options->input,
		.value_bytes_max = VALUE_BYTES_MAX,
		.trace = trace_cb,
		.trace_arg = x,
	};
	char name[UUID_TEXT_SIZE];

	x->magic = EXEC_MAGIC;
	x->options = *options;
	x->now_us = clock_wall_us();
	uuid_random(&how.id);
	uuid_text(&how.id, name);
	how.name = slice_of(name);
	how.started_at_us = x->now_us;
	x->instance = instance_create(options->definition, &how, &x->effects);
	take_effects(x);
	return x;
}

void
exec_destroy(struct exec **xp)
{
	struct exec *x = *xp;

	if (x == NULL)
		return;
	*xp = NULL;
	CHECK_OBJ(x, EXEC_MAGIC);
	for (uint32_t n = 0; n < x->heap_count; n++)
		value_unref(&x->heap[n].value);
	for (uint32_t n = 0; n < x->task_count; n++)
		value_unref(&x->tasks[n].input);
	instance_destroy(&x->instance);
	effects_fini(&x->effects);
	free(x->heap);
	free(x->path);
	free(x->tasks);
	x->magic = 0;
	free(x);
}

/* ---- tasks ---- */

static void
note_task(struct exec *x, const struct action_view *view)
{
	if (x->task_count == x->task_cap) {
		x->task_cap = x->task_cap == 0 ? 64 : x->task_cap * 2;
		x->tasks =
		    mem_realloc(x->tasks, x->task_cap * sizeof(*x->tasks));
	}
	x->tasks[x->task_count++] = (struct exec_task){
		.state_no = view->state_no,
		.attempt = view->attempt,
		.input = value_ref(view->input),
	};
}

static void
no_answer(const struct mock_question *q, struct error *err)
{
	size_t len = q->state.len < sizeof(err->state) ?
	    q->state.len : sizeof(err->state) - 1;

	snprintf(err->state, sizeof(err->state), "%.*s",
		 (int)utf8_cut((const char *)q->state.data, len),
		 (const char *)q->state.data);
	snprintf(err->field, sizeof(err->field), "Resource");
	error_set(err,
		  "nothing answers for \"%.*s\"; mock it, as in --mocks "
		  "with {\"%.*s\": {\"return\": …}}",
		  (int)q->resource.len, (const char *)q->resource.data,
		  (int)q->resource.len, (const char *)q->resource.data);
}

/* Sends an answer to the engine, now. */
static void
apply_answer(struct exec *x, const struct due *d,
	     const struct mock_answer *answer)
{
	struct event e = {
		.kind = answer->failed ? EVENT_FAILED : EVENT_SUCCEEDED,
		.at_us = x->now_us,
		.activation = d->activation,
		.attempt = d->attempt,
		.value = answer->value,
		.error = answer->error,
		.cause = answer->cause,
	};

	apply(x, &e);
}

/* A built-in that takes its time: its answer, or its timeout, is planned. */
static void
plan_answer(struct exec *x, const struct due *d, const struct action_view *view,
	    struct slice value, uint64_t delay_us)
{
	struct due answer = *d;

	answer.kind = DUE_ANSWER;
	answer.value = NULL;
	if (view->timeout_us != 0 && delay_us > view->timeout_us)
		delay_us = view->timeout_us;
	else
		answer.value = value_create(value);
	answer.at_us = x->now_us + (int64_t)delay_us;
	heap_push(x, answer);
}

/* Runs one attempt, or drops it when it is not wanted any more. */
static int
run_attempt(struct exec *x, const struct due *d, struct error *err)
{
	struct definition *def = x->options.definition;
	struct mock_answer answer = { .failed = false };
	struct mock_question q;
	struct action_view view;
	uint64_t delay_us = 0;
	int rc;

	if (!instance_action(x->instance, d->activation, &view) ||
	    view.attempt != d->attempt)
		return CTL_OK;
	q = (struct mock_question){
		.state_no = view.state_no,
		.state = definition_state_name(def, view.state_no),
		.resource = definition_state_resource(def, view.state_no),
		.action = view.action,
		.attempt = view.attempt,
		.is_inside = view.has_index,
		.input = view.input->s,
	};
	note_task(x, &view);
	if (x->options.program != NULL) {
		rc = mock_program_ask(x->options.program, &q, &answer);
		if (rc != CTL_OK)
			return rc;
		apply_answer(x, d, &answer);
	} else if (x->options.mocks != NULL &&
		   mocks_ask(x->options.mocks, &q, &answer)) {
		apply_answer(x, d, &answer);
	} else if (builtin_answer(q.action, q.input, &answer, &delay_us)) {
		if (delay_us == 0)
			apply_answer(x, d, &answer);
		else
			plan_answer(x, d, &view, answer.value, delay_us);
	} else {
		no_answer(&q, err);
		return CTL_FAILED;
	}
	return CTL_OK;
}

/* ---- the clock ---- */

/* Until at_us, really or in mind. False after Ctrl-C. */
static bool
wait_until(struct exec *x, int64_t at_us)
{
	while (!x->options.is_fast && !interrupted) {
		int64_t now_us = clock_wall_us();
		int64_t left_us = at_us - now_us;

		if (left_us <= 0) {
			if (now_us > x->now_us)
				x->now_us = now_us;
			return true;
		}
		poll(NULL, 0,
		     left_us > 3600000000 ? 3600000
					  : (int)(left_us / 1000 + 1));
	}
	if (at_us > x->now_us)
		x->now_us = at_us;
	return !interrupted;
}

static void
fire_timer(struct exec *x, const struct due *d)
{
	struct event e = { .kind = EVENT_FIRED,
			   .at_us = x->now_us,
			   .activation = d->activation };
	int64_t due_us;

	if (instance_timer(x->instance, d->activation, &due_us) &&
	    due_us <= x->now_us)
		apply(x, &e);
}

int
exec_run(struct exec *x, struct error *err)
{
	CHECK_OBJ(x, EXEC_MAGIC);
	while (!x->has_ended) {
		struct due d;
		struct mock_answer answer = {
			.failed = true,
			.error = SLICE_LITERAL("States.Timeout"),
		};
		int rc = CTL_OK;

		if (x->heap_count == 0) {
			error_set(err, "nothing is left to happen, and the "
				       "run has not ended: a bug in rappel");
			return CTL_FAILED;
		}
		d = heap_pop(x);
		if (!wait_until(x, d.at_us)) {
			value_unref(&d.value);
			return CTL_INTERRUPTED;
		}
		switch (d.kind) {
		case DUE_ATTEMPT:
			rc = run_attempt(x, &d, err);
			break;
		case DUE_TIMER:
			fire_timer(x, &d);
			break;
		case DUE_ANSWER:
			if (d.value != NULL) {
				answer.failed = false;
				answer.value = d.value->s;
			}
			apply_answer(x, &d, &answer);
			value_unref(&d.value);
			break;
		}
		if (rc != CTL_OK)
			return rc;
	}
	return CTL_OK;
}

void
exec_end(const struct exec *x, struct end_view *out)
{
	CHECK_OBJ(x, EXEC_MAGIC);
	instance_end(x->instance, out);
}

const uint32_t *
exec_path(const struct exec *x, uint32_t *count_out)
{
	CHECK_OBJ(x, EXEC_MAGIC);
	*count_out = x->path_count;
	return x->path;
}

const struct exec_task *
exec_tasks(const struct exec *x, uint32_t *count_out)
{
	CHECK_OBJ(x, EXEC_MAGIC);
	*count_out = x->task_count;
	return x->tasks;
}
