/*
 * cmd_daemon - what is asked of the running daemon: status, ping, stop,
 * drain.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "ctl/control.h"
#include "ctl/ctl.h"
#include "ctl/out.h"
#include "engine/timestamp.h"

#define ANSWER_US (5 * CLOCK_SECOND_US)
/* Microseconds above this are a date, not a duration: 1973. */
#define DATE_US INT64_C(100000000000000)

/* ---- a map of the daemon's as JSON ---- */

static bool
ends_in_us(struct slice key)
{
	return key.len > 3 && memcmp(key.data + key.len - 3, "_us", 3) == 0;
}

/* The key without its last cut bytes, with more behind it. Static. */
static const char *
key_text(struct slice key, size_t cut, const char *more)
{
	static char text[128];

	snprintf(text, sizeof(text), "%.*s%s", (int)(key.len - cut),
		 (const char *)key.data, more);
	return text;
}

static void write_value(struct json_out *j, const char *key, struct slice v);

/*
 * Microseconds are how processes talk. People and their programs get dates
 * ("since") and seconds ("run_seconds").
 */
static void
write_member(struct json_out *j, struct slice key, struct slice v)
{
	struct item item = value_item(v);
	char text[TIMESTAMP_TEXT_SIZE];

	if (!ends_in_us(key) || item.type != VALUE_INT) {
		write_value(j, key_text(key, 0, ""), v);
	} else if (item.i > DATE_US) {
		timestamp_text(item.i, text);
		json_out_text(j, key_text(key, 3, ""), text);
	} else {
		snprintf(text, sizeof(text), "%.6f", (double)item.i / 1e6);
		json_out_raw(j, key_text(key, 3, "_seconds"), text);
	}
}

static void
write_map(struct json_out *j, const char *key, struct slice map)
{
	struct cursor c = cursor_of(map);
	uint32_t pairs = cursor_next(&c).count;

	json_out_open(j, key, '{');
	for (uint32_t n = 0; n < pairs; n++) {
		struct slice name = cursor_value(&c);
		struct slice v = cursor_value(&c);

		/* "ok" was for us; a key that is no text is not for JSON. */
		if (value_type(name) == VALUE_STR &&
		    !(key == NULL && value_is_str(name, "ok")))
			write_member(j, value_item(name).bytes, v);
	}
	json_out_close(j, '}');
}

static void
write_value(struct json_out *j, const char *key, struct slice v)
{
	struct item item = value_item(v);
	struct cursor c = cursor_of(v);
	struct buf hex = BUF_EMPTY;

	switch (item.type) {
	case VALUE_MAP:
		write_map(j, key, v);
		return;
	case VALUE_ARRAY:
		json_out_open(j, key, '[');
		cursor_next(&c);
		for (uint32_t n = 0; n < item.count; n++)
			write_value(j, NULL, cursor_value(&c));
		json_out_close(j, ']');
		return;
	case VALUE_BIN:
		for (size_t n = 0; n < item.bytes.len; n++)
			buf_printf(&hex, "%02x", item.bytes.data[n]);
		json_out_text(j, key, buf_text(&hex));
		buf_fini(&hex);
		return;
	case VALUE_NULL:
	case VALUE_BOOL:
	case VALUE_INT:
	case VALUE_UINT:
	case VALUE_DOUBLE:
	case VALUE_STR:
		json_out_value(j, key, v);
		return;
	}
}

/* ---- the same for people ---- */

static struct slice
member(struct slice map, const char *key)
{
	static const uint8_t nil = 0xc0;
	struct slice v;

	if (value_type(map) == VALUE_MAP && value_get(map, slice_of(key), &v))
		return v;
	return (struct slice){ &nil, 1 };
}

/* A scalar as text. */
static void
scalar_text(struct slice v, struct buf *b)
{
	struct item item = value_item(v);

	switch (item.type) {
	case VALUE_STR:
		buf_add(b, item.bytes.data, item.bytes.len);
		return;
	case VALUE_NULL:
		buf_add_text(b, "-");
		return;
	case VALUE_BOOL:
		buf_add_text(b, item.b ? "yes" : "no");
		return;
	case VALUE_BIN:
		buf_printf(b, "%zu bytes", item.bytes.len);
		return;
	case VALUE_INT:
	case VALUE_UINT:
	case VALUE_DOUBLE:
		json_write(v, b);
		return;
	case VALUE_ARRAY:
	case VALUE_MAP:
		return;
	}
}

/* "2026-01-14T12:00:00Z (3 min 2 s ago)" of a wall clock. */
static void
since_text(struct slice v, struct buf *b)
{
	struct item item = value_item(v);
	char date[TIMESTAMP_TEXT_SIZE];
	char ago[DURATION_TEXT_SIZE];

	if (item.type != VALUE_INT || item.i <= DATE_US) {
		scalar_text(v, b);
		return;
	}
	timestamp_text(item.i, date);
	duration_text((double)(clock_wall_us() - item.i) / 1e6, ago);
	buf_printf(b, "%.19sZ (%s ago)", date, ago);
}

static void
show_processes(const struct ctl *c, struct slice list)
{
	static const char *const headings[] = { "PROCESS", "GROUP", "SLOT",
						"SPAWN",   "PID",   "PHASE",
						"FOR", "RESTARTS",
						"LAST EXIT" };
	static const char *const keys[] = { "kind",     "group", "slot",
					    "spawn",    "pid",   "phase",
					    "since_us", "restarts",
					    "last_exit" };
	const size_t columns = sizeof(keys) / sizeof(keys[0]);
	struct table *t = table_create((uint32_t)columns);
	uint32_t count = value_count(list);

	for (uint32_t n = 0; n < count; n++) {
		struct slice process;

		if (!value_at(list, n, &process))
			break;
		for (size_t k = 0; k < columns; k++) {
			struct slice v = member(process, keys[k]);
			struct buf text = BUF_EMPTY;
			char since[DURATION_TEXT_SIZE];
			struct item item = value_item(v);

			if (strcmp(keys[k], "since_us") == 0 &&
			    item.type == VALUE_INT) {
				duration_text(
				    (double)(clock_wall_us() - item.i) / 1e6,
				    since);
				buf_add_text(&text, since);
			} else {
				scalar_text(v, &text);
			}
			table_add(t, buf_text(&text));
			buf_fini(&text);
		}
	}
	putchar('\n');
	table_print(c, t, headings);
	table_destroy(&t);
}

/* What the flusher says of the group of that name; null: nothing. */
static struct slice
group_of(struct slice flusher, struct slice name)
{
	struct slice list = member(flusher, "groups"), one;

	for (uint32_t n = 0;
	     value_type(list) == VALUE_ARRAY && value_at(list, n, &one); n++) {
		if (value_equal(member(one, "name"), name))
			return one;
	}
	return member(list, "");
}

/* "a, b, c", or "-". */
static void
names_text(struct slice names, struct buf *b)
{
	struct slice one;

	for (uint32_t n = 0;
	     value_type(names) == VALUE_ARRAY && value_at(names, n, &one);
	     n++) {
		buf_add_text(b, b->len > 0 ? ", " : "");
		scalar_text(one, b);
	}
	if (b->len == 0)
		buf_add_text(b, "-");
}

/* What is wrong with a group, as far as anything is. */
static void
show_group_trouble(const struct ctl *c, struct slice group,
		   struct slice served)
{
	struct slice trouble = member(group, "trouble");
	struct slice unused = member(served, "unused");
	struct slice patterns = member(served, "patterns");
	struct buf label = BUF_EMPTY, line = BUF_EMPTY;

	buf_add_text(&label, "Group ");
	scalar_text(member(group, "name"), &label);
	if (value_type(trouble) == VALUE_MAP) {
		scalar_text(member(trouble, "reason"), &line);
		buf_add_text(&line, ", since ");
		since_text(member(trouble, "since_us"), &line);
		out_field(c, buf_text(&label), "%s", buf_text(&line));
	}
	if (value_type(unused) == VALUE_BOOL && value_item(unused).b &&
	    value_type(patterns) == VALUE_STR) {
		line.len = 0;
		buf_add_text(&line, "unused: none of the ");
		scalar_text(member(served, "shut_out"), &line);
		buf_add_text(&line, " announced actions matches actions = ");
		scalar_text(patterns, &line);
		out_field(c, buf_text(&label), "%s", buf_text(&line));
	} else if (value_type(unused) == VALUE_BOOL && value_item(unused).b)
		out_field(c, buf_text(&label),
			  "unused: no registered workflow names an action "
			  "that it serves");
	buf_fini(&label);
	buf_fini(&line);
}

static void
show_groups(const struct ctl *c, struct slice groups, struct slice flusher)
{
	static const char *const headings[] = { "GROUP", "READY", "CONCURRENCY",
						"PROGRAM", "ACTIONS" };
	struct table *t = table_create(5);
	struct slice one;

	for (uint32_t n = 0;
	     value_type(groups) == VALUE_ARRAY && value_at(groups, n, &one);
	     n++) {
		struct slice served = group_of(flusher, member(one, "name"));
		struct buf cells[5] = { BUF_EMPTY };

		show_group_trouble(c, one, served);
		scalar_text(member(one, "name"), &cells[0]);
		scalar_text(member(one, "ready"), &cells[1]);
		buf_add_text(&cells[1], "/");
		scalar_text(member(one, "workers"), &cells[1]);
		scalar_text(member(one, "concurrency"), &cells[2]);
		scalar_text(member(one, "program"), &cells[3]);
		names_text(member(served, "actions"), &cells[4]);
		for (size_t k = 0; k < 5; k++) {
			table_add(t, buf_text(&cells[k]));
			buf_fini(&cells[k]);
		}
	}
	putchar('\n');
	table_print(c, t, headings);
	table_destroy(&t);
}

/* Whatever the map holds, a line each; deeper maps as "a.b". Groups have a
 * table of their own. */
static void
show_map(const struct ctl *c, struct table *t, const char *prefix,
	 struct slice map)
{
	struct cursor at = cursor_of(map);
	uint32_t pairs = cursor_next(&at).count;

	for (uint32_t n = 0; n < pairs; n++) {
		struct slice key = cursor_value(&at);
		struct slice v = cursor_value(&at);
		struct item item = value_item(v);
		struct buf name = BUF_EMPTY, text = BUF_EMPTY;
		char duration[DURATION_TEXT_SIZE];
		bool is_us;

		if (*prefix == '\0' && value_is_str(key, "groups"))
			continue;
		buf_printf(&name, "%s%s", prefix, *prefix != '\0' ? "." : "");
		scalar_text(key, &name);
		is_us = item.type == VALUE_INT && ends_in_us(buf_slice(&name));
		if (item.type == VALUE_MAP) {
			show_map(c, t, buf_text(&name), v);
			goto next;
		}
		if (is_us)
			name.len -= 3;
		if (is_us && item.i > DATE_US) {
			since_text(v, &text);
		} else if (is_us) {
			duration_text((double)item.i / 1e6, duration);
			buf_add_text(&text, duration);
		} else if (item.type == VALUE_ARRAY) {
			struct cursor e = cursor_of(v);

			cursor_next(&e);
			for (uint32_t i = 0; i < item.count; i++) {
				struct slice element = cursor_value(&e);

				buf_add_text(&text, i > 0 ? ", " : "");
				if (value_type(element) == VALUE_MAP ||
				    value_type(element) == VALUE_ARRAY)
					json_write(element, &text);
				else
					scalar_text(element, &text);
			}
		} else {
			scalar_text(v, &text);
		}
		table_add(t, buf_text(&name));
		table_add(t, buf_text(&text));
	next:
		buf_fini(&name);
		buf_fini(&text);
	}
}

/* What is wrong, when processes do not start. */
static void
show_degraded(const struct ctl *c, struct slice degraded)
{
	struct slice lines = member(degraded, "last_output"), one;
	struct buf line = BUF_EMPTY;

	if (value_type(degraded) != VALUE_MAP)
		return;
	scalar_text(member(degraded, "reason"), &line);
	buf_add_text(&line, ", since ");
	since_text(member(degraded, "since_us"), &line);
	out_field(c, "Degraded", "%s", buf_text(&line));
	for (uint32_t n = 0;
	     value_type(lines) == VALUE_ARRAY && value_at(lines, n, &one);
	     n++) {
		line.len = 0;
		scalar_text(one, &line);
		out_field(c, "Output", "%s", buf_text(&line));
	}
	buf_fini(&line);
}

static void
show_status(const struct ctl *c, struct slice reply)
{
	static const char *const headings[] = { "FLUSHER", "" };
	struct buf line = BUF_EMPTY;
	struct slice flusher = member(reply, "flusher");
	struct slice dev = member(reply, "dev");
	struct item left_out = value_item(member(reply, "left_out"));

	buf_add_text(&line, "rappeld ");
	scalar_text(member(reply, "version"), &line);
	buf_add_text(&line, ", pid ");
	scalar_text(member(reply, "pid"), &line);
	out_field(c, "Daemon", "%s", buf_text(&line));
	line.len = 0;
	scalar_text(member(reply, "phase"), &line);
	buf_add_text(&line, " since ");
	since_text(member(reply, "since_us"), &line);
	out_field(c, "Phase", "%s", buf_text(&line));
	show_degraded(c, member(reply, "degraded"));
	line.len = 0;
	scalar_text(member(reply, "dir"), &line);
	if (value_type(dev) == VALUE_BOOL && value_item(dev).b)
		buf_add_text(&line, " (development: a private PostgreSQL)");
	out_field(c, "Directory", "%s", buf_text(&line));
	buf_fini(&line);
	show_groups(c, member(reply, "groups"), flusher);
	show_processes(c, member(reply, "processes"));
	if (left_out.type == VALUE_INT && left_out.i > 0)
		out_line("… and %" PRId64 " more workers", left_out.i);
	putchar('\n');
	if (value_type(flusher) == VALUE_MAP) {
		struct table *t = table_create(2);

		show_map(c, t, "", flusher);
		table_print(c, t, headings);
		table_destroy(&t);
	} else {
		out_line("The flusher has not said anything yet.");
	}
}

int
cmd_status(struct ctl *c)
{
	struct buf reply = BUF_EMPTY;
	struct json_out j = JSON_OUT_EMPTY;
	int rc = control_ask(c, "status", ANSWER_US, &reply);

	if (rc != CTL_OK)
		return rc;
	if (out_is_json(c)) {
		write_value(&j, NULL, buf_slice(&reply));
		out_json(&j);
	} else {
		show_status(c, buf_slice(&reply));
	}
	buf_fini(&reply);
	return CTL_OK;
}

int
cmd_ping(struct ctl *c)
{
	uint64_t began_us = clock_mono_us();
	int rc = control_ask(c, "ping", ANSWER_US, NULL);
	double took_s = (double)(clock_mono_us() - began_us) / 1e6;
	char text[DURATION_TEXT_SIZE];

	if (rc != CTL_OK)
		return rc;
	duration_text(took_s, text);
	if (out_is_json(c))
		out_line("{\"ok\":true,\"seconds\":%.6f}", took_s);
	else
		note(c, "the daemon answers (%s)", text);
	return CTL_OK;
}

/* ---- stop and drain ---- */

/* Sends the verb; with now, without grace. */
static int
send_stop(struct control *k, const char *verb, bool now, struct buf *reply)
{
	struct buf request = BUF_EMPTY;
	int rc;

	value_pack_map(&request, now ? 2 : 1);
	value_pack_text(&request, "verb");
	value_pack_text(&request, verb);
	if (now) {
		value_pack_text(&request, "now");
		value_pack_bool(&request, true);
	}
	rc = control_request(k, buf_slice(&request), ANSWER_US, reply);
	buf_fini(&request);
	return rc;
}

int
cmd_stop(struct ctl *c)
{
	uint64_t timeout_us = 0;
	struct control *k;
	int rc = option_duration(c, OPTION_TIMEOUT, &timeout_us);

	if (rc == CTL_OK)
		rc = control_open(c, &k);
	if (rc != CTL_OK)
		return rc;
	interrupt_watch();
	rc = send_stop(k, "stop", given(c, OPTION_NOW), NULL);
	if (rc != CTL_OK)
		goto out;
	detail(c, "the daemon in %s is stopping", control_dir(k));
	rc = control_wait_gone(
	    k, timeout_us == 0 ? UINT64_MAX : clock_mono_us() + timeout_us);
	if (rc != CTL_OK) {
		complain("%s: the daemon in %s is still stopping",
			 rc == CTL_TIMEOUT ? "timeout" : "interrupted",
			 control_dir(k));
		advise("Hurry it: rappelctl stop --now");
	} else if (out_is_json(c)) {
		out_line("{\"stopped\":true}");
	} else {
		note(c, "the daemon in %s has stopped", control_dir(k));
	}
out:
	control_close(&k);
	return rc;
}

int
cmd_drain(struct ctl *c)
{
	struct buf reply = BUF_EMPTY, phase = BUF_EMPTY;
	struct json_out j = JSON_OUT_EMPTY;
	struct control *k;
	int rc = control_open(c, &k);

	if (rc != CTL_OK)
		return rc;
	rc = send_stop(k, "drain", false, &reply);
	if (rc == CTL_OK && out_is_json(c)) {
		write_value(&j, NULL, buf_slice(&reply));
		out_json(&j);
	} else if (rc == CTL_OK) {
		scalar_text(member(buf_slice(&reply), "phase"), &phase);
		note(c, "the daemon in %s: %s; end it with: rappelctl stop",
		     control_dir(k), buf_text(&phase));
	}
	buf_fini(&reply);
	buf_fini(&phase);
	control_close(&k);
	return rc;
}
