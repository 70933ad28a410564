/*
 * groups - the pool's groups of workers: what each may serve, what it serves,
 * and whether anything that is registered wants that.
 *
 * Runs in the flusher. Which slots are whose and the patterns of their actions
 * the supervisor says in KEPT, before any worker's HELLO; without that every
 * worker serves what it announces. A group of which no current workflow
 * version names an action is *unused*: a mistake in a name, mostly. The
 * keeper's session looks that up, by pages, at most every GROUPS_LOOK_US, only
 * while some group is not known to be used, and reads definitions only when
 * other ones are registered than at the last look.
 */
#ifndef FLUSHER_GROUPS_H
#define FLUSHER_GROUPS_H

#include <stdbool.h>
#include <stdint.h>

#include <libpq-fe.h>

#include "common/buf.h"

#define GROUPS_LOOK_US UINT64_C(30000000)

struct db_call;
struct flusher;
struct groups;
struct params;

struct groups *groups_create(void);
void groups_destroy(struct groups **g);

/* KEPT's payload. */
void groups_take(struct groups *g, struct slice kept);
/* Whether a worker in that slot may serve that action. */
bool groups_allow(const struct groups *g, uint16_t slot, struct slice action);

/* So many of what that worker announced may not be served. */
void groups_shut_out(struct groups *g, uint16_t slot, uint32_t count);

/* Before each STATUS: which actions each serves by now. */
void groups_refresh(struct flusher *f);
/* Packs an array of maps: name, actions, left_out,
 * shut_out, patterns, unused. */
void groups_pack(const struct groups *g, struct buf *out);

/* It is time to look. */
bool groups_due(const struct groups *g, uint64_t now_us);
/* Adds the next statement of a look to the call; its rows come to the other
 * one, or NULL when it failed. */
void groups_ask(struct groups *g, struct params *p, struct db_call *call,
                uint64_t now_us);
void groups_told(struct groups *g, const PGresult *rows);

#endif
