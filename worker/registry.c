/*
 * registry - a list, and a hash table of places in it.
 */
#include "worker/registry.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/mem.h"

#define CAP_FIRST 16U

void
registry_fini(struct registry *r)
{
	free(r->list);
	free(r->table);
	*r = (struct registry)REGISTRY_EMPTY;
}

/* FNV-1a: names are short. */
static uint32_t
hash(struct slice name)
{
	uint32_t h = 2166136261U;

	for (size_t i = 0; i < name.len; i++)
		h = (h ^ name.data[i]) * 16777619U;
	return h;
}

/* Where the name is in the table, or would be. */
static uint32_t *
entry_of(const struct registry *r, struct slice name)
{
	uint32_t at = hash(name) & r->mask;

	while (r->table[at] != 0 &&
	       !slice_is(name, r->list[r->table[at] - 1]->name))
		at = (at + 1) & r->mask;
	return &r->table[at];
}

static void
grow(struct registry *r)
{
	r->cap = r->cap == 0 ? CAP_FIRST : r->cap * 2;
	r->list = mem_realloc(r->list, r->cap * sizeof(*r->list));
	free(r->table);
	r->mask = r->cap * 4 - 1; /* a quarter full at most: short ways */
	r->table = mem_calloc(r->mask + 1, sizeof(*r->table));
	for (uint32_t i = 0; i < r->count; i++)
		*entry_of(r, slice_of(r->list[i]->name)) = i + 1;
}

const struct action *
registry_find(const struct registry *r, struct slice name)
{
	uint32_t found;

	if (r->count == 0)
		return NULL;
	found = *entry_of(r, name);
	return found > 0 ? r->list[found - 1] : NULL;
}

const struct action *
registry_add(struct registry *r, const struct action *a)
{
	const struct action *other = registry_find(r, slice_of(a->name));

	if (other != NULL)
		return other;
	if (r->count == r->cap)
		grow(r);
	r->list[r->count] = a;
	*entry_of(r, slice_of(a->name)) = ++r->count;
	return NULL;
}

void
registry_add_builtin(struct registry *r)
{
	for (uint32_t i = 0; i < ACTIONS_COUNT; i++) {
		const struct action *other = registry_add(r, &actions[i]);

		ASSERT(other == NULL);
	}
}
