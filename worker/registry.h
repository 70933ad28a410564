/*
 * registry - the actions that this process serves, by name.
 *
 * Filled at start, then only read. Does not own the actions.
 */
#ifndef WORKER_REGISTRY_H
#define WORKER_REGISTRY_H

#include <stdint.h>

#include "common/buf.h"
#include "worker/actions.h"

struct registry {
	const struct action **list; /* in the order in which they came */
	uint32_t count;
	uint32_t cap;
	uint32_t *table; /* by hash: place in list + 1, 0 for none */
	uint32_t mask;
};

#define REGISTRY_EMPTY                                                         \
	{                                                                      \
		NULL, 0, 0, NULL, 0                                            \
	}

void registry_fini(struct registry *r);

/* NULL; or the one that already has its name, and nothing is added. */
const struct action *registry_add(struct registry *r, const struct action *a);
void registry_add_builtin(struct registry *r);

/* NULL when there is none of that name. */
const struct action *registry_find(const struct registry *r, struct slice name);

#endif
