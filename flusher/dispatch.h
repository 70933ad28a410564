/*
 * dispatch - which worker runs what: ready actions, slots, flights.
 *
 * Runs in the flusher. A *route* is an action name with what is ready for it;
 * a *slot* mirrors a place in the supervisor's child table; a *flight* is one
 * dispatched attempt. A worker begins what it holds in order; what of that
 * runs, its scoreboard or the order tells: its time counts from then on, and
 * it is to blame when the worker dies.
 *
 * Quick actions (by the mean of their past) are sent ahead, up to a window;
 * anything else only to a worker that can begin it at once, so that nobody
 * waits behind it.
 */
#ifndef FLUSHER_DISPATCH_H
#define FLUSHER_DISPATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/frame.h"

struct dispatch;
struct event;
struct flight;
struct flusher;
struct lease;

struct dispatch *dispatch_create(struct flusher *f);
void dispatch_destroy(struct dispatch **d);

/* An attempt may run now: asks the engine what it is and queues it. */
void dispatch_ready(struct flusher *f, struct lease *lease,
                    uint32_t activation, uint32_t attempt);
/* That activation is not wanted any more: a worker that still runs it after
 * a second is killed. */
void dispatch_abandon(struct flusher *f, struct lease *lease,
                      uint32_t activation);
/* Somebody else has answered for it: a worker that still runs it may go on
 * for a minute, before that is unwanted. */
void dispatch_let_go(struct flusher *f, struct lease *lease,
                     uint32_t activation);
/* Whoever has the task token of that attempt says that it lives. */
void dispatch_beat(struct flusher *f, struct lease *lease,
                   const struct event *event);
/* A worker has that activation. */
bool dispatch_runs(const struct lease *lease, uint32_t activation);
/* What is ready of that lease and not dispatched is not, after all. */
void dispatch_unqueue(struct flusher *f, struct lease *lease);
/* Everything of that lease. */
void dispatch_forget(struct flusher *f, struct lease *lease);

/* In whose hands it is. */
uint16_t dispatch_slot_of(const struct flight *flight);
/* An adopted flight (adopt.h) is that attempt's. False when it was cancelled
 * already: its answer counts for nothing. */
bool dispatch_take_on(struct flusher *f, struct flight *flight,
                      struct lease *lease, uint32_t activation,
                      uint32_t attempt);
/* Flights that were adopted and that nobody asked for are abandoned. */
void dispatch_unwanted(struct flusher *f);

/* Frames of the supervisor. -EPROTO: the payload is no such thing. */
int dispatch_hello(struct flusher *f, const struct frame *frame);
int dispatch_completion(struct flusher *f, const struct frame *frame);
int dispatch_heartbeat(struct flusher *f, const struct frame *frame);
int dispatch_gone(struct flusher *f, const struct frame *frame);
int dispatch_undeliverable(struct flusher *f, const struct frame *frame);

/* Sends what is ready to whoever has room. At the end of a turn. */
void dispatch_run(struct flusher *f);

uint32_t dispatch_flights(const struct dispatch *d);
uint32_t dispatch_queued(const struct dispatch *d);
/* Packs an array of the action names that some worker serves. */
void dispatch_pack_actions(const struct dispatch *d, struct buf *out);
/* Calls action_cb for each action that one of those slots serves, at least
 * once; seen: some attempt of it came here already. How many of them have a
 * worker. */
uint32_t dispatch_each_action(const struct dispatch *d, uint32_t first,
                              uint32_t slots,
                              void (*action_cb)(void *arg, const char *name,
                                                bool seen),
                              void *arg);
uint32_t dispatch_slots_ready(const struct dispatch *d);
/* Once a second: shows in SQL which instances wait for an action that no
 * worker serves. */
void dispatch_explain(struct flusher *f);

#endif
