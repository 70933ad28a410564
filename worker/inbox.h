/*
 * inbox - the frames that come, and the cancellations among them.
 *
 * Frames are handed out in order. While one is being worked on, its bytes
 * stay where they are; inbox_look() reads what comes meanwhile into a second
 * buffer, without blocking, and notes the tokens of CANCEL frames before
 * their turn. What it reads so is bounded: beyond INBOX_LATER_MAX it waits in
 * the socket, a CANCEL with it (which then costs the worker its life instead).
 */
#ifndef WORKER_INBOX_H
#define WORKER_INBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "common/assert.h"
#include "common/buf.h"
#include "common/error.h"
#include "common/frame.h"

#define INBOX_LATER_MAX ((size_t)32 << 20)
#define INBOX_TOKENS_MAX 1024U

struct inbox {
	int fd; /* the caller's */
	uint16_t slot;
	uint32_t spawn;
	struct buf now; /* what is handed out, from at on */
	size_t at;
	size_t looked;    /* up to where CANCEL was looked for in it */
	bool split;       /* now ends with a whole frame; more is in later */
	struct buf later; /* what came since */
	size_t later_looked;
	bool blind; /* what follows is no frame: found out in its turn */
	/* Named by a CANCEL whose turn has not come. */
	uint32_t token_count;
	uint64_t tokens[INBOX_TOKENS_MAX];
};

void inbox_init(struct inbox *in, int fd, uint16_t slot, uint32_t spawn);
void inbox_fini(struct inbox *in);

/* When inbox_next() has no more: reads once. 0; -EAGAIN when nothing is
 * there and wait is false; -ECONNRESET at the end; or another -errno. */
int inbox_read(struct inbox *in, bool wait) MUST_CHECK;

/* The next whole frame, good until the next call: 1; 0 when there is none;
 * -EPROTO with err when it is not one for us. */
int inbox_next(struct inbox *in, struct frame *out,
	       struct error *err) MUST_CHECK;

/* Reads what is there, and looks for CANCEL. 0, -ECONNRESET at the end. */
int inbox_look(struct inbox *in) MUST_CHECK;
/* False: it reads no more, and the socket stays readable. */
bool inbox_has_room(const struct inbox *in);
bool inbox_cancelled(const struct inbox *in, uint64_t token);

/* A CANCEL whose turn it is: everything that its tokens could name has been
 * run. -EPROTO with err when it is malformed. */
int inbox_forget(struct inbox *in, const struct frame *cancel,
		 struct error *err) MUST_CHECK;

#endif
