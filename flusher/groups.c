/*
 * groups - see groups.h.
 */
#include "flusher/groups.h"

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/config_group.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/pattern.h"
#include "common/utf8.h"
#include "common/value.h"
#include "common/words.h"
#include "flusher/dispatch.h"
#include "flusher/flusher.h"
#include "flusher/params.h"
#include "flusher/sql.h"

/* A group that serves more is taken for a used one. */
#define ACTIONS_MAX 1024U
/* Of a STATUS, which has 24 KiB in all. */
#define STATUS_NAMES_BYTES 6144U
#define PATTERNS_BYTES 100U /* shown of a group's */

struct group {
	char *name;
	uint32_t first, slots;
	struct words patterns; /* none: everything */
	struct words served;   /* what its workers serve now */
	uint64_t served_mark;  /* tells one such list from another */
	uint32_t served_more;  /* beyond ACTIONS_MAX */
	uint32_t shut_out;     /* of what one announced the patterns refuse */
	bool ready;            /* some worker of it is there */
	bool used; /* known: something that is registered wants it */
	bool unused; /* known, and told */
};

enum look_phase {
	LOOK_NONE,
	LOOK_MARK, /* are other workflows registered than last time? */
	LOOK_PAGE, /* their definitions, some at a time */
};

struct groups {
	struct group *list;
	uint32_t count;
	enum look_phase phase;
	uint64_t looked_us; /* when the last look began; 0: look at once */
	char *mark;  /* of what was registered, when last all was read */
	char *fresh; /* of what is, while it is read */
	char *after; /* the workflow behind which the next page begins */
	bool changed; /* what is to be looked for is not what it was */
};

/* ---- what the supervisor says ---- */

static uint32_t
number_of(struct slice map, const char *key)
{
	struct slice v;

	if (!value_get(map, slice_of(key), &v) || value_type(v) != VALUE_INT ||
	    value_item(v).i < 0 || value_item(v).i > UINT16_MAX)
		return 0;
	return (uint32_t)value_item(v).i;
}

static void
group_take(struct groups *g, struct slice map)
{
	struct slice name, actions, one;
	struct group *group;

	if (value_type(map) != VALUE_MAP ||
	    !value_get(map, SLICE_LITERAL("name"), &name) ||
	    value_type(name) != VALUE_STR)
		return;
	g->list = mem_realloc(g->list, (g->count + 1) * sizeof(*g->list));
	group = &g->list[g->count++];
	*group = (struct group){ .patterns = WORDS_EMPTY };
	group->name = mem_strndup(value_item(name).bytes.data,
	                          value_item(name).bytes.len);
	group->first = number_of(map, "first");
	group->slots = number_of(map, "slots");
	if (!value_get(map, SLICE_LITERAL("actions"), &actions) ||
	    value_type(actions) != VALUE_ARRAY)
		return;
	for (uint32_t i = 0; value_at(actions, i, &one); i++) {
		if (value_type(one) == VALUE_STR)
			words_add(&group->patterns,
			          (const char *)value_item(one).bytes.data,
			          value_item(one).bytes.len);
	}
}

static void
groups_forget(struct groups *g)
{
	for (uint32_t i = 0; i < g->count; i++) {
		free(g->list[i].name);
		words_fini(&g->list[i].patterns);
		words_fini(&g->list[i].served);
	}
	free(g->list);
	g->list = NULL;
	g->count = 0;
}

void
groups_take(struct groups *g, struct slice kept)
{
	struct slice list, one;

	groups_forget(g);
	if (!value_get(kept, SLICE_LITERAL("groups"), &list) ||
	    value_type(list) != VALUE_ARRAY)
		return;
	for (uint32_t i = 0; i < CONFIG_GROUPS_MAX && value_at(list, i, &one);
	     i++)
		group_take(g, one);
}

static struct group *
group_of(const struct groups *g, uint16_t slot)
{
	for (uint32_t i = 0; i < g->count; i++) {
		if (slot >= g->list[i].first &&
		    slot - g->list[i].first < g->list[i].slots)
			return &g->list[i];
	}
	return NULL;
}

bool
groups_allow(const struct groups *g, uint16_t slot, struct slice action)
{
	const struct group *group = group_of(g, slot);

	if (group == NULL || group->patterns.count == 0)
		return true;
	for (uint32_t i = 0; i < group->patterns.count; i++) {
		if (pattern_match(slice_of(group->patterns.items[i]), action))
			return true;
	}
	return false;
}

void
groups_shut_out(struct groups *g, uint16_t slot, uint32_t count)
{
	struct group *group = group_of(g, slot);

	if (group != NULL)
		group->shut_out = count;
}

/* Its own section is why it serves nothing. */
static bool
group_shuts_all_out(const struct group *group)
{
	return group->served.count == 0 && group->shut_out > 0;
}

static void
patterns_text(const struct group *group, struct buf *out)
{
	for (uint32_t i = 0; i < group->patterns.count; i++)
		buf_printf(out, "%s%s", i > 0 ? " " : "",
		           group->patterns.items[i]);
	if (out->len > PATTERNS_BYTES) {
		out->len = utf8_cut((const char *)out->data, PATTERNS_BYTES);
		buf_add_text(out, "…");
	}
}

/* ---- what each serves ---- */

struct served {
	struct words names;
	uint64_t mark; /* FNV-1a of all names */
	uint32_t more;
	bool seen; /* something of it was wanted already */
};

static void
served_cb(void *arg, const char *name, bool seen)
{
	struct served *s = arg;

	s->seen |= seen;
	for (uint32_t i = 0; i < s->names.count; i++) {
		if (strcmp(s->names.items[i], name) == 0)
			return;
	}
	if (s->names.count == ACTIONS_MAX) {
		s->more++;
		return;
	}
	words_add(&s->names, name, strlen(name));
	for (; *name != '\0'; name++)
		s->mark = (s->mark ^ (uint8_t)*name) *
		    UINT64_C(1099511628211);
	s->mark = (s->mark ^ 0xff) * UINT64_C(1099511628211);
}

/* The built-in group is there whether somebody wants it or not. */
static bool
group_must_be_used(const struct group *group)
{
	return strcmp(group->name, GROUP_NATIVE) != 0;
}

static void
group_set_used(struct group *group)
{
	group->used = true;
	if (group->unused)
		log_info("group is used group=%s", group->name);
	group->unused = false;
}

static void
group_refresh(struct flusher *f, struct groups *g, struct group *group)
{
	struct served s = { .mark = UINT64_C(14695981039346656037) };

	group->ready = dispatch_each_action(f->dispatch, group->first,
	                                    group->slots, served_cb, &s) > 0;
	group->served_more = s.more;
	if (group->ready && s.mark != group->served_mark) {
		struct words before = group->served;

		group->served = s.names;
		s.names = before;
		/* The first time it need not wait for its turn. */
		if (group->served_mark == 0)
			g->looked_us = 0;
		group->served_mark = s.mark;
		group->used = false;
		g->changed = true;
	}
	if (s.seen || s.more > 0)
		group_set_used(group);
	words_fini(&s.names);
}

void
groups_refresh(struct flusher *f)
{
	struct groups *g = f->groups;

	for (uint32_t i = 0; i < g->count; i++)
		group_refresh(f, g, &g->list[i]);
}

void
groups_pack(const struct groups *g, struct buf *out)
{
	const size_t room = STATUS_NAMES_BYTES / (g->count > 0 ? g->count : 1);

	value_pack_array(out, g->count);
	for (uint32_t i = 0; i < g->count; i++) {
		const struct group *group = &g->list[i];
		struct buf text = BUF_EMPTY;
		uint32_t fit = 0;
		size_t bytes = 0;

		while (fit < group->served.count &&
		       bytes + strlen(group->served.items[fit]) + 3 <= room)
			bytes += strlen(group->served.items[fit++]) + 3;
		value_pack_map(out, 6);
		value_pack_text(out, "name");
		value_pack_text(out, group->name);
		value_pack_text(out, "actions");
		value_pack_array(out, fit);
		for (uint32_t n = 0; n < fit; n++)
			value_pack_text(out, group->served.items[n]);
		value_pack_text(out, "left_out");
		value_pack_uint(out, group->served.count - fit +
		                         group->served_more);
		value_pack_text(out, "shut_out");
		value_pack_uint(out, group->shut_out);
		value_pack_text(out, "patterns");
		if (group_shuts_all_out(group)) {
			patterns_text(group, &text);
			value_pack_str(out, text.data, text.len);
			buf_fini(&text);
		} else {
			value_pack_null(out);
		}
		value_pack_text(out, "unused");
		value_pack_bool(out, group->unused);
	}
}

/* ---- whether anybody wants it ---- */

static bool
group_is_open(const struct group *group)
{
	return group_must_be_used(group) && group->ready && !group->used;
}

bool
groups_due(const struct groups *g, uint64_t now_us)
{
	if (g->phase != LOOK_NONE)
		return true;
	if (g->looked_us != 0 && now_us - g->looked_us < GROUPS_LOOK_US)
		return false;
	for (uint32_t i = 0; i < g->count; i++) {
		if (group_is_open(&g->list[i]))
			return true;
	}
	return false;
}

void
groups_ask(struct groups *g, struct params *p, struct db_call *call,
           uint64_t now_us)
{
	params_clear(p);
	if (g->phase == LOOK_NONE) {
		g->looked_us = now_us;
		g->phase = LOOK_MARK;
		params_send(p, call, &sql_workflows_mark);
		return;
	}
	params_array_begin(p, PG_TEXT);
	for (uint32_t i = 0; i < g->count; i++) {
		const struct group *group = &g->list[i];

		for (uint32_t n = 0;
		     group_is_open(group) && n < group->served.count; n++)
			params_add_bytes(p, slice_of(group->served.items[n]));
	}
	params_array_end(p);
	params_text(p, slice_of(g->after));
	params_send(p, call, &sql_workflows_name);
}

/* The look is over; all: everything was read. */
static void
look_end(struct groups *g, bool all)
{
	g->phase = LOOK_NONE;
	free(g->after);
	g->after = NULL;
	if (!all)
		return;
	free(g->mark);
	g->mark = g->fresh;
	g->fresh = NULL;
	/* What came to serve something else meanwhile is looked for anew. */
	for (uint32_t i = 0; i < g->count && !g->changed; i++) {
		struct group *group = &g->list[i];

		if (!group_is_open(group) || group->unused)
			continue;
		group->unused = true;
		if (group_shuts_all_out(group)) {
			struct buf text = BUF_EMPTY;

			patterns_text(group, &text);
			log_warning("group is unused, none of the actions that "
			            "it announces matches its actions group=%s "
			            "announced=%u actions=\"%s\"",
			            group->name, group->shut_out,
			            buf_text(&text));
			buf_fini(&text);
			continue;
		}
		log_warning("group is unused, no registered workflow names an "
		            "action that it serves group=%s actions=%u",
		            group->name, group->served.count);
	}
}

static char *
column_text(const PGresult *r, int row, int column)
{
	return mem_strndup(PQgetvalue(r, row, column),
	                   (size_t)PQgetlength(r, row, column));
}

static void
mark_told(struct groups *g, const PGresult *r)
{
	free(g->fresh);
	g->fresh = column_text(r, 0, 0);
	if (!g->changed && g->mark != NULL && strcmp(g->mark, g->fresh) == 0) {
		g->phase = LOOK_NONE; /* as it was */
		return;
	}
	g->changed = false;
	g->phase = LOOK_PAGE;
	free(g->after);
	g->after = mem_strdup("");
}

static void
name_told(struct groups *g, const char *name)
{
	for (uint32_t i = 0; i < g->count; i++) {
		struct group *group = &g->list[i];

		for (uint32_t n = 0;
		     group_is_open(group) && n < group->served.count; n++) {
			if (strcmp(group->served.items[n], name) == 0)
				group_set_used(group);
		}
	}
}

static void
page_told(struct groups *g, const PGresult *r)
{
	bool more = false;

	for (int i = 0; i < PQntuples(r); i++) {
		char *text = column_text(r, i, 1);

		/* The last workflow of this page, or one of the names. */
		if (!db_bool(r, i, 0)) {
			name_told(g, text);
			free(text);
		} else if (PQgetisnull(r, i, 1)) {
			free(text);
		} else {
			free(g->after);
			g->after = text;
			more = true;
		}
	}
	if (!more)
		look_end(g, true);
}

void
groups_told(struct groups *g, const PGresult *rows)
{
	/* Another time, then. */
	if (rows == NULL)
		look_end(g, false);
	else if (g->phase == LOOK_MARK)
		mark_told(g, rows);
	else
		page_told(g, rows);
}

/* ---- life ---- */

struct groups *
groups_create(void)
{
	return mem_zalloc(sizeof(struct groups));
}

void
groups_destroy(struct groups **gp)
{
	struct groups *g = *gp;

	if (g == NULL)
		return;
	groups_forget(g);
	free(g->mark);
	free(g->fresh);
	free(g->after);
	free(g);
	*gp = NULL;
}
