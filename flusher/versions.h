/*
 * versions - the definitions in use, parsed once, by the id of their row.
 */
#ifndef FLUSHER_VERSIONS_H
#define FLUSHER_VERSIONS_H

#include <stdint.h>

#include "common/buf.h"
#include "engine/definition.h"

struct version {
	int64_t id;
	char *workflow;                /* its name */
	struct definition *definition; /* NULL: problem says why */
	char *problem;
	uint64_t tried_us; /* when it was read; a failed one is read again */
};

struct versions;

struct versions *versions_create(void);
void versions_destroy(struct versions **v);
/* NULL when it was not read yet, or failed more than 5 s ago. */
const struct version *versions_find(const struct versions *v, int64_t id);
/* Parses what was read; text.data NULL: there is no such row. */
const struct version *versions_add(struct versions *v, int64_t id,
                                   struct slice workflow, struct slice text);

#endif
