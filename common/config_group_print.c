/*
 * config_group_print - groups as somebody would write them, and how two
 * configurations of them differ.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/buf.h"
#include "common/config_parts.h"
#include "common/mem.h"

static const void *
group_place(const struct config_group *g, enum group_key key)
{
	return (const char *)g + config_group_keys[key].offset;
}

/* ---- printing ---- */

/* A name under which people keep what others must not see. */
static bool
is_secret(const char *entry)
{
	static const char *const parts[] = { "PASS", "SECRET", "TOKEN", "KEY",
					     "CREDENTIAL" };
	size_t len = strcspn(entry, "=");

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		size_t part = strlen(parts[i]);

		for (size_t at = 0; at + part <= len; at++) {
			if (strncasecmp(entry + at, parts[i], part) == 0)
				return true;
		}
	}
	return false;
}

static void
words_print(const struct words *w, const char *between, bool masked,
	    struct buf *out)
{
	for (uint32_t i = 0; i < w->count; i++) {
		const char *word = w->items[i];

		buf_add_text(out, i > 0 ? between : "");
		if (masked && is_secret(word))
			buf_printf(out, "%.*s=***", (int)strcspn(word, "="),
				   word);
		else
			words_quote(word, out);
	}
}

static void
limits_print(const struct config_group *g, struct buf *out)
{
	char text[32];

	for (uint32_t i = 0; i < LIMITS; i++) {
		if (g->limits[i] == LIMIT_NONE)
			continue;
		units_text(g->limits[i], config_limits[i].units, text,
			   sizeof(text));
		buf_printf(out, "%s%s=%s", out->len > 0 ? " " : "",
			   config_limits[i].name, text);
	}
}

/* The value of a key; nothing when there is none. */
static void
group_value(const struct config_group *g, enum group_key key, struct buf *out)
{
	const struct group_key_row *row = &config_group_keys[key];
	char text[32];

	switch (key) {
	case GROUP_PROGRAM:
		words_print(&g->program, " ", false, out);
		return;
	case GROUP_ACTIONS:
		words_print(&g->actions, ", ", false, out);
		return;
	case GROUP_ENVIRONMENT:
		words_print(&g->environment, " ", true, out);
		return;
	case GROUP_LIMITS:
		limits_print(g, out);
		return;
	case GROUP_USER:
	case GROUP_DIRECTORY: {
		const char *value = *(char *const *)group_place(g, key);

		if (value != NULL)
			words_quote(value, out);
		return;
	}
	case GROUP_CONCURRENCY:
		if (g->concurrency > 0)
			buf_printf(out, "%u", g->concurrency);
		return;
	case GROUP_PROCESSES:
	case GROUP_PROCESSES_MAX:
	case GROUP_RECYCLE_ACTIONS:
		buf_printf(out, "%u", *(const uint32_t *)group_place(g, key));
		return;
	case GROUP_RECYCLE_AGE:
	case GROUP_RECYCLE_RSS:
	case GROUP_HELLO:
	case GROUP_OUTPUT_RATE:
		units_text(*(const uint64_t *)group_place(g, key),
			   config_units(row->type), text, sizeof(text));
		buf_add_text(out, text);
		return;
	case GROUP_KEYS:
		break;
	}
	ASSERT(false);
}

/* Whose value it is when the section says nothing. */
static const char *
group_preset(enum group_key key)
{
	switch (key) {
	case GROUP_RECYCLE_ACTIONS:
		return "worker_recycle_actions";
	case GROUP_RECYCLE_AGE:
		return "worker_recycle_age";
	case GROUP_RECYCLE_RSS:
		return "worker_recycle_rss";
	case GROUP_HELLO:
		return "worker_hello";
	case GROUP_OUTPUT_RATE:
		return "worker_output_rate";
	case GROUP_PROGRAM:
	case GROUP_PROCESSES:
	case GROUP_PROCESSES_MAX:
	case GROUP_CONCURRENCY:
	case GROUP_ACTIONS:
	case GROUP_ENVIRONMENT:
	case GROUP_USER:
	case GROUP_DIRECTORY:
	case GROUP_LIMITS:
	case GROUP_KEYS:
		break;
	}
	return "default";
}

void
config_groups_print(const struct config *c, FILE *to)
{
	for (uint32_t i = 1; i < c->group_count; i++) {
		const struct config_group *g = &c->groups[i];

		fprintf(to, "\n[group %s]\n", g->name);
		for (uint32_t k = 0; k < GROUP_KEYS; k++) {
			const struct group_key_row *row = &config_group_keys[k];
			struct buf value = BUF_EMPTY;

			fprintf(to, "# %s\n", row->help);
			group_value(g, (enum group_key)k, &value);
			if (value.len == 0)
				fprintf(to, "# %s is not set\n", row->name);
			else
				fprintf(to, "%s = %s # %s\n", row->name,
					buf_text(&value),
					g->origins[k] != NULL
					    ? g->origins[k]
					    : group_preset((enum group_key)k));
			buf_fini(&value);
		}
	}
}

/* ---- what is different ---- */

static bool
text_equal(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static bool
group_same(const struct config_group *a, const struct config_group *b,
	   enum group_key key)
{
	switch (key) {
	case GROUP_PROGRAM:
		return words_equal(&a->program, &b->program);
	case GROUP_ACTIONS:
		return words_equal(&a->actions, &b->actions);
	case GROUP_ENVIRONMENT:
		return words_equal(&a->environment, &b->environment);
	case GROUP_LIMITS:
		return memcmp(a->limits, b->limits, sizeof(a->limits)) == 0;
	case GROUP_USER:
	case GROUP_DIRECTORY:
		return text_equal(*(char *const *)group_place(a, key),
				  *(char *const *)group_place(b, key));
	case GROUP_CONCURRENCY:
	case GROUP_PROCESSES:
	case GROUP_PROCESSES_MAX:
	case GROUP_RECYCLE_ACTIONS:
		return *(const uint32_t *)group_place(a, key) ==
		       *(const uint32_t *)group_place(b, key);
	case GROUP_RECYCLE_AGE:
	case GROUP_RECYCLE_RSS:
	case GROUP_HELLO:
	case GROUP_OUTPUT_RATE:
		return *(const uint64_t *)group_place(a, key) ==
		       *(const uint64_t *)group_place(b, key);
	case GROUP_KEYS:
		break;
	}
	ASSERT(false);
	return true;
}

/* Of a key that is live. */
static void
group_take(struct config_group *g, const struct config_group *from,
	   enum group_key key)
{
	const struct group_key_row *row = &config_group_keys[key];
	char *to = (char *)g + row->offset;

	free(g->origins[key]);
	g->origins[key] =
	    from->origins[key] != NULL ? mem_strdup(from->origins[key]) : NULL;
	if (key == GROUP_PROGRAM) {
		words_copy(&g->program, &from->program);
	} else if (key == GROUP_ENVIRONMENT) {
		words_copy(&g->environment, &from->environment);
	} else if (key == GROUP_LIMITS) {
		memcpy(g->limits, from->limits, sizeof(g->limits));
	} else if (key == GROUP_DIRECTORY) {
		free(g->directory);
		g->directory = from->directory != NULL
				   ? mem_strdup(from->directory)
				   : NULL;
	} else {
		ASSERT(row->parse == NULL);
		memcpy(to, group_place(from, key),
		       row->type == TYPE_COUNT ? sizeof(uint32_t)
					       : sizeof(uint64_t));
	}
}

static struct config_group *
group_named(const struct config *c, const char *name)
{
	for (uint32_t i = 0; i < c->group_count; i++) {
		if (strcmp(c->groups[i].name, name) == 0)
			return &c->groups[i];
	}
	return NULL;
}

static void
group_differs(const char *name, const char *key, bool taken,
	      void (*differs_cb)(void *arg, const char *key, bool taken),
	      void *arg)
{
	struct buf text = BUF_EMPTY;

	buf_printf(&text, "group.%s%s%s", name, key != NULL ? "." : "",
		   key != NULL ? key : "");
	differs_cb(arg, buf_text(&text), taken);
	buf_fini(&text);
}

void
config_groups_take_live(struct config *c, const struct config *from,
			void (*differs_cb)(void *arg, const char *key,
					   bool taken),
			void *arg)
{
	/* Whatever follows another key changes with that, untold. */
	config_groups_inherit(c);
	for (uint32_t i = 1; i < c->group_count; i++) {
		struct config_group *g = &c->groups[i];
		const struct config_group *other = group_named(from, g->name);

		if (other == NULL) {
			group_differs(g->name, NULL, false, differs_cb, arg);
			continue;
		}
		for (uint32_t k = 0; k < GROUP_KEYS; k++) {
			const struct group_key_row *row = &config_group_keys[k];
			bool given =
			    g->origins[k] != NULL || other->origins[k] != NULL;

			if (!given || group_same(g, other, (enum group_key)k))
				continue;
			if (row->live)
				group_take(g, other, (enum group_key)k);
			group_differs(g->name, row->name, row->live, differs_cb,
				      arg);
		}
	}
	for (uint32_t i = 1; i < from->group_count; i++) {
		if (group_named(c, from->groups[i].name) == NULL)
			group_differs(from->groups[i].name, NULL, false,
				      differs_cb, arg);
	}
	config_groups_inherit(c);
}
