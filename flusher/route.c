/*
 * route - see route.h.
 */
#include "flusher/route.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/mem.h"
#include "flusher/lease.h"

#define RING_FIRST 64U

void
routes_init(struct routes *r)
{
	for (uint32_t i = 0; i < ROUTE_BUCKETS; i++)
		SLIST_INIT(&r->buckets[i]);
	TAILQ_INIT(&r->waiting);
	r->queued = 0;
}

void
routes_fini(struct routes *r)
{
	struct route *route;

	for (uint32_t i = 0; i < ROUTE_BUCKETS; i++)
		while ((route = SLIST_FIRST(&r->buckets[i])) != NULL) {
			SLIST_REMOVE_HEAD(&r->buckets[i], bucket_entry);
			free(route->ring);
			free(route->name);
			free(route);
		}
}

struct route *
route_find(struct routes *r, struct slice name)
{
	uint32_t hash = 2166136261U; /* FNV-1a */
	struct route *route;

	for (size_t i = 0; i < name.len; i++)
		hash = (hash ^ name.data[i]) * 16777619U;
	hash %= ROUTE_BUCKETS;
	SLIST_FOREACH (route, &r->buckets[hash], bucket_entry)
		if (route->name_len == name.len &&
		    memcmp(route->name, name.data, name.len) == 0)
			return route;
	route = mem_zalloc(sizeof(*route));
	route->name = mem_strndup(name.data, name.len);
	route->name_len = name.len;
	route->run_us = -1;
	SLIST_INSERT_HEAD(&r->buckets[hash], route, bucket_entry);
	return route;
}

bool
route_quick(const struct route *route)
{
	return route->run_us >= 0 && route->run_us < ROUTE_QUICK_US;
}

void
route_ran(struct route *route, uint64_t run_us)
{
	route->run_us = route->run_us < 0 ?
	    (double)run_us :
	    route->run_us * 0.9 + (double)run_us * 0.1;
}

struct ready *
route_at(const struct route *route, uint32_t index)
{
	return &route->ring[(route->head + index) & (route->cap - 1)];
}

static void
reserve(struct route *route)
{
	struct ready *ring;
	uint32_t cap = route->cap ? route->cap * 2 : RING_FIRST;

	if (route->count < route->cap)
		return;
	ring = mem_calloc(cap, sizeof(*ring));
	for (uint32_t i = 0; i < route->count; i++)
		ring[i] = *route_at(route, i);
	free(route->ring);
	route->ring = ring;
	route->head = 0;
	route->cap = cap;
}

static void
added(struct routes *r, struct route *route, const struct ready *ready)
{
	ready->lease->queued++;
	route->count++;
	r->queued++;
	if (!route->waiting) {
		TAILQ_INSERT_TAIL(&r->waiting, route, waiting_entry);
		route->waiting = true;
	}
}

void
route_push(struct routes *r, struct route *route, const struct ready *ready)
{
	reserve(route);
	*route_at(route, route->count) = *ready;
	added(r, route, ready);
}

void
route_push_front(struct routes *r, struct route *route,
                 const struct ready *ready)
{
	reserve(route);
	route->head = (route->head - 1) & (route->cap - 1);
	route->ring[route->head] = *ready;
	added(r, route, ready);
}

struct ready
route_pop(struct routes *r, struct route *route)
{
	struct ready ready = *route_at(route, 0);

	ASSERT(route->count > 0);
	route->head = (route->head + 1) & (route->cap - 1);
	route->count--;
	r->queued--;
	if (ready.lease != NULL)
		ready.lease->queued--;
	if (route->count == 0) {
		TAILQ_REMOVE(&r->waiting, route, waiting_entry);
		route->waiting = false;
		route->unserved_us = 0;
	}
	return ready;
}
