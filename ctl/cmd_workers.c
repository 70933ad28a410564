/*
 * cmd_workers - changing a daemon while it runs: restart, scale, reload.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/units.h"
#include "ctl/control.h"
#include "ctl/ctl.h"
#include "ctl/json_out.h"
#include "ctl/out.h"

#define ANSWER_US (5 * CLOCK_SECOND_US)
#define LOOK_AGAIN_MS 50

/* A number of a reply's, or -1. */
static int64_t
number_of(const struct buf *reply, const char *key)
{
	struct slice v;
	struct item item;

	if (!value_get(buf_slice(reply), slice_of(key), &v))
		return -1;
	item = value_item(v);
	return item.type == VALUE_INT ? item.i : -1;
}

/* A request about that group, or about none (NULL). */
static int
ask_verb(struct control *k, const char *verb, const char *group,
	 struct buf *reply)
{
	struct buf request = BUF_EMPTY;
	int rc;

	value_pack_map(&request, group != NULL ? 2 : 1);
	value_pack_text(&request, "verb");
	value_pack_text(&request, verb);
	if (group != NULL) {
		value_pack_text(&request, "group");
		value_pack_text(&request, group);
	}
	reply->len = 0;
	rc = control_request(k, buf_slice(&request), ANSWER_US, reply);
	buf_fini(&request);
	return rc;
}

/* How many workers are still to be replaced, of that group or of all. */
static int64_t
outdated_of(const struct buf *status, const char *group)
{
	struct slice groups, one, v;

	if (group == NULL)
		return number_of(status, "outdated");
	if (!value_get(buf_slice(status), SLICE_LITERAL("groups"), &groups) ||
	    value_type(groups) != VALUE_ARRAY)
		return -1;
	for (uint32_t n = 0; value_at(groups, n, &one); n++) {
		if (value_type(one) == VALUE_MAP &&
		    value_get(one, SLICE_LITERAL("name"), &v) &&
		    value_is_str(v, group) &&
		    value_get(one, SLICE_LITERAL("outdated"), &v) &&
		    value_type(v) == VALUE_INT)
			return value_item(v).i;
	}
	return -1;
}

/* Until every worker that was there at the request is another. */
static int
wait_renewed(struct control *k, const char *group, uint64_t until_us)
{
	int64_t count;
	struct buf reply = BUF_EMPTY;
	int rc;

	for (;;) {
		rc = ask_verb(k, "status", NULL, &reply);
		count = outdated_of(&reply, group);
		if (rc != CTL_OK || count <= 0)
			break;
		if (interrupted || clock_mono_us() >= until_us) {
			rc = interrupted ? CTL_INTERRUPTED : CTL_TIMEOUT;
			complain("%s: %" PRId64 " workers are still to be "
				 "replaced; it goes on",
				 interrupted ? "interrupted" : "timeout", count);
			break;
		}
		poll(NULL, 0, LOOK_AGAIN_MS);
	}
	buf_fini(&reply);
	return rc;
}

/* Whose workers, and how many; before: -1 for none. */
static void
show_json(const struct buf *reply, const char *key, int64_t count,
	  int64_t before)
{
	struct json_out j = JSON_OUT_EMPTY;
	struct slice v;
	char number[32];

	json_out_open(&j, NULL, '{');
	if (value_get(buf_slice(reply), SLICE_LITERAL("group"), &v))
		json_out_value(&j, "group", v);
	snprintf(number, sizeof(number), "%" PRId64, count);
	json_out_raw(&j, key, number);
	snprintf(number, sizeof(number), "%" PRId64, before);
	if (before >= 0)
		json_out_raw(&j, "before", number);
	json_out_close(&j, '}');
	out_json(&j);
}

int
cmd_restart(struct ctl *c)
{
	const char *group = option(c, OPTION_GROUP);
	struct buf reply = BUF_EMPTY;
	uint64_t timeout_us = 0;
	struct control *k;
	int64_t count;
	int rc = option_duration(c, OPTION_TIMEOUT, &timeout_us);

	if (rc == CTL_OK)
		rc = control_open(c, &k);
	if (rc != CTL_OK)
		return rc;
	interrupt_watch();
	rc = ask_verb(k, "restart", group, &reply);
	count = number_of(&reply, "outdated");
	if (rc == CTL_OK) {
		detail(c, "%" PRId64 " workers are replaced one by one", count);
		rc = wait_renewed(k, group,
				  timeout_us == 0
				      ? UINT64_MAX
				      : clock_mono_us() + timeout_us);
	}
	if (rc == CTL_OK && out_is_json(c))
		show_json(&reply, "restarted", count, -1);
	else if (rc == CTL_OK)
		note(c, "%" PRId64 " workers were replaced", count);
	buf_fini(&reply);
	control_close(&k);
	return rc;
}

int
cmd_scale(struct ctl *c)
{
	const char *group = option(c, OPTION_GROUP);
	struct buf request = BUF_EMPTY, reply = BUF_EMPTY;
	struct control *k;
	uint64_t workers;
	int rc;

	if (units_parse(c->words[0], units_count, &workers) < 0 ||
	    workers > UINT32_MAX) {
		complain("\"%s\" is no number of workers", c->words[0]);
		return CTL_USAGE;
	}
	rc = control_open(c, &k);
	if (rc != CTL_OK)
		return rc;
	value_pack_map(&request, group != NULL ? 3 : 2);
	value_pack_text(&request, "verb");
	value_pack_text(&request, "scale");
	if (group != NULL) {
		value_pack_text(&request, "group");
		value_pack_text(&request, group);
	}
	value_pack_text(&request, "workers");
	value_pack_uint(&request, workers);
	rc = control_request(k, buf_slice(&request), ANSWER_US, &reply);
	if (rc == CTL_OK && out_is_json(c))
		show_json(&reply, "workers", number_of(&reply, "workers"),
			  number_of(&reply, "before"));
	else if (rc == CTL_OK)
		note(c, "%" PRId64 " workers, before it were %" PRId64,
		     number_of(&reply, "workers"),
		     number_of(&reply, "before"));
	buf_fini(&request);
	buf_fini(&reply);
	control_close(&k);
	return rc;
}

/* "workers, log_level" of an array of texts. */
static void
names_of(const struct buf *reply, const char *key, struct buf *out)
{
	struct slice list, name;

	if (!value_get(buf_slice(reply), slice_of(key), &list) ||
	    value_type(list) != VALUE_ARRAY)
		return;
	for (uint32_t n = 0; value_at(list, n, &name); n++) {
		struct item item = value_item(name);

		if (item.type != VALUE_STR)
			continue;
		buf_add_text(out, out->len > 0 ? ", " : "");
		buf_add(out, item.bytes.data, item.bytes.len);
	}
}

static void
show_reload(const struct ctl *c, const struct buf *reply)
{
	struct buf changed = BUF_EMPTY, later = BUF_EMPTY;

	names_of(reply, "changed", &changed);
	names_of(reply, "at_next_start", &later);
	if (changed.len > 0)
		note(c, "changed: %s", buf_text(&changed));
	else
		note(c, "nothing has changed%s",
		     later.len > 0 ? " now" : "");
	if (later.len > 0)
		note(c, "only after a restart of the daemon: %s",
		     buf_text(&later));
	buf_fini(&changed);
	buf_fini(&later);
}

int
cmd_reload(struct ctl *c)
{
	struct json_out j = JSON_OUT_EMPTY;
	struct buf reply = BUF_EMPTY;
	struct slice v;
	struct control *k;
	int rc = control_open(c, &k);

	if (rc != CTL_OK)
		return rc;
	rc = ask_verb(k, "reload", NULL, &reply);
	if (rc == CTL_OK && out_is_json(c)) {
		json_out_open(&j, NULL, '{');
		if (value_get(buf_slice(&reply), SLICE_LITERAL("changed"), &v))
			json_out_value(&j, "changed", v);
		if (value_get(buf_slice(&reply),
			      SLICE_LITERAL("at_next_start"), &v))
			json_out_value(&j, "at_next_start", v);
		json_out_close(&j, '}');
		out_json(&j);
	} else if (rc == CTL_OK) {
		show_reload(c, &reply);
	}
	buf_fini(&reply);
	control_close(&k);
	return rc;
}
