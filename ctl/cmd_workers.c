/*
 * cmd_workers - changing a daemon while it runs: restart, scale, reload.
 */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
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

/* A request without arguments. */
static int
ask_verb(struct control *k, const char *verb, struct buf *reply)
{
	struct buf request = BUF_EMPTY;
	int rc;

	value_pack_map(&request, 1);
	value_pack_text(&request, "verb");
	value_pack_text(&request, verb);
	reply->len = 0;
	rc = control_request(k, buf_slice(&request), ANSWER_US, reply);
	buf_fini(&request);
	return rc;
}

/* Until every worker that was there at the request is another. */
static int
wait_renewed(struct control *k, uint64_t until_us)
{
	struct buf reply = BUF_EMPTY;
	int rc;

	for (;;) {
		rc = ask_verb(k, "status", &reply);
		if (rc != CTL_OK || number_of(&reply, "outdated") <= 0)
			break;
		if (interrupted || clock_mono_us() >= until_us) {
			rc = interrupted ? CTL_INTERRUPTED : CTL_TIMEOUT;
			complain("%s: %" PRId64 " workers are still to be "
				 "replaced; it goes on",
				 interrupted ? "interrupted" : "timeout",
				 number_of(&reply, "outdated"));
			break;
		}
		poll(NULL, 0, LOOK_AGAIN_MS);
	}
	buf_fini(&reply);
	return rc;
}

int
cmd_restart(struct ctl *c)
{
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
	rc = ask_verb(k, "restart", &reply);
	count = number_of(&reply, "outdated");
	if (rc == CTL_OK) {
		detail(c, "%" PRId64 " workers are replaced one by one", count);
		rc = wait_renewed(k, timeout_us == 0
					 ? UINT64_MAX
					 : clock_mono_us() + timeout_us);
	}
	if (rc == CTL_OK && out_is_json(c))
		out_line("{\"restarted\":%" PRId64 "}", count);
	else if (rc == CTL_OK)
		note(c, "%" PRId64 " workers were replaced", count);
	buf_fini(&reply);
	control_close(&k);
	return rc;
}

int
cmd_scale(struct ctl *c)
{
	struct buf request = BUF_EMPTY, reply = BUF_EMPTY;
	struct control *k;
	uint64_t workers;
	int rc;

	if (units_parse(c->words[0], units_count, &workers) < 0 ||
	    workers == 0 || workers > UINT32_MAX) {
		complain("\"%s\" is no number of workers", c->words[0]);
		return CTL_USAGE;
	}
	rc = control_open(c, &k);
	if (rc != CTL_OK)
		return rc;
	value_pack_map(&request, 2);
	value_pack_text(&request, "verb");
	value_pack_text(&request, "scale");
	value_pack_text(&request, "workers");
	value_pack_uint(&request, workers);
	rc = control_request(k, buf_slice(&request), ANSWER_US, &reply);
	if (rc == CTL_OK && out_is_json(c))
		out_line("{\"workers\":%" PRId64 ",\"before\":%" PRId64 "}",
			 number_of(&reply, "workers"),
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
	rc = ask_verb(k, "reload", &reply);
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
