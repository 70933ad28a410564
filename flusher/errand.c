/*
 * errand - see errand.h.
 */
#include "flusher/errand.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/utf8.h"

void
errand_add(struct errands *list, const struct uuid *ids, uint32_t count,
           const char *status, int64_t due_us, const char *reason)
{
	struct errand *e = mem_zalloc(sizeof(*e));

	e->ids = mem_calloc(count, sizeof(*ids));
	memcpy(e->ids, ids, count * sizeof(*ids));
	e->count = count;
	e->status = status;
	e->due_us = due_us;
	/* Made with snprintf(): it may have been cut within a character. */
	e->reason = mem_strndup(reason, utf8_cut(reason, strlen(reason)));
	TAILQ_INSERT_TAIL(list, e, entry);
}

void
errand_free(struct errands *list, struct errand *e)
{
	TAILQ_REMOVE(list, e, entry);
	free(e->ids);
	free(e->reason);
	free(e);
}

struct errand *
errand_due(const struct errands *list, uint64_t now_us)
{
	struct errand *e;

	TAILQ_FOREACH (e, list, entry)
		if (e->not_before_us <= now_us)
			return e;
	return NULL;
}

struct errand *
errand_pending(const struct errands *list, const struct uuid *id)
{
	struct errand *e;

	TAILQ_FOREACH (e, list, entry)
		if (e->status != NULL && uuid_equal(&e->ids[0], id))
			return e;
	return NULL;
}
