/*
 * cmd_workers - changing a daemon while it runs: restart, scale, reload.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/mem.h"
#include "common/units.h"
#include "ctl/control.h"
#include "ctl/ctl.h"
#include "ctl/json_out.h"
#include "ctl/out.h"

#define ANSWER_US (5 * CLOCK_SECOND_US)
#define LOOK_AGAIN_MS 50
/* Without --timeout: longer than most programs need to say HELLO. */
#define REVIVE_US (60 * CLOCK_SECOND_US)

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

/* A group's entry in a status. */
static bool
group_entry(const struct buf *status, const char *name, struct slice *out)
{
	struct slice groups, v;

	if (!value_get(buf_slice(status), SLICE_LITERAL("groups"), &groups) ||
	    value_type(groups) != VALUE_ARRAY)
		return false;
	for (uint32_t n = 0; value_at(groups, n, out); n++) {
		if (value_type(*out) == VALUE_MAP &&
		    value_get(*out, SLICE_LITERAL("name"), &v) &&
		    value_is_str(v, name))
			return true;
	}
	return false;
}

static int64_t
number_in(struct slice map, const char *key)
{
	struct slice v;

	if (value_type(map) != VALUE_MAP ||
	    !value_get(map, slice_of(key), &v) || value_type(v) != VALUE_INT)
		return -1;
	return value_item(v).i;
}

/* How many workers are still to be replaced, of that group or of all. */
static int64_t
outdated_of(const struct buf *status, const char *group)
{
	struct slice one;

	if (group == NULL)
		return number_of(status, "outdated");
	return group_entry(status, group, &one) ? number_in(one, "outdated")
						: -1;
}

/* "1 worker", "2 workers". */
static const char *
workers_text(int64_t count, char text[48])
{
	snprintf(text, 48, "%" PRId64 " worker%s", count,
		 count == 1 ? "" : "s");
	return text;
}

/* Until every worker that was there at the request is another. */
static int
wait_renewed(struct control *k, const char *group, uint64_t until_us)
{
	struct buf reply = BUF_EMPTY;
	int64_t count;
	char text[48];
	int rc;

	for (;;) {
		rc = ask_verb(k, "status", NULL, &reply);
		if (rc != CTL_OK)
			break;
		count = outdated_of(&reply, group);
		if (count <= 0)
			break;
		if (interrupted || clock_mono_us() >= until_us) {
			rc = interrupted ? CTL_INTERRUPTED : CTL_TIMEOUT;
			complain("%s: %s %s still to be replaced; it goes on",
				 interrupted ? "interrupted" : "timeout",
				 workers_text(count, text),
				 count == 1 ? "is" : "are");
			break;
		}
		poll(NULL, 0, LOOK_AGAIN_MS);
	}
	buf_fini(&reply);
	return rc;
}

/* ---- groups that did not start ---- */

/* The trouble in a group's entry, or false when it has none. */
static bool
trouble_of(struct slice entry, struct slice *out)
{
	return value_get(entry, SLICE_LITERAL("trouble"), out) &&
	       value_type(*out) == VALUE_MAP;
}

/*
 * What became of a group that was tried again after failed starts: CTL_OK
 * when all its workers are ready, CTL_FAILED when a start failed once more,
 * -1 while neither is known.
 */
static int
revived(struct slice entry, int64_t failed)
{
	struct slice trouble;

	if (trouble_of(entry, &trouble))
		return number_in(trouble, "failed") > failed ? CTL_FAILED : -1;
	return number_in(entry, "ready") >= number_in(entry, "workers") ? CTL_OK
									: -1;
}

static void
say_revived(const struct ctl *c, const char *name, struct slice entry, int rc)
{
	int64_t ready = number_in(entry, "ready");
	int64_t workers = number_in(entry, "workers");
	struct slice trouble, v;
	struct item reason = { .type = VALUE_NULL };

	if (rc == CTL_OK) {
		note(c, "%s: %" PRId64 " of %" PRId64 " ready", name, ready,
		     workers);
		return;
	}
	if (trouble_of(entry, &trouble) &&
	    value_get(trouble, SLICE_LITERAL("reason"), &v))
		reason = value_item(v);
	if (reason.type != VALUE_STR)
		reason.bytes = SLICE_LITERAL("not yet");
	complain("%s: %" PRId64 " of %" PRId64 " ready: %s%.*s", name, ready,
		 workers,
		 rc == CTL_TIMEOUT       ? "timeout; until now: "
		 : rc == CTL_INTERRUPTED ? "interrupted; until now: "
					 : "",
		 (int)reason.bytes.len, (const char *)reason.bytes.data);
}

/* Waits for what the try brings that a restart makes at once. */
static int
wait_revived(const struct ctl *c, struct control *k, const char *name,
	     int64_t failed, uint64_t until_us)
{
	struct buf reply = BUF_EMPTY;
	struct slice entry;
	int rc, found;

	for (;;) {
		rc = ask_verb(k, "status", NULL, &reply);
		if (rc != CTL_OK || !group_entry(&reply, name, &entry))
			break;
		found = revived(entry, failed);
		if (found < 0 && interrupted)
			found = CTL_INTERRUPTED;
		else if (found < 0 && clock_mono_us() >= until_us)
			found = CTL_TIMEOUT;
		if (found >= 0) {
			say_revived(c, name, entry, found);
			rc = found;
			break;
		}
		poll(NULL, 0, LOOK_AGAIN_MS);
	}
	buf_fini(&reply);
	return rc;
}

/* Every group, or that one, which was in trouble before the restart; the
 * first of them that still does not start decides. */
static int
wait_all_revived(const struct ctl *c, struct control *k,
		 const struct buf *before, const char *only, uint64_t until_us,
		 uint32_t *count_out)
{
	struct slice groups, entry, trouble, v;
	int rc = CTL_OK;

	if (!value_get(buf_slice(before), SLICE_LITERAL("groups"), &groups) ||
	    value_type(groups) != VALUE_ARRAY)
		return CTL_OK;
	for (uint32_t n = 0; value_at(groups, n, &entry); n++) {
		char *name;
		int one;

		if (value_type(entry) != VALUE_MAP ||
		    !trouble_of(entry, &trouble) ||
		    !value_get(entry, SLICE_LITERAL("name"), &v) ||
		    value_type(v) != VALUE_STR ||
		    (only != NULL && !value_is_str(v, only)))
			continue;
		name = mem_strndup(value_item(v).bytes.data,
				   value_item(v).bytes.len);
		one = wait_revived(c, k, name, number_in(trouble, "failed"),
				   until_us);
		free(name);
		rc = rc != CTL_OK ? rc : one;
		++*count_out;
		if (interrupted)
			break;
	}
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
	struct buf before = BUF_EMPTY, reply = BUF_EMPTY;
	uint64_t timeout_us = 0, begun_us;
	uint32_t revived_count = 0;
	struct control *k;
	int64_t count = 0;
	char text[48];
	int rc = option_duration(c, OPTION_TIMEOUT, &timeout_us);

	if (rc == CTL_OK)
		rc = control_open(c, &k);
	if (rc != CTL_OK)
		return rc;
	interrupt_watch();
	begun_us = clock_mono_us();
	rc = ask_verb(k, "status", NULL, &before);
	if (rc == CTL_OK)
		rc = ask_verb(k, "restart", group, &reply);
	if (rc == CTL_OK) {
		count = number_of(&reply, "outdated");
		detail(c, "%s %s replaced one by one",
		       workers_text(count, text), count == 1 ? "is" : "are");
		rc = wait_renewed(k, group,
				  timeout_us == 0 ? UINT64_MAX
						  : begun_us + timeout_us);
	}
	if (rc == CTL_OK)
		rc = wait_all_revived(
		    c, k, &before, group,
		    timeout_us == 0 ? clock_mono_us() + REVIVE_US
				    : begun_us + timeout_us,
		    &revived_count);
	if (rc == CTL_OK && out_is_json(c))
		show_json(&reply, "restarted", count, -1);
	else if (rc == CTL_OK && (count > 0 || revived_count == 0))
		note(c, "%s %s replaced", workers_text(count, text),
		     count == 1 ? "was" : "were");
	buf_fini(&before);
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
	char text[48];
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
		note(c, "%s, %" PRId64 " before",
		     workers_text(number_of(&reply, "workers"), text),
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
