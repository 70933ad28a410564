/*
 * control_workers - the verbs about workers and settings.
 */
#include <stdio.h>

#include "common/value.h"
#include "supervisor/control_parts.h"
#include "supervisor/settings.h"
#include "supervisor/supervisor.h"
#include "supervisor/workers.h"

/*
 * The group that a request names, into *out; NULL when it names none. False,
 * after an answer, when there is no such.
 */
static bool
group_of(struct client *c, struct slice request, struct group **out)
{
	struct supervisor *s = c->supervisor;
	struct buf text = BUF_EMPTY;
	struct slice value;

	*out = NULL;
	if (!value_get(request, SLICE_LITERAL("group"), &value) ||
	    value_type(value) == VALUE_NULL)
		return true;
	if (value_type(value) == VALUE_STR)
		*out = workers_group(s, value_item(value).bytes);
	if (*out != NULL)
		return true;
	buf_add_text(&text, "there is no such group; there are: ");
	for (uint32_t i = 0; i < s->group_count; i++)
		buf_printf(&text, "%s%s", i > 0 ? ", " : "",
		           s->groups[i].config->name);
	control_reply_error(c, CODE_USAGE, buf_text(&text));
	buf_fini(&text);
	return false;
}

static void
pack_group(struct buf *b, const struct group *g)
{
	value_pack_text(b, "group");
	if (g != NULL)
		value_pack_text(b, g->config->name);
	else
		value_pack_null(b);
}

void
verb_restart(struct client *c, struct slice request)
{
	struct supervisor *s = c->supervisor;
	struct buf b = BUF_EMPTY;
	struct group *only;
	uint32_t count = 0;

	if (!group_of(c, request, &only))
		return;
	if (s->stop.wanted) {
		control_reply_error(c, CODE_REFUSED, "the pool is stopping");
		return;
	}
	for (uint32_t i = 0; i < s->group_count; i++) {
		if (only == NULL || only == &s->groups[i])
			count += group_restart(&s->groups[i]);
	}
	value_pack_map(&b, 3);
	value_pack_text(&b, "ok");
	value_pack_bool(&b, true);
	control_pack_uint(&b, "outdated", count);
	pack_group(&b, only);
	control_reply(c, buf_slice(&b));
	buf_fini(&b);
}

void
verb_scale(struct client *c, struct slice request)
{
	struct supervisor *s = c->supervisor;
	struct item item = { .type = VALUE_NULL };
	struct buf b = BUF_EMPTY;
	struct group *g;
	struct slice value;
	uint32_t before;
	char text[128];

	if (!group_of(c, request, &g))
		return;
	if (g == NULL && s->group_count > 1) {
		control_reply_error(c, CODE_USAGE,
		                    "there are several groups: say which one "
		                    "is to be scaled (--group NAME)");
		return;
	}
	if (g == NULL)
		g = &s->groups[0];
	before = g->wanted;
	if (value_get(request, SLICE_LITERAL("workers"), &value))
		item = value_item(value);
	if (s->stop.wanted) {
		control_reply_error(c, CODE_REFUSED, "the pool is stopping");
		return;
	}
	if (item.type != VALUE_INT || item.i < 0 || item.i > UINT32_MAX ||
	    group_scale(g, (uint32_t)item.i) < 0) {
		snprintf(text, sizeof(text),
		         "workers must be an integer from %u to %u (%s)",
		         group_min(g), group_max(g),
		         config_group_is_native(g->config) ? "workers_max"
		                                           : "processes_max");
		control_reply_error(c, CODE_USAGE, text);
		return;
	}
	value_pack_map(&b, 4);
	value_pack_text(&b, "ok");
	value_pack_bool(&b, true);
	control_pack_uint(&b, "workers", g->wanted);
	control_pack_uint(&b, "before", before);
	pack_group(&b, g);
	control_reply(c, buf_slice(&b));
	buf_fini(&b);
}

static void
control_pack_names(struct buf *b, const char *key, const struct strings *l)
{
	value_pack_text(b, key);
	value_pack_array(b, l->count);
	for (uint32_t i = 0; i < l->count; i++)
		value_pack_text(b, l->items[i]);
}

void
verb_reload(struct client *c, struct slice request)
{
	struct supervisor *s = c->supervisor;
	struct settings_changes changes;
	struct error err = { 0 };
	struct buf b = BUF_EMPTY;

	(void)request;
	if (settings_reload(s, &changes, &err) < 0) {
		control_reply_error(c, CODE_FAILED, err.message);
		return;
	}
	value_pack_map(&b, 3);
	value_pack_text(&b, "ok");
	value_pack_bool(&b, true);
	control_pack_names(&b, "changed", &changes.taken);
	control_pack_names(&b, "at_next_start", &changes.later);
	control_reply(c, buf_slice(&b));
	buf_fini(&b);
	settings_changes_fini(&changes);
}
