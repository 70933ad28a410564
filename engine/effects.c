/*
 * effects - a list of effects that its owner uses again and again.
 */
#include "engine/instance.h"

#include <stdlib.h>

#include "engine/instance_parts.h"

void
effects_fini(struct effects *e)
{
	free(e->list);
	*e = (struct effects){ NULL, 0, 0 };
}

void
effects_clear(struct effects *e)
{
	e->count = 0;
}

void
effects_add(struct effects *e, enum effect_kind kind, uint32_t activation)
{
	effects_add_attempt(e, kind, activation, 0);
}

void
effects_add_attempt(struct effects *e, enum effect_kind kind,
		    uint32_t activation, uint32_t attempt)
{
	if (e->count == e->cap) {
		e->cap = e->cap == 0 ? 16 : e->cap * 2;
		e->list = mem_realloc(e->list, e->cap * sizeof(*e->list));
	}
	e->list[e->count++] = (struct effect){ kind, activation, attempt };
}
