/*
 * flusher_main - the flusher process: open, connect, start, loop, stop.
 *
 * Started by rappeld with one socket to it. It ends by itself: after a
 * DRAIN, or when the supervisor is gone, after one last flush.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/assert.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/strays.h"
#include "common/mem.h"
#include "common/sandbox.h"
#include "common/value.h"
#include "flusher/adopt.h"
#include "flusher/batch.h"
#include "flusher/board.h"
#include "flusher/claim.h"
#include "flusher/commit.h"
#include "flusher/dispatch.h"
#include "flusher/flusher.h"
#include "flusher/groups.h"
#include "flusher/keeper.h"
#include "flusher/lease.h"
#include "flusher/mark.h"
#include "flusher/park.h"
#include "flusher/progress.h"
#include "flusher/session.h"
#include "flusher/status.h"
#include "flusher/timers.h"
#include "flusher/trace.h"
#include "flusher/versions.h"

#define LAST_FLUSH_US (600 * CLOCK_MS_US)
#define ORPHAN_FLUSH_US (1500 * CLOCK_MS_US)
#define STATUS_KEEPALIVE_US (5 * CLOCK_SECOND_US)
#define EXIT_USAGE 64

/* The process's own parts: one of each, in static storage. */
static struct flusher flusher;
static struct event *turn_event;
static struct event *second_event;
static struct event *drain_event;
static struct buf status_last;
static uint64_t status_sent_us;
static enum flusher_health health_sent;
static uint64_t drain_by_us; /* nothing waits longer */

int64_t
flusher_now_us(const struct flusher *f)
{
	return (int64_t)clock_mono_us() + f->clock.offset_us;
}

void
flusher_turn_wanted(struct flusher *f)
{
	if (f->wants_turn_end)
		return;
	f->wants_turn_end = true;
	event_active(turn_event, EV_TIMEOUT, 1);
}

_Noreturn void
flusher_exit(struct flusher *f, int code, const char *why)
{
	(void)f;
	if (code == EXIT_FENCED)
		log_error("fenced, this life of the pool ends reason=\"%s\"",
		          why);
	else
		log_error("cannot go on code=%d reason=\"%s\"", code, why);
	_exit(code);
}

static void
status_send(struct flusher *f)
{
	struct buf now = BUF_EMPTY;
	uint64_t at = clock_mono_us();

	if (f->link == NULL)
		return;
	if (status_health(f) == HEALTH_WORKING)
		f->worked_once = true;
	groups_refresh(f);
	status_pack(f, &now);
	if (now.len != status_last.len ||
	    memcmp(now.data, status_last.data, now.len) != 0 ||
	    at - status_sent_us >= STATUS_KEEPALIVE_US) {
		frame_add(link_out(f->link), FRAME_STATUS, 0, 0,
		          (uint32_t)status_health(f), buf_slice(&now));
		link_send(f->link);
		buf_fini(&status_last);
		status_last = now;
		status_sent_us = at;
		health_sent = status_health(f);
		return;
	}
	buf_fini(&now);
}

/* ---- the turn's end ---- */

static void
turn_cb(evutil_socket_t fd, short what, void *arg)
{
	struct flusher *f = arg;

	(void)fd;
	(void)what;
	f->wants_turn_end = false;
	if (f->commit == NULL)
		return;
	/* The commit first: it is on its way while we dispatch. */
	commit_run(f);
	if (f->link == NULL)
		return;
	ack_run(f);
	/* A full batch means that the database is behind or away: what runs may
	 * still end, so memory is bounded by what the workers hold; reading
	 * goes on, since a DRAIN may come. */
	if (keeper_holds(f->keeper) && !commit_full(f))
		dispatch_run(f);
	if (status_health(f) != health_sent)
		status_send(f);
}

static void
second_cb(evutil_socket_t fd, short what, void *arg)
{
	struct flusher *f = arg;

	(void)fd;
	(void)what;
	if (f->phase == FLUSHER_WORKING)
		dispatch_explain(f);
	status_send(f);
}

static void
timer_due(struct flusher *f, struct lease *lease, enum timer_kind kind,
          uint32_t activation)
{
	struct event event = { .kind = EVENT_FIRED,
		               .at_us = flusher_now_us(f),
		               .activation = activation };

	struct pending_view pending;
	struct action_view action;

	switch (kind) {
	case TIMER_FIRE:
		if (lease->engine != NULL &&
		    instance_pending(lease->engine, activation, &pending))
			event.attempt = pending.attempt;
		batch_apply(f, lease, &event);
		break;
	case TIMER_RETRY:
		if (instance_action(lease->engine, activation, &action))
			dispatch_ready(f, lease, activation, action.attempt);
		break;
	case TIMER_PARK:
		park_due(f, lease);
		break;
	}
}

void
flusher_registered(struct flusher *f)
{
	if (f->phase != FLUSHER_STARTING) {
		flusher_drain_step(f); /* stopped while it joined */
		return;
	}
	f->phase = FLUSHER_WORKING;
	commit_open(f->commit);
	claim_open(f->claim);
	status_send(f);
}

/* ---- draining ---- */

static void
left(struct flusher *f)
{
	status_send(f);
	ack_run(f);
	if (f->link != NULL)
		link_flush(f->link);
	event_base_loopbreak(f->base);
}

static void
drain_arm(struct flusher *f)
{
	uint64_t now = clock_mono_us();
	uint64_t by = drain_by_us;
	struct timeval tv;

	/* With nothing running and no database there is nothing to wait
	 * for but its quick return. */
	if ((dispatch_flights(f->dispatch) == 0 || f->link == NULL) &&
	    (!commit_ready(f->commit) || (f->phase == FLUSHER_LEAVING &&
	                                  !keeper_ready(f->keeper))) &&
	    by > now + LAST_FLUSH_US)
		by = drain_by_us = now + LAST_FLUSH_US;
	by = by > now ? by - now : 0;
	tv.tv_sec = (time_t)(by / CLOCK_SECOND_US);
	tv.tv_usec = (suseconds_t)(by % CLOCK_SECOND_US);
	event_add(drain_event, &tv);
}

void
flusher_drain_step(struct flusher *f)
{
	if (f->phase == FLUSHER_LEAVING && !keeper_ready(f->keeper))
		drain_arm(f);
	if (f->phase != FLUSHER_DRAINING)
		return;
	drain_arm(f);
	if (keeper_joining(f->keeper))
		return; /* the row that is being made is to be deleted */
	if (f->link != NULL && dispatch_flights(f->dispatch) > 0)
		return;
	if (!commit_quiet(f->commit)) {
		flusher_turn_wanted(f);
		return;
	}
	/* A claim behind the end of the pool's row would look as if somebody
	 * had taken over. */
	if (!claim_quiet(f->claim))
		return;
	f->phase = FLUSHER_LEAVING;
	if (!keeper_ready(f->keeper))
		drain_arm(f); /* for its quick return at most */
	keeper_leave(f, left);
}

static void
drain_cb(evutil_socket_t fd, short what, void *arg)
{
	struct flusher *f = arg;

	(void)fd;
	(void)what;
	/* A timer may come a little early. Handing back is bounded as well. */
	if (clock_mono_us() < drain_by_us) {
		drain_arm(f);
		flusher_drain_step(f);
		return;
	}
	if (!commit_quiet(f->commit))
		log_warning("stopping with completions that are not written; "
		            "their actions will run again");
	left(f);
}

static void
drain(struct flusher *f, uint64_t by_us)
{
	if (f->phase == FLUSHER_DRAINING || f->phase == FLUSHER_LEAVING) {
		if (by_us < drain_by_us)
			drain_by_us = by_us;
		if (f->phase == FLUSHER_DRAINING)
			flusher_drain_step(f);
		return;
	}
	drain_by_us = by_us;
	if (f->phase == FLUSHER_STARTING && !keeper_joining(f->keeper)) {
		left(f);
		return;
	}
	f->phase = FLUSHER_DRAINING;
	claim_stop(f);
	status_send(f);
	flusher_drain_step(f);
}

/* ---- the supervisor ---- */

/* It said what no worker of ours says: it goes, the pool lives on. */
static void
worker_refused(struct flusher *f, const struct frame *frame)
{
	log_error("worker refused type=%s slot=%u",
	          frame_type_name(frame->type), frame->slot);
	frame_add(link_out(f->link), FRAME_KILL, frame->slot, frame->spawn, 0,
	          SLICE_LITERAL("\x80"));
	link_send(f->link);
}

static void
kept(struct flusher *f, struct slice payload)
{
	static const char *const keys[] = { "frames", "spooled", "workers" };
	uint32_t counts[3] = { 0, 0, 0 };
	struct slice value;

	for (int i = 0; i < 3; i++)
		if (value_get(payload, slice_of(keys[i]), &value) &&
		    value_type(value) == VALUE_INT &&
		    value_item(value).i > 0 &&
		    value_item(value).i <= UINT32_MAX)
			counts[i] = (uint32_t)value_item(value).i;
	adopt_expect(f->adopt, counts[0], counts[1], counts[2]);
	groups_take(f->groups, payload);
	claim_kick(f);
}

static int
frame_cb(void *arg, const struct frame *frame)
{
	struct flusher *f = arg;
	struct error err = { .message = "" };
	struct slice grace;
	uint64_t grace_us = 0;

	/* DISPATCH and completions carry values inside three levels. */
	if (value_check_frame(frame->payload, VALUE_DEPTH_MAX + 8, &err) < 0) {
		log_error("frame refused type=%s slot=%u reason=\"%s\"",
		          frame_type_name(frame->type), frame->slot,
		          err.message);
		if (frame->type != FRAME_COMPLETION &&
		    frame->type != FRAME_HELLO &&
		    frame->type != FRAME_HEARTBEAT)
			return -EPROTO;
		if (frame->type == FRAME_COMPLETION) {
			ack_received(&f->ack);
			(void)adopt_expects(f->adopt);
			flusher_turn_wanted(f);
		}
		worker_refused(f, frame);
		return 0;
	}
	switch (frame->type) {
	case FRAME_HELLO:
		if (dispatch_hello(f, frame) < 0)
			worker_refused(f, frame);
		adopt_met(f->adopt);
		claim_kick(f);
		return 0;
	case FRAME_COMPLETION:
		ack_received(&f->ack);
		if (dispatch_completion(f, frame) < 0)
			worker_refused(f, frame);
		/* The last of those that were kept may have come. */
		if (!adopt_settled(f->adopt) && adopt_open(f->adopt))
			claim_kick(f);
		flusher_turn_wanted(f);
		flusher_drain_step(f);
		return 0;
	case FRAME_KEPT:
		kept(f, frame->payload);
		return 0;
	case FRAME_TICK:
		f->ticked_us = clock_mono_us();
		frame_add(link_out(f->link), FRAME_TICK, 0, 0, 0,
		          SLICE_LITERAL("\xc0"));
		link_send(f->link);
		return 0;
	case FRAME_GONE:
		return dispatch_gone(f, frame);
	case FRAME_UNDELIVERABLE:
		if (dispatch_undeliverable(f, frame) < 0)
			return -EPROTO;
		flusher_drain_step(f);
		return 0;
	case FRAME_DRAIN:
		if (value_get(frame->payload, SLICE_LITERAL("grace_us"),
		              &grace) &&
		    value_type(grace) == VALUE_INT && value_item(grace).i > 0)
			grace_us = (uint64_t)value_item(grace).i;
		drain(f, clock_mono_us() + grace_us + LAST_FLUSH_US);
		return 0;
	case FRAME_HEARTBEAT:
		if (dispatch_heartbeat(f, frame) < 0)
			worker_refused(f, frame);
		return 0;
	case FRAME_CANCEL:
	case FRAME_RECALL:
	case FRAME_DISPATCH:
	case FRAME_KILL:
	case FRAME_STATUS:
	case FRAME_ACK:
	case FRAME_REQUEST:
	case FRAME_REPLY:
		break;
	}
	return -EPROTO;
}

static bool supervisor_gone;

static void
gone_cb(void *arg, int reason, const struct error *err)
{
	struct flusher *f = arg;

	if (f->phase != FLUSHER_LEAVING)
		log_warning("the supervisor is gone, flushing and ending "
		            "reason=\"%s\"",
		            err != NULL ? err->message : strerror(-reason));
	link_destroy(&f->link);
	supervisor_gone = true;
	drain(f, clock_mono_us() + ORPHAN_FLUSH_US);
}

/* The workers died with the supervisor. What they had started may live. */
static void
strays_end(void)
{
	const char *life = getenv("RAPPEL_SWEEP");
	uint32_t count;

	if (!supervisor_gone || life == NULL || life[0] == '\0')
		return;
	count = strays_kill(life, false);
	if (count > 0)
		log_info("processes that workers left behind are ended "
		         "count=%u",
		         count);
}

static const struct link_ops link_ops = { .frame_cb = frame_cb,
	                                  .gone_cb = gone_cb };

static void
hello_send(struct flusher *f)
{
	struct buf *out = link_out(f->link);
	size_t begun = frame_begin(out, FRAME_HELLO, 0, 0);

	value_pack_map(out, 2);
	value_pack_text(out, "protocol");
	value_pack_uint(out, PROTOCOL_VERSION);
	value_pack_text(out, "pid");
	value_pack_uint(out, (uint64_t)getpid());
	frame_end(out, begun, 0);
	link_send(f->link);
}

/* ---- open, connect, start, loop, stop ---- */

/* The socket to the supervisor, or -1; *boards_out: the one for scoreboards,
 * or -1. */
static int
parse_options(int argc, char **argv, struct config_flags *flags,
              int *boards_out)
{
	static const struct option options[] = {
		{ "fd", required_argument, NULL, 'f' },
		{ "boards", required_argument, NULL, 'b' },
		{ "dir", required_argument, NULL, 'd' },
		{ "config", required_argument, NULL, 'c' },
		{ "log-level", required_argument, NULL, 'l' },
		{ "dev", no_argument, NULL, 'D' },
		{ NULL, 0, NULL, 0 },
	};
	int fd = -1;
	int option;

	*boards_out = -1;
	while ((option = getopt_long(argc, argv, "c:", options, NULL)) != -1) {
		switch (option) {
		case 'f':
			fd = atoi(optarg);
			break;
		case 'b':
			*boards_out = atoi(optarg);
			break;
		case 'd':
			flags->dir = optarg;
			break;
		case 'c':
			flags->file = optarg;
			break;
		case 'l':
			flags->log_level = optarg;
			break;
		case 'D':
			break;
		default:
			return -1;
		}
	}
	return fd;
}

int
main(int argc, char **argv)
{
	struct config_flags flags = { .file = NULL };
	struct flusher *f = &flusher;
	struct error err = { .message = "" };
	struct timeval second = { .tv_sec = 1 };
	int boards_fd;
	int fd = parse_options(argc, argv, &flags, &boards_fd);
	int confined;

	log_init("flusher", LOG_LEVEL_INFO);
	if (fd < 0) {
		fprintf(stderr, "rappel-flusher is started by rappeld\n");
		return EXIT_USAGE;
	}
	/* It holds the database's password: no core, no ptrace. */
	sandbox_no_dumps();
	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, SIG_IGN);
	signal(SIGTERM, SIG_IGN);
	if (config_load(&flags, &f->config, &err) < 0)
		flusher_exit(f, EXIT_CONFIG, err.message);
	log_init("flusher", f->config.log_level);
	if (f->config.database == NULL || f->config.database[0] == '\0')
		flusher_exit(f, EXIT_CONFIG,
		             "no database is configured: set "
		             "RAPPEL_DATABASE_URL, or \"url = CONNINFO\" in "
		             "section [database] of rappel.conf, or use "
		             "--database; for a private one: rappeld --dev");

	if (getenv("RAPPEL_TRACE_FILE") != NULL &&
	    trace_open(getenv("RAPPEL_TRACE_FILE")) < 0)
		log_warning("cannot write the trace file=%s",
		            getenv("RAPPEL_TRACE_FILE"));

	f->base = loop_create();
	if (f->base == NULL)
		flusher_exit(f, 1, "no event loop");
	uuid_random(&f->incarnation);
	f->is_blamed = mark_open(&f->mark, f->config.dir, &f->blamed);
	f->clock.offset_us = clock_wall_us() - (int64_t)clock_mono_us();
	f->phase = FLUSHER_STARTING;
	f->ticked_us = clock_mono_us();
	turn_event = event_new(f->base, -1, 0, turn_cb, f);
	second_event = event_new(f->base, -1, EV_PERSIST, second_cb, f);
	drain_event = event_new(f->base, -1, 0, drain_cb, f);
	ASSERT(turn_event != NULL && second_event != NULL &&
	       drain_event != NULL);
	event_add(second_event, &second);

	f->link = link_create(f->base, fd, PEER_SUPERVISOR, FRAME_BYTES_MAX,
	                      &link_ops, f);
	f->leases = leases_create();
	f->sessions = sessions_create(f);
	f->versions = versions_create();
	f->timers = timers_create(f, timer_due);
	f->boards = boards_create(f->base, boards_fd);
	f->groups = groups_create();
	f->dispatch = dispatch_create(f);
	f->adopt = adopt_create();
	f->progress = progress_create();
	f->commit = commit_create(f);
	f->claim = claim_create(f);
	hello_send(f);
	f->keeper = keeper_create(f);
	/* What it opens and starts from here on is a session to the database:
	 * nobody has said a word to it yet. */
	confined = sandbox_database(f->config.sandbox);
	if (confined < 0)
		log_warning("the flusher is not confined (sandbox): %s",
		            strerror(-confined));

	event_base_dispatch(f->base);
	strays_end();

	keeper_destroy(&f->keeper);
	claim_destroy(&f->claim);
	commit_destroy(&f->commit);
	sessions_destroy(&f->sessions);
	timers_destroy(&f->timers);
	leases_destroy(&f->leases);
	dispatch_destroy(&f->dispatch);
	groups_destroy(&f->groups);
	adopt_destroy(&f->adopt);
	progress_destroy(&f->progress);
	boards_destroy(&f->boards);
	versions_destroy(&f->versions);
	link_destroy(&f->link);
	event_free(turn_event);
	event_free(second_event);
	event_free(drain_event);
	event_base_free(f->base);
	buf_fini(&status_last);
	mark_close(&f->mark);
	config_fini(&f->config);
	trace_close();
	log_info("flusher ends");
	return 0;
}
