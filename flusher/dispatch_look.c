/*
 * dispatch_look - what there is to see of dispatching: for status, and in SQL
 * for instances whose action no worker serves.
 */
#include "flusher/dispatch_parts.h"

#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/value.h"
#include "flusher/claim.h"
#include "flusher/flusher.h"
#include "flusher/lease.h"

#define EXPLAIN_AFTER_US (2 * CLOCK_SECOND_US)
/* A STATUS has 24 KiB at most: what does not fit is not shown. */
#define NAMES_BYTES_MAX (8U << 10)

uint32_t
dispatch_flights(const struct dispatch *d)
{
	return d->flights.count;
}

uint32_t
dispatch_queued(const struct dispatch *d)
{
	return d->routes.queued;
}

uint32_t
dispatch_slots_ready(const struct dispatch *d)
{
	uint32_t ready = 0;

	for (uint32_t i = 0; i < d->slots_used; i++)
		ready += d->slots[i].phase == SLOT_READY &&
		         !d->slots[i].retired;
	return ready;
}

void
dispatch_pack_actions(const struct dispatch *d, struct buf *out)
{
	const struct route *route;
	struct buf names = BUF_EMPTY;
	uint32_t count = 0;

	for (uint32_t i = 0; i < ROUTE_BUCKETS; i++) {
		SLIST_FOREACH (route, &d->routes.buckets[i], bucket_entry) {
			if (route->servers == 0 ||
			    names.len + route->name_len > NAMES_BYTES_MAX)
				continue;
			value_pack_str(&names, route->name, route->name_len);
			count++;
		}
	}
	value_pack_array(out, count);
	if (count > 0)
		value_pack_raw(out, buf_slice(&names));
	buf_fini(&names);
}

static bool
serves_the_same(const struct slot *a, const struct slot *b)
{
	return a->route_count == b->route_count &&
	       memcmp(a->routes, b->routes,
	              a->route_count * sizeof(struct route *)) == 0;
}

uint32_t
dispatch_each_action(const struct dispatch *d, uint32_t first, uint32_t slots,
                     void (*action_cb)(void *arg, const char *name, bool seen),
                     void *arg)
{
	const struct slot *before = NULL;
	uint32_t ready = 0;

	for (uint32_t i = first; i < first + slots && i < d->slots_used; i++) {
		const struct slot *slot = &d->slots[i];

		ready += slot->phase == SLOT_READY && !slot->retired;
		if (slot->route_count == 0)
			continue;
		/* They mostly run the same program. */
		if (before != NULL && serves_the_same(before, slot))
			continue;
		before = slot;
		for (uint32_t r = 0; r < slot->route_count; r++) {
			const struct route *route = slot->routes[r];

			action_cb(arg, route->name,
			          route->run_us >= 0 || route->count > 0);
		}
	}
	return ready;
}

void
dispatch_explain(struct flusher *f)
{
	struct dispatch *d = f->dispatch;
	struct route *route;
	uint64_t now = clock_mono_us();

	TAILQ_FOREACH (route, &d->routes.waiting, waiting_entry) {
		struct lease *leases[256];
		uint32_t count = 0;
		char reason[256];

		if (route->servers > 0 || route->unserved_us == 0 ||
		    now - route->unserved_us < EXPLAIN_AFTER_US)
			continue;
		for (uint32_t i = 0; i < route->count && count < 256; i++) {
			struct lease *lease = route_at(route, i)->lease;

			if (lease != NULL && !lease->reason_set) {
				lease->reason_set = true;
				leases[count++] = lease;
			}
		}
		if (count == 0)
			continue;
		snprintf(reason, sizeof(reason),
		         "no worker of pool %s serves action \"%s\"",
		         f->config.pool_name, route->name);
		claim_set_reason(f, leases, count, reason);
	}
}
