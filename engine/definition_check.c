/*
 * definition_check - the names of states, the transitions that name them, and
 * whether every state can be reached and every machine can end.
 *
 * All of it is linear in the size of the definition.
 */
#include "engine/definition_parser.h"
#include "engine/place.h"

#include <stdlib.h>
#include <string.h>

/* Mixes eight bytes at a time; names are short. */
static uint32_t
name_hash(struct slice s)
{
	uint64_t h = s.len * UINT64_C(0x9e3779b97f4a7c15);

	while (s.len > 0) {
		uint64_t word = 0;
		size_t n = s.len < 8 ? s.len : 8;

		memcpy(&word, s.data, n);
		h = (h ^ word) * UINT64_C(0xff51afd7ed558ccd);
		h ^= h >> 32;
		s.data += n;
		s.len -= n;
	}
	return (uint32_t)(h ^ h >> 29);
}

/* The place of that name, or the free one where it belongs. */
static struct name_place *
names_place(const struct parser *p, struct slice name, uint32_t hash)
{
	uint32_t mask = p->name_cap - 1;
	uint32_t at = hash & mask;

	for (; p->names[at].no != 0; at = (at + 1) & mask) {
		struct slice other;

		if (p->names[at].hash != hash)
			continue;
		other = p->d->states[p->names[at].no - 1]->name;
		if (other.len == name.len &&
		    (name.len == 0 ||
		     memcmp(other.data, name.data, name.len) == 0))
			break;
	}
	return &p->names[at];
}

static void
names_grow(struct parser *p)
{
	struct name_place *old = p->names;
	uint32_t old_cap = p->name_cap;

	p->name_cap = old_cap == 0 ? 64 : old_cap * 4;
	p->names = mem_calloc(p->name_cap, sizeof(*p->names));
	for (uint32_t n = 0; n < old_cap; n++) {
		uint32_t at = old[n].hash & (p->name_cap - 1);

		if (old[n].no == 0)
			continue;
		while (p->names[at].no != 0)
			at = (at + 1) & (p->name_cap - 1);
		p->names[at] = old[n];
	}
	free(old);
}

void
names_add(struct parser *p, struct state *s)
{
	uint32_t hash = name_hash(s->name);
	struct name_place *place;

	/* At most half full, with s, which is counted already. */
	if (p->d->state_count * 2 > p->name_cap)
		names_grow(p);
	place = names_place(p, s->name, hash);
	if (place->no == 0) {
		*place = (struct name_place){ hash, s->no + 1 };
		return;
	}
	parser_error(p, "", p->lines[s->no],
		     "the name is taken by the state of line %u; names are "
		     "unique in a whole definition",
		     p->lines[place->no - 1]);
}

void
target_add(struct parser *p, const char *field, uint32_t line,
	   struct slice name, uint32_t machine, uint32_t *to)
{
	if (p->target_count == p->target_cap) {
		p->target_cap = p->target_cap == 0 ? 64 : p->target_cap * 2;
		p->targets = mem_realloc(p->targets,
					 p->target_cap * sizeof(*p->targets));
	}
	*to = STATE_NONE;
	p->targets[p->target_count++] = (struct target){
		.from = p->state,
		.field = field,
		.name = name,
		.machine = machine,
		.line = line,
		.to = to,
	};
}

void
targets_resolve(struct parser *p)
{
	for (uint32_t n = 0; n < p->target_count; n++) {
		const struct target *t = &p->targets[n];
		/* A name in an error is cut; 80 bytes are enough. */
		int len = place_len(t->name, 80);
		uint32_t no =
		    p->name_cap == 0
			? 0
			: names_place(p, t->name, name_hash(t->name))->no;

		p->state = t->from;
		if (no == 0) {
			parser_error(p, t->field, t->line,
				     "there is no state \"%.*s\"", len,
				     (const char *)t->name.data);
			p->broken = true;
		} else if (p->d->states[no - 1]->machine != t->machine) {
			parser_error(p, t->field, t->line,
				     "the state \"%.*s\" is in other States: "
				     "no transition leads into or out of a "
				     "Map or Parallel",
				     len, (const char *)t->name.data);
			p->broken = true;
		} else {
			*t->to = no - 1;
		}
	}
	p->state = NULL;
}

/* States that were reached and not looked at yet. */
struct frontier {
	uint8_t *reached;
	uint32_t *list;
	uint32_t count;
};

static void
reach(struct frontier *f, uint32_t no)
{
	if (no == STATE_NONE || f->reached[no])
		return;
	f->reached[no] = 1;
	f->list[f->count++] = no;
}

static void
reach_from(struct frontier *f, const struct state *s)
{
	reach(f, s->next);
	for (uint32_t n = 0; n < s->catcher_count; n++)
		reach(f, s->catchers[n].next);
	if (s->type != STATE_CHOICE)
		return;
	for (uint32_t n = 0; n < s->choice.count; n++)
		reach(f, s->choice.rules[n].next);
}

void
machines_check(struct parser *p)
{
	const struct definition *d = p->d;
	struct frontier f = {
		.reached = mem_calloc(d->state_count + 1, 1),
		.list = mem_calloc(d->state_count + 1, sizeof(*f.list)),
	};
	bool *ends = mem_calloc(p->machine_count + 1, sizeof(*ends));

	/* A nested machine counts as reached even if its owner is not: that
	 * one is reported, and one error is enough. */
	for (uint32_t n = 0; n < p->machine_count; n++)
		reach(&f, *p->machines[n].start);
	while (f.count > 0) {
		const struct state *s = d->states[f.list[--f.count]];

		if (s->next == STATE_NONE && s->type != STATE_CHOICE)
			ends[s->machine] = true;
		reach_from(&f, s);
	}
	for (uint32_t n = 0; n < d->state_count; n++) {
		const struct state *s = d->states[n];

		/* What has the name of another is never led to, and was
		 * reported for that. */
		if (f.reached[n] ||
		    names_place(p, s->name, name_hash(s->name))->no != n + 1)
			continue;
		p->state = s;
		parser_error(p, "", p->lines[n],
			     "no transition leads here from StartAt");
	}
	for (uint32_t n = 0; n < p->machine_count; n++) {
		if (ends[n])
			continue;
		p->state = p->machines[n].owner;
		parser_error(p, "States", p->machines[n].line,
			     "nothing ends: no Succeed, Fail or state with "
			     "End can be reached from StartAt");
	}
	p->state = NULL;
	free(ends);
	free(f.list);
	free(f.reached);
}
