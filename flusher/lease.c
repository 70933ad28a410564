/*
 * lease - see lease.h. A chained hash table that doubles when it is full.
 */
#include "flusher/lease.h"

#include <stdlib.h>

#include "common/assert.h"
#include "common/mem.h"
#include "flusher/dispatch.h"
#include "flusher/flusher.h"
#include "flusher/rebuild.h"
#include "flusher/timers.h"

struct leases {
	struct lease **buckets;
	uint32_t mask;
	uint32_t count;
	struct lease_list all;
};

struct leases *
leases_create(void)
{
	struct leases *l = mem_zalloc(sizeof(*l));

	l->mask = 1023;
	l->buckets = mem_calloc(l->mask + 1, sizeof(struct lease *));
	TAILQ_INIT(&l->all);
	return l;
}

static void
lease_free(struct lease *lease)
{
	instance_destroy(&lease->engine);
	free(lease);
}

void
leases_destroy(struct leases **lp)
{
	struct leases *l = *lp;
	struct lease *lease;

	if (l == NULL)
		return;
	while ((lease = TAILQ_FIRST(&l->all)) != NULL) {
		TAILQ_REMOVE(&l->all, lease, entry);
		lease_free(lease);
	}
	free(l->buckets);
	free(l);
	*lp = NULL;
}

uint32_t
leases_count(const struct leases *l)
{
	return l->count;
}

struct lease_list *
leases_all(struct leases *l)
{
	return &l->all;
}

static struct lease **
bucket_of(const struct leases *l, const struct uuid *id)
{
	return &l->buckets[uuid_hash(id) & l->mask];
}

static void
leases_grow(struct leases *l)
{
	struct lease *lease;

	free(l->buckets);
	l->mask = l->mask * 2 + 1;
	l->buckets = mem_calloc(l->mask + (size_t)1, sizeof(struct lease *));
	TAILQ_FOREACH (lease, &l->all, entry) {
		struct lease **bucket = bucket_of(l, &lease->id);

		lease->hash_next = *bucket;
		*bucket = lease;
	}
}

struct lease *
lease_find(const struct leases *l, const struct uuid *id)
{
	struct lease *lease = *bucket_of(l, id);

	while (lease != NULL && !uuid_equal(&lease->id, id))
		lease = lease->hash_next;
	return lease;
}

struct lease *
lease_add(struct leases *l, const struct uuid *id)
{
	struct lease *lease = mem_zalloc(sizeof(*lease));
	struct lease **bucket;

	ASSERT(lease_find(l, id) == NULL);
	if (l->count > l->mask)
		leases_grow(l);
	lease->id = *id;
	LIST_INIT(&lease->flights);
	LIST_INIT(&lease->timers);
	TAILQ_INSERT_TAIL(&l->all, lease, entry);
	bucket = bucket_of(l, id);
	lease->hash_next = *bucket;
	*bucket = lease;
	l->count++;
	return lease;
}

void
lease_remove(struct flusher *f, struct lease *lease)
{
	struct leases *l = f->leases;
	struct lease **at = bucket_of(l, &lease->id);

	ASSERT(lease->batches == 0 && lease->row == NULL);
	rebuild_forget(f, lease);
	dispatch_forget(f, lease);
	timers_forget(f->timers, lease);
	while (*at != lease)
		at = &(*at)->hash_next;
	*at = lease->hash_next;
	TAILQ_REMOVE(&l->all, lease, entry);
	l->count--;
	lease_free(lease);
}
