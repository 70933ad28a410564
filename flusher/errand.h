/*
 * errand - something to be written about instances when the claimer's session
 * has time: a release, a block, a reason.
 */
#ifndef FLUSHER_ERRAND_H
#define FLUSHER_ERRAND_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "common/uuid.h"

struct errand {
	TAILQ_ENTRY(errand) entry;
	struct uuid *ids;
	uint32_t count;
	char *reason;
	const char *status; /* the new one of ids[0]; NULL: only the reason */
	int64_t due_us; /* with "waiting": on PostgreSQL's clock; 0: none */
	uint64_t not_before_us; /* after a refusal; 0: at once */
};

TAILQ_HEAD(errands, errand);

/* Copies ids and reason; borrows status. */
void errand_add(struct errands *list, const struct uuid *ids, uint32_t count,
                const char *status, int64_t due_us, const char *reason);
void errand_free(struct errands *list, struct errand *e);
/* The first that may be tried now, or NULL. */
struct errand *errand_due(const struct errands *list, uint64_t now_us);
/* The one that is to change the status of that instance, or NULL. */
struct errand *errand_pending(const struct errands *list,
                              const struct uuid *id);

#endif
