/*
 * wire - common/link.h: the socket between a flusher and its supervisor. It is
 * reliable and keeps its order; only its delay is chance.
 */
#include "tests/simulation/supervisor_parts.h"

/* ---- to the flusher ---- */

static void
letter_arrives(void *arg, uint64_t life)
{
	struct letter *l = arg;
	struct supervisor *s = l->pool->supervisor;

	if (s->life != life || s->link == NULL)
		return;
	TAILQ_INSERT_TAIL(&s->link->inbox, l, entry);
	event_active(s->link->read_event, EV_READ, 1);
}

void
tell(struct supervisor *s, enum frame_type type, const struct worker *w,
     uint32_t count, struct slice payload)
{
	struct letter *l = keep_alloc(sizeof(*l));
	uint64_t at_us = world.now_us + delay_us(HOP_US);

	l->pool = s->pool;
	l->frame = (struct frame){ .type = type, .count = count };
	if (w != NULL) {
		l->frame.slot = w->slot;
		l->frame.spawn = w->spawn;
	}
	l->frame.payload = (struct slice){ keep_copy(payload.data,
		                                     payload.len),
		                           payload.len };
	if (at_us < s->hangs_until_us)
		at_us = s->hangs_until_us;
	if (at_us <= s->to_flusher_us)
		at_us = s->to_flusher_us + 1;
	s->to_flusher_us = at_us;
	world_at(at_us, letter_arrives, l, s->life);
}

static void
read_cb(evutil_socket_t fd, short what, void *arg)
{
	struct link *link = arg;
	struct letter *l = TAILQ_FIRST(&link->inbox);
	int rc;

	(void)fd;
	(void)what;
	if (l == NULL)
		return;
	TAILQ_REMOVE(&link->inbox, l, entry);
	if (!TAILQ_EMPTY(&link->inbox))
		event_active(link->read_event, EV_READ, 1);
	rc = link->ops->frame_cb(link->arg, &l->frame);
	if (rc < 0)
		violated("a flusher refuses a %s frame: %d",
		         frame_type_name(l->frame.type), rc);
}

static void
frame_arrives(void *arg, uint64_t number)
{
	struct letter *l = arg;

	/* What a flusher wrote before it died is read, too; not what was
	 * sent to a daemon that is gone. */
	if (!l->pool->retired && number == l->pool->supervisor->daemons)
		frame_from_flusher(l->pool->supervisor, &l->frame);
}

static void
frames_out(struct link *link)
{
	struct pool *pool = process_pool(link->process);
	struct supervisor *s = pool->supervisor;
	struct error err = { .message = "" };
	size_t at = 0;

	process_acts(link->process);
	if (process_dead(link->process))
		link->out.len = 0;
	while (at < link->out.len) {
		struct letter *l = keep_alloc(sizeof(*l));
		struct slice bytes = { link->out.data + at,
			               link->out.len - at };
		ssize_t size = frame_decode(bytes, FRAME_BYTES_MAX,
		                            PEER_FLUSHER, &l->frame, &err);
		uint64_t at_us = world.now_us + delay_us(HOP_US);

		if (size <= 0)
			violated("a flusher writes what is no frame: %s",
			         err.message);
		at += (size_t)size;
		if (l->frame.type == FRAME_DISPATCH)
			check_dispatch(link->process, l->frame.payload);
		if (l->frame.type == FRAME_ACK)
			ack_check(link->process, s, l->frame.count);
		l->frame.payload.data = keep_copy(l->frame.payload.data,
		                                  l->frame.payload.len);
		l->pool = pool;
		if (at_us < s->hangs_until_us)
			at_us = s->hangs_until_us;
		if (at_us <= s->from_flusher_us)
			at_us = s->from_flusher_us + 1;
		s->from_flusher_us = at_us;
		world_at(at_us, frame_arrives, l, s->daemons);
	}
	link->out.len = 0;
}

/* ---- common/link.h ---- */

static void
send_cb(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	frames_out(arg);
}

struct link *
link_create(struct event_base *base, int fd, enum peer sender,
            uint32_t bytes_max, const struct link_ops *ops, void *arg)
{
	struct link *link = mem_zalloc(sizeof(*link));

	(void)fd;
	(void)sender;
	(void)bytes_max;
	link->ops = ops;
	link->arg = arg;
	link->process = process_current();
	link->send_event = event_new(base, -1, 0, send_cb, link);
	link->read_event = event_new(base, -1, 0, read_cb, link);
	TAILQ_INIT(&link->inbox);
	process_pool(link->process)->supervisor->link = link;
	return link;
}

void
link_destroy(struct link **lp)
{
	struct link *link = *lp;
	struct supervisor *s;

	if (link == NULL)
		return;
	s = process_pool(link->process)->supervisor;
	if (s->link == link)
		s->link = NULL;
	event_free(link->send_event);
	event_free(link->read_event);
	buf_fini(&link->out);
	free(link);
	*lp = NULL;
}

struct buf *
link_out(struct link *link)
{
	return &link->out;
}

void
link_send(struct link *link)
{
	event_active(link->send_event, EV_WRITE, 1);
}

void
link_flush(struct link *link)
{
	frames_out(link);
}

size_t
link_unsent(const struct link *link)
{
	(void)link;
	return 0;
}

void
link_pause(struct link *link)
{
	(void)link;
}

void
link_resume(struct link *link)
{
	(void)link;
}

int
link_fd(const struct link *link)
{
	(void)link;
	return -1;
}
