/*
 * probe - a plugin whose actions do what a test asks for: everything that
 * <rappel/action.h> offers, and everything that it refuses.
 */
#include <rappel/action.h>

#include <math.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void
put_pair_text(struct rappel_task *t, const char *key, const char *text)
{
	rappel_put_string(t, key);
	rappel_put_string(t, text);
}

static bool
is(struct rappel_task *t, struct rappel_value v, const char *text)
{
	struct rappel_text found;

	return rappel_string(t, v, &found) && found.len == strlen(text) &&
	       memcmp(found.data, text, found.len) == 0;
}

/* ---- values through every way ---- */

/* Piece by piece; with open arrays and maps their number is not told. */
static void
rebuild(struct rappel_task *t, struct rappel_value v, bool open)
{
	uint32_t count = open ? RAPPEL_OPEN : rappel_count(t, v);
	struct rappel_text text = { NULL, 0 };
	struct rappel_value part;
	struct rappel_cursor c;
	uint64_t u;
	int64_t i;
	double d;
	bool b;

	switch (rappel_type(t, v)) {
	case RAPPEL_NULL:
		rappel_put_null(t);
		break;
	case RAPPEL_BOOL:
		if (rappel_bool(t, v, &b))
			rappel_put_bool(t, b);
		break;
	case RAPPEL_INT:
		if (rappel_int(t, v, &i))
			rappel_put_int(t, i);
		break;
	case RAPPEL_UINT:
		if (rappel_uint(t, v, &u))
			rappel_put_uint(t, u);
		break;
	case RAPPEL_DOUBLE:
		if (rappel_double(t, v, &d))
			rappel_put_double(t, d);
		break;
	case RAPPEL_STRING:
		if (rappel_string(t, v, &text))
			rappel_put_text(t, text.data, text.len);
		break;
	case RAPPEL_ARRAY:
	case RAPPEL_MAP:
		if (rappel_type(t, v) == RAPPEL_ARRAY)
			rappel_put_array(t, count);
		else
			rappel_put_map(t, count);
		if (rappel_open(t, v, &c))
			while (rappel_next(t, &c, &text, &part)) {
				if (rappel_type(t, v) == RAPPEL_MAP)
					rappel_put_text(t, text.data, text.len);
				rebuild(t, part, open);
			}
		if (open)
			rappel_put_end(t);
		break;
	case RAPPEL_NONE:
		rappel_fail(t, "Probe.None", "there is no value");
		break;
	}
}

static void
copy_counted(struct rappel_task *t)
{
	rebuild(t, rappel_input(t), false);
}

static void
copy_open(struct rappel_task *t)
{
	rebuild(t, rappel_input(t), true);
}

static void
copy_json(struct rappel_task *t)
{
	size_t len;
	const char *json = rappel_json(t, rappel_input(t), &len);

	rappel_put_json(t, json, len);
}

/* The part under "v", or all of it. */
static void
copy_value(struct rappel_task *t)
{
	struct rappel_value all = rappel_input(t);
	struct rappel_value part = rappel_get(t, all, "v");

	rappel_put_value(t, part.len > 0 ? part : all);
}

static void
within(struct rappel_task *t)
{
	rappel_put_array(t, 2);
	rappel_put_value(t, rappel_input(t));
	rappel_put_value(t, rappel_input(t));
}

/* ---- results that are none ---- */

static void
bad_deep(struct rappel_task *t)
{
	for (int i = 0; i < 33; i++)
		rappel_put_array(t, 1);
}

static void
bad_large(struct rappel_task *t)
{
	char *text = calloc(1, 1 << 16);

	rappel_put_array(t, RAPPEL_OPEN);
	for (int i = 0; i < 17 && text != NULL; i++)
		rappel_put_text(t, text, 1 << 16);
	rappel_put_end(t);
	free(text);
}

/* Both end with a character of two bytes, the first of which would fit. */
static void
fail_at_length(struct rappel_task *t)
{
	static char name[130], cause[32770];

	memset(name, 'x', 127);
	memcpy(name + 127, "\xc3\xa4", 2);
	memset(cause, 'x', 32767);
	memcpy(cause + 32767, "\xc3\xa4", 2);
	rappel_fail(t, name, "%s", cause);
}

static void
bad_place(struct rappel_task *t)
{
	rappel_put_map(t, 2);
	rappel_put_string(t, "good");
	rappel_put_int(t, 1);
	rappel_put_string(t, "list");
	rappel_put_array(t, 3);
	rappel_put_int(t, 1);
	rappel_put_double(t, (double)INFINITY);
}

static void
bad(struct rappel_task *t)
{
	static const uint8_t cut[] = { 0xa5, 'a' };
	struct rappel_value how = rappel_input(t);

	if (is(t, how, "nan"))
		rappel_put_double(t, (double)NAN);
	else if (is(t, how, "place"))
		bad_place(t);
	else if (is(t, how, "utf8"))
		rappel_put_text(t, "a\xff", 2);
	else if (is(t, how, "surrogate"))
		rappel_put_json(t, "\"\\ud800\"", 8);
	else if (is(t, how, "deep"))
		bad_deep(t);
	else if (is(t, how, "large"))
		bad_large(t);
	else if (is(t, how, "short"))
		rappel_put_array(t, 2);
	else if (is(t, how, "open"))
		rappel_put_map(t, RAPPEL_OPEN);
	else if (is(t, how, "second"))
		(rappel_put_int(t, 1), rappel_put_int(t, 2));
	else if (is(t, how, "key"))
		(rappel_put_map(t, 1), rappel_put_int(t, 1));
	else if (is(t, how, "end"))
		rappel_put_end(t);
	else if (is(t, how, "msgpack"))
		rappel_put_value(t, (struct rappel_value){ cut, sizeof(cut) });
	else if (is(t, how, "json"))
		rappel_put_json(t, "{\"a\":", 5);
	else if (is(t, how, "big integer"))
		rappel_put_json(t, "18446744073709551616", 20);
	else if (is(t, how, "no name"))
		rappel_fail(t, "", "%s", "why");
	else if (is(t, how, "bad name"))
		rappel_fail(t, "a\xff" "b", "%s", "\xed");
	else if (is(t, how, "long name"))
		fail_at_length(t);
}

/* ---- the task ---- */

static void
about(struct rappel_task *t)
{
	rappel_put_map(t, 6);
	put_pair_text(t, "action", rappel_action_name(t));
	put_pair_text(t, "run", rappel_run_id(t));
	put_pair_text(t, "key", rappel_key(t));
	put_pair_text(t, "token", rappel_token(t));
	rappel_put_string(t, "attempt");
	rappel_put_uint(t, rappel_attempt(t));
	rappel_put_string(t, "left_us");
	rappel_put_int(t, rappel_left_us(t));
}

/* What is asked of a value that is something else, or not there. */
static void
questions(struct rappel_task *t)
{
	struct rappel_value all = rappel_input(t), none = { NULL, 0 };
	struct rappel_cursor c;
	struct rappel_text text = { NULL, 0 };
	int64_t i = 5;
	uint64_t u = 5;
	double d = 5;
	bool b = true;

	rappel_put_array(t, 13);
	rappel_put_bool(t, rappel_bool(t, all, &b));
	rappel_put_bool(t, rappel_int(t, all, &i));
	rappel_put_bool(t, rappel_uint(t, all, &u));
	rappel_put_bool(t, rappel_double(t, all, &d));
	rappel_put_bool(t, rappel_string(t, all, &text));
	rappel_put_bool(t, rappel_open(t, all, &c));
	rappel_put_uint(t, rappel_count(t, all));
	rappel_put_uint(t, rappel_type(t, rappel_get(t, all, "k")));
	rappel_put_uint(t, rappel_type(t, rappel_at(t, all, 1)));
	rappel_put_uint(t, rappel_type(t, none));
	rappel_put_bool(t, rappel_int(t, none, &i) ||
			       rappel_open(t, none, &c) ||
			       rappel_get(t, none, "k").len > 0 ||
			       rappel_at(t, none, 0).len > 0);
	rappel_put_int(t, i);
	rappel_put_double(t, d);
}

static void
fails(struct rappel_task *t)
{
	rappel_put_string(t, "not this");
	rappel_log(t, RAPPEL_LOG_WARNING, "probe fails code=%d", 7);
	rappel_fail(t, "Probe.Deep", "because of \"%s\" %d", "\xc3\xa4\xff", 7);
	rappel_kind(t, "Probe.Shallow");
	rappel_kind(t, "Probe.Any");
	rappel_usage(t, "figures", 3);
	rappel_usage(t, "others", UINT64_MAX);
}

static void
later(struct rappel_task *t)
{
	rappel_pending(t);
}

/* ---- while it runs ---- */

static void
spin(struct rappel_task *t)
{
	char progress[40];
	int n = 0;

	while (!rappel_cancelled(t)) {
		snprintf(progress, sizeof(progress), "{\"at\":%d}", n);
		if (rappel_heartbeat(t, progress))
			n++;
	}
	rappel_fail(t, "Probe.Cancelled", "after %d", n);
}

/* For what is said on a pipe that nobody writes to, or a while. */
static void
waits(struct rappel_task *t)
{
	int64_t us = -1;
	int fds[2], rc, again;
	struct pollfd p = { .events = POLLIN };

	(void)rappel_int(t, rappel_get(t, rappel_input(t), "us"), &us);
	if (pipe(fds) != 0)
		return;
	p.fd = fds[0];
	if (rappel_get(t, rappel_input(t), "write").len > 0 &&
	    write(fds[1], "x", 1) != 1)
		us = 0;
	rc = rappel_wait(t, &p, 1, us);
	if (rappel_wait(t, &p, RAPPEL_WAIT_FDS_MAX + 1, 0) != RAPPEL_REFUSED)
		rc = 99;
	/* Cancelled once: what is still to be done can be waited for. */
	again = rappel_wait(t, NULL, 0, 1000);
	rappel_put_array(t, 4);
	rappel_put_int(t, rc);
	rappel_put_bool(t, (p.revents & POLLIN) != 0);
	rappel_put_int(t, again);
	rappel_put_bool(t, rappel_cancelled(t));
	close(fds[0]);
	close(fds[1]);
}

static void
heartbeats(struct rappel_task *t)
{
	static char big[5000];

	memset(big, '1', sizeof(big) - 1);
	big[0] = big[sizeof(big) - 2] = '"';
	(void)rappel_heartbeat(t, "{");
	(void)rappel_wait(t, NULL, 0, 150000);
	(void)rappel_heartbeat(t, big);
	(void)rappel_wait(t, NULL, 0, 150000);
	rappel_put_array(t, 2);
	rappel_put_bool(t, rappel_heartbeat(t, NULL));
	rappel_put_bool(t, rappel_heartbeat(t, NULL));
}

/* Its first attempt takes the process along. */
static void
crash(struct rappel_task *t)
{
	/* As in a program without sanitizers, which have a say in it. */
	signal(SIGSEGV, SIG_DFL);
	if (rappel_attempt(t) == 1)
		raise(SIGSEGV);
	rappel_put_uint(t, rappel_attempt(t));
}

static void
nothing(struct rappel_task *t)
{
	(void)t;
}

static int
set_up(const struct rappel_api *api, char *why, size_t why_size)
{
	if (getenv("PROBE_REFUSES") != NULL) {
		snprintf(why, why_size, "no device\n\"%s\"",
			 getenv("PROBE_REFUSES"));
		return 3;
	}
	api->log(NULL, RAPPEL_LOG_INFO, "probe is set up abi=%u", api->abi);
	return 0;
}

static void
tear_down(void)
{
	fputs("probe is torn down\n", stderr);
}

static const struct rappel_action actions[] = {
	{ "probe-counted", copy_counted, 0 },
	{ "probe-open", copy_open, 0 },
	{ "probe-json", copy_json, 0 },
	{ "probe-value", copy_value, 0 },
	{ "probe-within", within, 0 },
	{ "probe-bad", bad, 0 },
	{ "probe-about", about, 0 },
	{ "probe-questions", questions, 0 },
	{ "probe-fails", fails, 0 },
	{ "probe-later", later, 0 },
	{ "probe-spin", spin, RAPPEL_SLOW },
	{ "probe-waits", waits, 0 },
	{ "probe-heartbeats", heartbeats, 0 },
	{ "probe-crash", crash, 0 },
	{ "probe-nothing", nothing, 0 },
};

RAPPEL_PLUGIN_WITH("probe", actions, set_up, tear_down);
