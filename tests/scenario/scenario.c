/*
 * scenario - runs files of scenarios: a definition, what happens to an
 * instance of it, and the effects that this must have, as text.
 *
 *   scenario NAME          begins one; a file holds many
 *   definition {           JSON up to a line that is just "}"
 *   input JSON             {} if not given
 *   limit BYTES            value_bytes_max
 *   start                  creates the instance
 *   at SECONDS             since the start; for the events that follow
 *   succeeded ID ATTEMPT JSON
 *   failed ID ATTEMPT ERROR CAUSE…
 *   lost ID ATTEMPT ERROR CAUSE…
 *   fired ID
 *   cancel CAUSE…
 *   stale EVENT…           the event must be refused
 *   wanted                 lists what is wanted, as after a replay
 *   path STATE…            the states entered so far
 *   > EFFECT…              what the command before must give, in order
 *
 * An effect is compared as text; one that ends in "*" need only begin so:
 *
 *   action ID STATE attempt=N [index=N] [at=S] [timeout=S] [heartbeat=S]
 *       input=JSON          (on one line)
 *   action ID gone          it was abandoned before anybody could look
 *   timer ID at=S
 *   abandon ID
 *   end succeeded output=JSON
 *   end STATUS error=NAME cause=TEXT
 *
 * After every event the instance is rebuilt from all events so far and must
 * want the same. Exits 1 when anything differs.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/mem.h"
#include "engine/instance.h"

/* 2026-01-14T12:00:00Z */
#define START_US INT64_C(1768392000000000)
#define EVENTS_MAX 512

struct scenario {
	const char *file;
	int line;
	char *name;
	bool failed;
	struct definition *definition;
	struct buf input;
	uint64_t limit;
	struct instance *instance;
	struct effects effects;
	uint32_t compared; /* effects that were expected so far */
	struct buf path;
	int64_t now_us;
	struct event events[EVENTS_MAX];
	char *texts[EVENTS_MAX]; /* what events borrow */
	struct buf values[EVENTS_MAX];
	uint32_t event_count;
};

static int failures;

static void __attribute__((format(printf, 2, 3)))
fail(struct scenario *s, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "%s:%d: %s: ", s->file, s->line,
		s->name != NULL ? s->name : "?");
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	s->failed = true;
	failures++;
}

static void
trace_cb(void *arg, uint32_t state_no, uint32_t activation)
{
	struct scenario *s = arg;
	struct slice name = definition_state_name(s->definition, state_no);

	(void)activation;
	if (s->path.len > 0)
		buf_add_byte(&s->path, ' ');
	buf_add(&s->path, name.data, name.len);
}

/* Seconds since the start, without needless digits. */
static void
add_seconds(struct buf *to, const char *key, int64_t us)
{
	buf_printf(to, " %s=%lld", key, (long long)(us / 1000000));
	if (us % 1000000 != 0)
		buf_printf(to, ".%06lld", (long long)llabs(us % 1000000));
}

static void
action_text(const struct scenario *s, uint32_t id, struct buf *to)
{
	struct action_view a;
	struct slice name;

	buf_printf(to, "action %u ", id);
	if (!instance_action(s->instance, id, &a)) {
		buf_add_text(to, "gone");
		return;
	}
	name = definition_state_name(s->definition, a.state_no);
	buf_add(to, name.data, name.len);
	buf_printf(to, " attempt=%u", a.attempt);
	if (a.has_index)
		buf_printf(to, " index=%u", a.index);
	if (a.not_before_us != 0)
		add_seconds(to, "at", a.not_before_us - START_US);
	if (a.timeout_us != 0)
		add_seconds(to, "timeout", (int64_t)a.timeout_us);
	if (a.heartbeat_us != 0)
		add_seconds(to, "heartbeat", (int64_t)a.heartbeat_us);
	buf_add_text(to, " input=");
	json_write(a.input->s, to);
}

static void
end_text(const struct scenario *s, struct buf *to)
{
	struct end_view end;

	instance_end(s->instance, &end);
	buf_printf(to, "end %s", instance_status_name(end.status));
	if (end.output != NULL) {
		buf_add_text(to, " output=");
		json_write(end.output->s, to);
		return;
	}
	buf_add_text(to, " error=");
	buf_add(to, end.error.data, end.error.len);
	buf_add_text(to, " cause=");
	buf_add(to, end.cause.data, end.cause.len);
}

static void
effect_text(const struct scenario *s, const struct effect *e, struct buf *to)
{
	struct pending_view pending;
	int64_t due_us;

	switch (e->kind) {
	case EFFECT_ACTION:
		action_text(s, e->activation, to);
		break;
	case EFFECT_TIMER:
		buf_printf(to, "timer %u", e->activation);
		if (instance_timer(s->instance, e->activation, &due_us))
			add_seconds(to, "at", due_us - START_US);
		else
			buf_add_text(to, " gone");
		break;
	case EFFECT_PENDING:
		buf_printf(to, "pending %u", e->activation);
		if (!instance_pending(s->instance, e->activation, &pending))
			buf_add_text(to, " gone");
		else if (pending.due_us != 0)
			add_seconds(to, "until", pending.due_us - START_US);
		break;
	case EFFECT_ABANDON:
		buf_printf(to, "abandon %u", e->activation);
		break;
	case EFFECT_END:
		end_text(s, to);
		break;
	}
}

static bool
text_fits(const char *actual, const char *expected)
{
	size_t len = strlen(expected);

	if (len > 0 && expected[len - 1] == '*')
		return strncmp(actual, expected, len - 1) == 0;
	return strcmp(actual, expected) == 0;
}

/* What the last command gave must all have been expected. */
static void
check_compared(struct scenario *s)
{
	for (; s->compared < s->effects.count; s->compared++) {
		struct buf text = BUF_EMPTY;

		effect_text(s, &s->effects.list[s->compared], &text);
		fail(s, "not expected before here: %s", buf_text(&text));
		buf_fini(&text);
	}
	effects_clear(&s->effects);
	s->compared = 0;
}

static void
expect(struct scenario *s, const char *expected)
{
	struct buf text = BUF_EMPTY;

	if (s->compared == s->effects.count) {
		fail(s, "there is no such effect: %s", expected);
		return;
	}
	effect_text(s, &s->effects.list[s->compared++], &text);
	if (!text_fits(buf_text(&text), expected))
		fail(s, "expected %s\n    but it was %s", expected,
		     buf_text(&text));
	buf_fini(&text);
}

/* ---- the instance ---- */

static void
json_into(struct scenario *s, const char *text, struct buf *out)
{
	struct error err;

	error_clear(&err);
	if (json_parse(text, strlen(text), VALUE_DEPTH_MAX, out, NULL, &err) !=
	    0)
		fail(s, "bad JSON: %s", err.message);
}

static struct instance *
create(struct scenario *s, bool traced, struct effects *out)
{
	struct instance_options options = {
		.id = { { 1, 2, 3, 4, 5, 6, 0x70, 8, 0x90, 10, 11, 12, 13, 14,
			  15, 16 } },
		.workflow = slice_of("flow"),
		.name = slice_of("run"),
		.started_at_us = START_US,
		.input = buf_slice(&s->input),
		.value_bytes_max = s->limit,
		.trace = traced ? trace_cb : NULL,
		.trace_arg = s,
	};

	return instance_create(s->definition, &options, out);
}

static void
wanted_text(const struct scenario *s, struct buf *to)
{
	struct effects wanted = { NULL, 0, 0 };

	instance_wanted(s->instance, &wanted);
	for (uint32_t n = 0; n < wanted.count; n++) {
		effect_text(s, &wanted.list[n], to);
		buf_add_byte(to, '\n');
	}
	effects_fini(&wanted);
}

/* State is the fold of all events: build it again and compare. */
static void
check_replay(struct scenario *s)
{
	struct instance *live = s->instance;
	struct effects ignored = { NULL, 0, 0 };
	struct buf now = BUF_EMPTY;
	struct buf again = BUF_EMPTY;

	wanted_text(s, &now);
	s->instance = create(s, false, &ignored);
	for (uint32_t n = 0; n < s->event_count; n++) {
		if (instance_apply(s->instance, &s->events[n], &ignored) != 0)
			fail(s, "event %u is refused in the replay", n + 1);
	}
	wanted_text(s, &again);
	if (strcmp(buf_text(&now), buf_text(&again)) != 0)
		fail(s, "a replay wants\n%sinstead of\n%s", buf_text(&again),
		     buf_text(&now));
	instance_destroy(&s->instance);
	s->instance = live;
	effects_fini(&ignored);
	buf_fini(&now);
	buf_fini(&again);
}

/* ---- commands ---- */

static void
start(struct scenario *s)
{
	if (s->definition == NULL) {
		fail(s, "there is no definition");
		return;
	}
	if (s->input.len == 0)
		value_pack_map(&s->input, 0);
	s->instance = create(s, true, &s->effects);
	check_replay(s);
}

/* The next word of *at, which moves behind it; "" at the end. */
static char *
word(char **at)
{
	char *begin = *at + strspn(*at, " ");
	char *end = begin + strcspn(begin, " ");

	*at = end;
	if (*end != '\0') {
		*end = '\0';
		*at = end + 1;
	}
	return begin;
}

static uint32_t
number(char **at)
{
	return (uint32_t)strtoul(word(at), NULL, 10);
}

static void
event(struct scenario *s, const char *line, bool stale)
{
	struct event e = { .at_us = s->now_us };
	uint32_t no = s->event_count;
	char *at;
	char *kind;
	int rc;

	if (s->instance == NULL || no == EVENTS_MAX) {
		fail(s, "no instance, or too many events");
		return;
	}
	free(s->texts[no]);
	s->texts[no] = at = mem_strdup(line);
	s->values[no].len = 0;
	kind = word(&at);
	if (strcmp(kind, "succeeded") == 0) {
		e.kind = EVENT_SUCCEEDED;
		e.activation = number(&at);
		e.attempt = number(&at);
		json_into(s, at, &s->values[no]);
		e.value = buf_slice(&s->values[no]);
	} else if (strcmp(kind, "failed") == 0 || strcmp(kind, "lost") == 0) {
		e.kind = kind[0] == 'f' ? EVENT_FAILED : EVENT_LOST;
		e.activation = number(&at);
		e.attempt = number(&at);
		e.error = slice_of(word(&at));
		e.cause = slice_of(at);
	} else if (strcmp(kind, "failed-as") == 0) {
		e.kind = EVENT_FAILED;
		e.activation = number(&at);
		e.attempt = number(&at);
		e.error = slice_of(word(&at));
		json_into(s, at, &s->values[no]);
		e.extra = buf_slice(&s->values[no]);
	} else if (strcmp(kind, "pending") == 0) {
		e.kind = EVENT_PENDING;
		e.activation = number(&at);
		e.attempt = number(&at);
		e.run_us = (uint64_t)(strtod(word(&at), NULL) * 1e6);
	} else if (strcmp(kind, "heartbeat") == 0) {
		e.kind = EVENT_HEARTBEAT;
		e.activation = number(&at);
		e.attempt = number(&at);
	} else if (strcmp(kind, "fired") == 0) {
		e.kind = EVENT_FIRED;
		e.activation = number(&at);
		e.attempt = number(&at); /* none: 0 */
	} else if (strcmp(kind, "cancel") == 0) {
		e.kind = EVENT_CANCEL;
		e.cause = slice_of(at);
	} else {
		fail(s, "unknown command: %s", line);
		return;
	}
	if (s->failed && e.kind == EVENT_SUCCEEDED && e.value.len == 0)
		return;
	rc = instance_apply(s->instance, &e, &s->effects);
	if (rc != (stale ? -ESTALE : 0))
		fail(s, "the event gave %d", rc);
	if (rc != 0)
		return;
	s->events[s->event_count++] = e;
	check_replay(s);
}

static void
command(struct scenario *s, char *line)
{
	char *at = line;

	if (line[0] == '>') {
		expect(s, line + 1 + strspn(line + 1, " "));
		return;
	}
	check_compared(s);
	if (strncmp(line, "input ", 6) == 0) {
		s->input.len = 0;
		json_into(s, line + 6, &s->input);
	} else if (strncmp(line, "limit ", 6) == 0) {
		s->limit = strtoull(line + 6, NULL, 10);
	} else if (strcmp(line, "start") == 0) {
		start(s);
	} else if (strncmp(line, "at ", 3) == 0) {
		s->now_us = START_US + (int64_t)(strtod(line + 3, NULL) * 1e6);
	} else if (strncmp(line, "stale ", 6) == 0) {
		event(s, line + 6, true);
	} else if (strcmp(line, "wanted") == 0) {
		instance_wanted(s->instance, &s->effects);
	} else if (strncmp(line, "path ", 5) == 0) {
		if (strcmp(buf_text(&s->path), line + 5) != 0)
			fail(s, "the path was %s", buf_text(&s->path));
	} else {
		event(s, at, false);
	}
}

static void
scenario_begin(struct scenario *s, const char *file, const char *name)
{
	memset(s, 0, sizeof(*s));
	s->file = file;
	s->name = mem_strdup(name);
	s->now_us = START_US;
}

static void
scenario_end(struct scenario *s)
{
	if (s->name == NULL)
		return;
	if (!s->failed)
		check_compared(s);
	instance_destroy(&s->instance);
	definition_unref(&s->definition);
	effects_fini(&s->effects);
	buf_fini(&s->input);
	buf_fini(&s->path);
	for (uint32_t n = 0; n < EVENTS_MAX; n++) {
		free(s->texts[n]);
		buf_fini(&s->values[n]);
	}
	free(s->name);
	s->name = NULL;
}

static void
define(struct scenario *s, struct buf *text)
{
	struct definition_report report;
	char place[512];

	s->definition =
	    definition_parse((const char *)text->data, text->len, &report);
	for (uint32_t n = 0; n < report.count; n++) {
		error_text(&report.errors[n], place, sizeof(place));
		fail(s, "definition: %s", place);
	}
	text->len = 0;
}

static void
run_file(const char *file)
{
	static struct scenario s;
	struct buf definition = BUF_EMPTY;
	bool defining = false;
	FILE *f = fopen(file, "r");
	char *line = NULL;
	size_t cap = 0;
	ssize_t len;
	int no = 0;

	if (f == NULL) {
		fprintf(stderr, "%s: %s\n", file, strerror(errno));
		failures++;
		return;
	}
	while ((len = getline(&line, &cap, f)) >= 0) {
		no++;
		if (len > 0 && line[len - 1] == '\n')
			line[--len] = '\0';
		s.line = no;
		if (defining) {
			buf_add(&definition, line, (size_t)len);
			buf_add_byte(&definition, '\n');
			defining = strcmp(line, "}") != 0;
			if (!defining)
				define(&s, &definition);
		} else if (line[0] == '#' || line[0] == '\0') {
			continue;
		} else if (strncmp(line, "scenario ", 9) == 0) {
			scenario_end(&s);
			scenario_begin(&s, file, line + 9);
			s.line = no;
		} else if (s.name == NULL) {
			fail(&s, "a command before any scenario");
		} else if (strcmp(line, "definition {") == 0) {
			buf_add_text(&definition, "{\n");
			defining = true;
		} else if (!s.failed) {
			command(&s, line);
		}
	}
	scenario_end(&s);
	buf_fini(&definition);
	free(line);
	fclose(f);
}

int
main(int argc, char **argv)
{
	for (int n = 1; n < argc; n++)
		run_file(argv[n]);
	return failures > 0;
}
