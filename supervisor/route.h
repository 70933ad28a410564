/*
 * route - frames between workers and flusher, by header alone.
 *
 * Runs in the supervisor. What a peer claims about itself is checked against
 * the child that the socket belongs to; payloads pass as bytes.
 *
 * A completion is kept (keep.h) until the flusher acknowledges it, and a new
 * flusher gets what is kept before it hears of any worker.
 *
 * Back-pressure: while more than ROUTE_FLUSHER_MAX bytes wait for the flusher,
 * or more than KEEP_BYTES_MAX for its ACK, no worker is read; while more than ROUTE_WORKERS_MAX wait for the workers
 * together the flusher is not read. It is the sum that counts: one worker
 * that is busy for an hour and does not read must not keep the flusher's
 * other frames, KILL among them, from being read. When the sum does not
 * shrink for ROUTE_STUCK_US, the worker with most bytes waiting is killed.
 */
#ifndef SUPERVISOR_ROUTE_H
#define SUPERVISOR_ROUTE_H

#include <stddef.h>
#include <stdint.h>

#define ROUTE_FLUSHER_MAX ((size_t)16 << 20)
#define ROUTE_WORKERS_MAX ((size_t)64 << 20)
#define ROUTE_STUCK_US UINT64_C(10000000)
/* Answers that nobody asked for, in a worker's life. Some may be said twice;
 * a flood of them would starve the others' answers. */
#define ROUTE_EXCESS_MAX 16384U
/* From the first byte of a worker's frame to its last; looked at once a
 * second, so that it is over after 10 s. */
#define ROUTE_FRAME_US UINT64_C(9400000)
#define ROUTE_HELLO_MAX (64U << 10)
#define ROUTE_STATUS_MAX (24U << 10)
#define ROUTE_HEARTBEAT_MAX (64U << 10) /* one frame */
#define ROUTE_HEARTBEATS_MAX ((size_t)1 << 20) /* unsent, then they drop */

struct child;
struct link;
struct supervisor;

/* A link for a child's end of a socketpair; takes fd. */
struct link *route_link(struct child *c, int fd);

/* To the flusher: this worker ended like that, all it sent was passed on. */
void route_gone(struct child *worker, const char *reason);

/* To a worker or the flusher. grace_us counts for the flusher only. */
void route_drain(struct child *c, uint64_t grace_us);

/* Once a second: tells the flusher that we turn; it answers. */
void route_tick(struct supervisor *s);
/* Once a second: kills whose frame has begun and does not end. */
void route_frames_late(struct supervisor *s, uint64_t now_us);

/* To the flusher: this worker finishes what it holds and gets no more. */
void route_retire(struct child *worker);

/* Looks at what is unsent and pauses or resumes reading. */
void route_pressure(struct supervisor *s);

#endif
