/*
 * control_workers - the verbs about workers and settings.
 */
#include <stdio.h>

#include "common/value.h"
#include "supervisor/control_parts.h"
#include "supervisor/settings.h"
#include "supervisor/supervisor.h"
#include "supervisor/workers.h"

void
verb_restart(struct client *c, struct slice request)
{
	struct supervisor *s = c->supervisor;
	struct buf b = BUF_EMPTY;

	(void)request;
	if (s->stop.wanted) {
		control_reply_error(c, CODE_REFUSED, "the pool is stopping");
		return;
	}
	value_pack_map(&b, 2);
	value_pack_text(&b, "ok");
	value_pack_bool(&b, true);
	control_pack_uint(&b, "outdated", workers_restart(s));
	control_reply(c, buf_slice(&b));
	buf_fini(&b);
}

void
verb_scale(struct client *c, struct slice request)
{
	struct supervisor *s = c->supervisor;
	struct item item = { .type = VALUE_NULL };
	struct buf b = BUF_EMPTY;
	uint32_t before = s->workers_wanted;
	struct slice value;
	char text[128];

	if (value_get(request, SLICE_LITERAL("workers"), &value))
		item = value_item(value);
	if (s->stop.wanted) {
		control_reply_error(c, CODE_REFUSED, "the pool is stopping");
		return;
	}
	if (item.type != VALUE_INT || item.i < 1 || item.i > UINT32_MAX ||
	    workers_scale(s, (uint32_t)item.i) < 0) {
		snprintf(text, sizeof(text),
		         "workers must be an integer from 1 to %u "
		         "(workers_max)",
		         workers_max(s));
		control_reply_error(c, CODE_USAGE, text);
		return;
	}
	value_pack_map(&b, 3);
	value_pack_text(&b, "ok");
	value_pack_bool(&b, true);
	control_pack_uint(&b, "workers", s->workers_wanted);
	control_pack_uint(&b, "before", before);
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
