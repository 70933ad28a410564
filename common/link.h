/*
 * link - one end of a frame connection on an event loop.
 *
 * Owns the descriptor. Never blocks: what cannot be written yet is kept, up
 * to what the caller watches with link_unsent(). Frames appended during a
 * turn go out together at its end, in one writev. Frames are delivered one
 * by one, in order, with their payload unchecked.
 */
#ifndef COMMON_LINK_H
#define COMMON_LINK_H

#include <event2/event.h>

#include "common/frame.h"

struct link;

struct link_ops {
	/* The frame is borrowed for the call. A negative return closes the
	 * link, reported through gone_cb. May call link_destroy(). */
	int (*frame_cb)(void *arg, const struct frame *f);
	/* Once: end of file (0), -errno of the socket, or -EPROTO with what
	 * was wrong. All frames read before were delivered. The callee calls
	 * link_destroy(). */
	void (*gone_cb)(void *arg, int reason, const struct error *err);
	/* Optional: after a turn in which frames were delivered. */
	void (*turn_cb)(void *arg);
};

/* fd becomes non-blocking. sender says what frames the other end may send. */
struct link *link_create(struct event_base *base, int fd, enum peer sender,
                         uint32_t bytes_max, const struct link_ops *ops,
                         void *arg);
/* Closes; may be called inside a callback. Sets *l to NULL; NULL is fine. */
void link_destroy(struct link **l);
/* Append whole frames here; they are sent at the end of the turn. */
struct buf *link_out(struct link *l);
/* Must be called after appending to link_out(). Sends at the turn's end. */
void link_send(struct link *l);
/* Tries to write what is unsent now, without waiting for the loop. */
void link_flush(struct link *l);
size_t link_unsent(const struct link *l);
/* Stops and resumes reading: back-pressure. */
void link_pause(struct link *l);
void link_resume(struct link *l);
/* When the first byte arrived of a frame that is not whole yet (mono); 0: there
 * is none, or it is we who do not read. */
uint64_t link_partial_since_us(const struct link *l);
int link_fd(const struct link *l);

#endif
