/*
 * control_verbs - what each verb of the control socket does.
 */
#include <errno.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/frame.h"
#include "common/log.h"
#include "common/utf8.h"
#include "common/value.h"
#include "supervisor/control_parts.h"
#include "supervisor/output.h"
#include "supervisor/route.h"
#include "supervisor/supervisor.h"
#include "supervisor/workers.h"

/* A process in the reply takes at most this, and as many bytes of a group's
 * program are shown: it must all fit into a frame. */
#define PROCESS_BYTES_MAX (512U + OUTPUT_LINE_BYTES)
#define PROGRAM_BYTES_MAX 160U
/* What all groups' troubles share. */
#define TROUBLES_BYTES_MAX (20U << 10)
#define REPLY_BYTES_MAX (FRAME_CONTROL_BYTES_MAX - ROUTE_STATUS_MAX - 1024U)
#define GRACE_MAX_US (UINT64_C(86400) * CLOCK_SECOND_US)

static void
pack_process(struct buf *b, const struct child *c)
{
	value_pack_map(b, 11);
	control_pack_text(b, "kind", child_kind_name(c->kind));
	value_pack_text(b, "group");
	if (c->group != NULL)
		value_pack_text(b, c->group->config->name);
	else
		value_pack_null(b);
	control_pack_uint(b, "slot", c->slot);
	control_pack_uint(b, "spawn", c->spawn);
	control_pack_uint(b, "pid", (uint64_t)c->pid);
	control_pack_text(b, "phase", child_phase_name(c->phase));
	control_pack_uint(b, "since_us", (uint64_t)c->phase_wall_us);
	control_pack_uint(b, "restarts", c->restarts);
	control_pack_text(b, "last_exit", c->last_exit);
	control_pack_uint(b, "actions", c->actions);
	value_pack_text(b, "last_output");
	if (c->output != NULL)
		output_pack_last(c->output, 1, b);
	else
		value_pack_array(b, 0);
}

/* Why processes do not start, or nil. */
static void
pack_degraded(struct buf *b, const struct supervisor *s)
{
	const struct degraded *d = &s->degraded;

	value_pack_text(b, "degraded");
	if (!d->is) {
		value_pack_null(b);
		return;
	}
	value_pack_map(b, 3);
	control_pack_uint(b, "since_us", (uint64_t)d->since_wall_us);
	control_pack_text(b, "reason", d->why);
	value_pack_text(b, "last_output");
	if (d->slot >= 0)
		output_pack_last(s->workers[d->slot].output, OUTPUT_LINES, b);
	else
		value_pack_array(b, 0);
}

static void
pack_program(struct buf *b, const struct group *g)
{
	const struct words *program = &g->config->program;
	struct buf text = BUF_EMPTY;

	for (uint32_t i = 0; i < program->count; i++) {
		buf_add_text(&text, i > 0 ? " " : "");
		words_quote(program->items[i], &text);
	}
	if (text.len > PROGRAM_BYTES_MAX) {
		text.len = utf8_cut((const char *)text.data,
		                    PROGRAM_BYTES_MAX);
		buf_add_text(&text, "…");
	}
	control_pack_text(b, "program", buf_text(&text));
	buf_fini(&text);
}

/* Why it does not start, or nil. */
static void
pack_trouble(struct buf *b, const struct group *g)
{
	struct buf text = BUF_EMPTY;

	value_pack_text(b, "trouble");
	if (!g->degraded.is) {
		value_pack_null(b);
		return;
	}
	group_trouble(g, TROUBLES_BYTES_MAX / g->supervisor->group_count,
	              &text);
	value_pack_map(b, 3);
	control_pack_uint(b, "since_us", (uint64_t)g->degraded.since_wall_us);
	control_pack_uint(b, "failed", g->failed);
	value_pack_text(b, "reason");
	value_pack_str(b, text.data, text.len);
	buf_fini(&text);
}

static void
pack_groups(struct buf *b, const struct supervisor *s)
{
	value_pack_text(b, "groups");
	value_pack_array(b, s->group_count);
	for (uint32_t i = 0; i < s->group_count; i++) {
		const struct group *g = &s->groups[i];

		value_pack_map(b, 8);
		control_pack_text(b, "name", g->config->name);
		pack_program(b, g);
		control_pack_uint(b, "ready", group_ready(g));
		control_pack_uint(b, "workers", g->wanted);
		control_pack_uint(b, "workers_max", group_max(g));
		value_pack_text(b, "concurrency");
		if (g->config->concurrency > 0)
			value_pack_uint(b, g->config->concurrency);
		else
			value_pack_null(b);
		control_pack_uint(b, "outdated", group_outdated(g));
		pack_trouble(b, g);
	}
}

/* A spare slot is shown only while somebody is in it. */
static bool
is_shown(const struct child *w)
{
	return w->member || child_alive(w);
}

/* The processes, as far as they fit, and how many did not. */
static void
pack_processes(struct buf *b, const struct supervisor *s)
{
	size_t room = REPLY_BYTES_MAX - PROCESS_BYTES_MAX - b->len;
	uint32_t fixed = 1;
	struct buf one = BUF_EMPTY;
	uint32_t shown = 0, left_out = 0;

	pack_process(&one, &s->flusher);
	/* What --dev starts is shown once there has been one; a helper only
	 * while it works. */
	if (s->postgres.spawn > 0) {
		pack_process(&one, &s->postgres);
		fixed++;
	}
	if (child_alive(&s->helper)) {
		pack_process(&one, &s->helper);
		fixed++;
	}
	for (uint32_t i = 0; i < s->slots; i++) {
		if (!is_shown(&s->workers[i]))
			continue;
		if (one.len >= room) {
			left_out++;
			continue;
		}
		pack_process(&one, &s->workers[i]);
		shown++;
	}
	value_pack_text(b, "processes");
	value_pack_array(b, fixed + shown);
	buf_add(b, one.data, one.len);
	buf_fini(&one);
	control_pack_uint(b, "left_out", left_out);
}

void
verb_status(struct client *c, struct slice request)
{
	const struct supervisor *s = c->supervisor;
	struct buf b = BUF_EMPTY;

	(void)request;
	value_pack_map(&b, 15);
	value_pack_text(&b, "ok");
	value_pack_bool(&b, true);
	control_pack_text(&b, "version", RAPPEL_VERSION);
	control_pack_uint(&b, "pid", (uint64_t)getpid());
	control_pack_text(&b, "phase", pool_phase_name(s->phase));
	control_pack_uint(&b, "since_us", (uint64_t)s->phase_wall_us);
	control_pack_text(&b, "dir", s->dir);
	value_pack_text(&b, "dev");
	value_pack_bool(&b, s->dev != NULL);
	control_pack_uint(&b, "workers", workers_wanted(s));
	control_pack_uint(&b, "outdated", workers_outdated(s));
	control_pack_uint(&b, "log_dropped", log_dropped());
	pack_degraded(&b, s);
	pack_groups(&b, s);
	pack_processes(&b, s);
	value_pack_text(&b, "flusher");
	if (s->status.len > 0)
		value_pack_raw(&b, buf_slice(&s->status));
	else
		value_pack_null(&b);
	control_reply(c, buf_slice(&b));
	buf_fini(&b);
}

static void
reply_phase(struct client *c)
{
	const struct supervisor *s = c->supervisor;
	struct buf b = BUF_EMPTY;

	value_pack_map(&b, 2);
	value_pack_text(&b, "ok");
	value_pack_bool(&b, true);
	control_pack_text(&b, "phase",
	                  s->phase == POOL_DRAINED ? "drained" : "draining");
	control_reply(c, buf_slice(&b));
	buf_fini(&b);
}

/* The grace that the request asks for, or the configured one. */
static int
grace_of(struct client *c, struct slice request, uint64_t *out)
{
	struct slice value;
	struct item item;

	*out = c->supervisor->config.shutdown_grace_us;
	if (!value_get(request, SLICE_LITERAL("grace_us"), &value) ||
	    value_type(value) == VALUE_NULL)
		return 0;
	item = value_item(value);
	if (item.type != VALUE_INT || item.i < 0 ||
	    (uint64_t)item.i > GRACE_MAX_US) {
		control_reply_error(
		    c, CODE_USAGE,
		    "grace_us must be an integer from 0 to one day");
		return -EINVAL;
	}
	*out = (uint64_t)item.i;
	return 0;
}

void
verb_stop(struct client *c, struct slice request)
{
	struct supervisor *s = c->supervisor;
	struct slice value;
	struct item now = { .type = VALUE_BOOL, .b = false };
	uint64_t grace_us;

	if (value_get(request, SLICE_LITERAL("now"), &value))
		now = value_item(value);
	if (now.type != VALUE_BOOL) {
		control_reply_error(c, CODE_USAGE, "now must be true or false");
		return;
	}
	if (grace_of(c, request, &grace_us) < 0)
		return;
	log_info("stop asked grace_ms=%llu now=%d",
	         (unsigned long long)(grace_us / CLOCK_MS_US), now.b);
	supervisor_stop(s, now.b ? 0 : grace_us, true);
	if (now.b)
		supervisor_force(s);
	reply_phase(c);
}

void
verb_drain(struct client *c, struct slice request)
{
	uint64_t grace_us;

	if (grace_of(c, request, &grace_us) < 0)
		return;
	log_info("drain asked grace_ms=%llu",
	         (unsigned long long)(grace_us / CLOCK_MS_US));
	supervisor_stop(c->supervisor, grace_us, false);
	reply_phase(c);
}

void
verb_ping(struct client *c, struct slice request)
{
	struct buf b = BUF_EMPTY;

	(void)request;
	value_pack_map(&b, 1);
	value_pack_text(&b, "ok");
	value_pack_bool(&b, true);
	control_reply(c, buf_slice(&b));
	buf_fini(&b);
}
