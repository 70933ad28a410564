/*
 * route - what is ready for one action name.
 *
 * Runs in the flusher, used by dispatch.c alone. A route lives as long as the
 * process: action names are few. Ready attempts go out in the order in which
 * they came, those of a lost worker first.
 */
#ifndef FLUSHER_ROUTE_H
#define FLUSHER_ROUTE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/buf.h"

struct lease;

#define ROUTE_BUCKETS 256U
#define ROUTE_QUICK_US 1000U /* mean run time of what is sent ahead */

struct ready {
	struct lease *lease; /* NULL: forgotten */
	uint32_t activation;
	uint32_t attempt;
	/* Workers that died or lied with it in front, without it being known
	 * to have run. */
	uint8_t losses;
};

struct route {
	SLIST_ENTRY(route) bucket_entry;
	TAILQ_ENTRY(route) waiting_entry; /* while something is ready */
	char *name;
	size_t name_len;
	struct ready *ring; /* cap is a power of two */
	uint32_t head;
	uint32_t count;
	uint32_t cap;
	uint32_t servers;     /* slots that serve it now */
	uint64_t unserved_us; /* since when something waits unserved; or 0 */
	double run_us;        /* moving mean; < 0: none seen yet */
	bool waiting;
};

struct routes {
	SLIST_HEAD(, route) buckets[ROUTE_BUCKETS];
	TAILQ_HEAD(, route) waiting;
	uint32_t queued; /* ready, of all */
};

void routes_init(struct routes *r);
void routes_fini(struct routes *r);

/* Made when it is not there. */
struct route *route_find(struct routes *r, struct slice name);
/* So short on average that a worker may hold many. */
bool route_quick(const struct route *route);
/* An attempt took that long. */
void route_ran(struct route *route, uint64_t run_us);

void route_push(struct routes *r, struct route *route,
                const struct ready *ready);
void route_push_front(struct routes *r, struct route *route,
                      const struct ready *ready);
/* The route must have one. */
struct ready route_pop(struct routes *r, struct route *route);
/* The index-th from the front. */
struct ready *route_at(const struct route *route, uint32_t index);

#endif
