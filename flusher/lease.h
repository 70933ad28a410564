/*
 * lease - the instances this pool holds, found by id.
 *
 * A lease is made when a claim brought the instance and ends when its end is
 * committed or it is given back. What is in flight for it (dispatched
 * actions, timers, its row in the batch that fills) hangs on it.
 */
#ifndef FLUSHER_LEASE_H
#define FLUSHER_LEASE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/uuid.h"
#include "engine/instance.h"

struct batch_row;
struct flight;
struct flusher;
struct rebuild;
struct timer;

struct lease {
	TAILQ_ENTRY(lease) entry; /* of all */
	struct lease *hash_next;
	struct uuid id;
	struct instance *engine; /* NULL while its journal is being read */
	uint32_t seq;            /* of the last entry given out */
	struct batch_row *row;   /* in the batch that fills, or NULL */
	struct rebuild *rebuild; /* while the server refuses what it did */
	uint32_t batches;        /* rows in any batch, and the end of it */
	uint32_t queued;         /* actions ready and not dispatched */
	LIST_HEAD(lease_flights, flight) flights;
	LIST_HEAD(lease_timers, timer) timers;
	bool ended;              /* its end is in a batch */
	bool reason_set;         /* the row shows why it waits */
};

TAILQ_HEAD(lease_list, lease);

struct leases;

struct leases *leases_create(void);
/* Releases every lease without a word to anybody. */
void leases_destroy(struct leases **l);
uint32_t leases_count(const struct leases *l);
struct lease_list *leases_all(struct leases *l);

/* The id must not be there yet. Owned by the table. */
struct lease *lease_add(struct leases *l, const struct uuid *id);
struct lease *lease_find(const struct leases *l, const struct uuid *id);
/* Forgets it with its flights and timers; it must be in no batch. */
void lease_remove(struct flusher *f, struct lease *lease);

#endif
