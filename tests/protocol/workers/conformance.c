/*
 * conformance - the actions of ../README.md as a plugin for rappel-worker.
 *
 * echo, sleep and fail are the worker's own.
 */
#include <rappel/action.h>

#include <float.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PLANES \
	"\xc3\xa9 \xe2\x82\xac\0\x1f\x7f\xc2\x85\xe2\x80\xa8\xed\x9f\xbf" \
	"\xee\x80\x80\xef\xbb\xbf\xef\xbf\xbd\xef\xbf\xbf\xf0\x90\x80\x80" \
	"\xf0\x9f\x98\x80\xf3\xbf\xbf\xbf\xf4\x8f\xbf\xbf"
#define HEX "0123456789abcdef"

/* The text under key, ended by NUL, for the caller to free. */
static char *
text_of(struct rappel_task *t, const char *key)
{
	struct rappel_text text = { "", 0 };
	char *copy;

	(void)rappel_string(t, rappel_get(t, rappel_input(t), key), &text);
	copy = malloc(text.len + 1);
	if (copy == NULL)
		abort();
	memcpy(copy, text.data, text.len);
	copy[text.len] = '\0';
	return copy;
}

static int64_t
number_of(struct rappel_task *t, const char *key, int64_t otherwise)
{
	(void)rappel_int(t, rappel_get(t, rappel_input(t), key), &otherwise);
	return otherwise;
}

static void
put_arrays(struct rappel_task *t, int depth)
{
	for (int i = 1; i < depth; i++)
		rappel_put_array(t, 1);
	rappel_put_array(t, 0);
}

static void
put_repeated(struct rappel_task *t, const char *what, size_t times)
{
	size_t len = strlen(what);
	char *text = malloc(len * times);

	if (text == NULL)
		abort();
	for (size_t i = 0; i < times; i++)
		memcpy(text + i * len, what, len);
	rappel_put_text(t, text, len * times);
	free(text);
}

static void
value_run(struct rappel_task *t)
{
	static const struct {
		const char *name, *json;
	} texts[] = {
		{ "null", "null" },
		{ "true", "true" },
		{ "false", "false" },
		{ "zero", "0" },
		{ "minus_one", "-1" },
		{ "int53", "9007199254740993" },
		{ "empty_text", "\"\"" },
		{ "nul", "\"a\\u0000b\"" },
		{ "empty_array", "[]" },
		{ "empty_map", "{}" },
		{ "nested", "{\"b\": [1, {\"c\": [], \"a\": {}}, \"x\"], "
		            "\"a\": null, \"\": true}" },
	};
	static const struct {
		const char *name;
		double value;
	} doubles[] = {
		{ "minus_zero", -0.0 },     { "tenth", 0.1 },
		{ "third", 1.0 / 3.0 },     { "subnormal", 5e-324 },
		{ "huge", 1e308 },          { "largest", DBL_MAX },
	};
	char *name = text_of(t, "name");

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		if (strcmp(name, texts[i].name) == 0)
			rappel_put_json(t, texts[i].json,
			                strlen(texts[i].json));
	}
	for (size_t i = 0; i < sizeof(doubles) / sizeof(doubles[0]); i++) {
		if (strcmp(name, doubles[i].name) == 0)
			rappel_put_double(t, doubles[i].value);
	}
	if (strcmp(name, "int64_max") == 0)
		rappel_put_int(t, INT64_MAX);
	else if (strcmp(name, "int64_min") == 0)
		rappel_put_int(t, INT64_MIN);
	else if (strcmp(name, "uint64_max") == 0)
		rappel_put_uint(t, UINT64_MAX);
	else if (strcmp(name, "planes") == 0)
		rappel_put_text(t, PLANES, sizeof(PLANES) - 1);
	else if (strcmp(name, "deep") == 0)
		put_arrays(t, 32);
	else if (strcmp(name, "text200k") == 0)
		put_repeated(t, HEX, 12800);
	else if (strcmp(name, "largest_text") == 0)
		put_repeated(t, "x", 1048571);
	free(name);
}

static void
bad_run(struct rappel_task *t)
{
	static const uint8_t binary[] = { 0xc4, 1, 'b' };
	static const char above[] = "18446744073709551616";
	static const char below[] = "-9223372036854775809";
	char *what = text_of(t, "what");

	if (strcmp(what, "nan") == 0) {
		rappel_put_double(t, NAN);
	} else if (strcmp(what, "infinity") == 0) {
		rappel_put_double(t, INFINITY);
	} else if (strcmp(what, "minus_infinity") == 0) {
		rappel_put_double(t, -INFINITY);
	} else if (strcmp(what, "binary") == 0) {
		rappel_put_value(t, (struct rappel_value){ binary,
		                                           sizeof(binary) });
	} else if (strcmp(what, "int_too_large") == 0) {
		rappel_put_json(t, above, sizeof(above) - 1);
	} else if (strcmp(what, "int_too_small") == 0) {
		rappel_put_json(t, below, sizeof(below) - 1);
	} else if (strcmp(what, "too_deep") == 0) {
		put_arrays(t, 33);
	} else if (strcmp(what, "key_no_text") == 0) {
		rappel_put_map(t, 1);
		rappel_put_int(t, 1);
		rappel_put_string(t, "one");
	} else if (strcmp(what, "lone_surrogate") == 0) {
		rappel_put_string(t, "\xff");
	} else if (strcmp(what, "within") == 0) {
		rappel_put_map(t, 1);
		rappel_put_string(t, "a");
		rappel_put_array(t, 1);
		rappel_put_double(t, NAN);
	} else if (strcmp(what, "too_large") == 0) {
		put_repeated(t, "x", 1048572);
	} else if (strcmp(what, "error_not_text") == 0) {
		rappel_fail(t, "Not\xffText", "%s", "a cause\xff");
	} else if (strcmp(what, "object") == 0 || strcmp(what, "cyclic") == 0) {
		rappel_fail(t, "Fixture.NotExpressible", "%s", what);
	} else {
		rappel_fail(t, "Fixture.UnknownName", "%s", what);
	}
	free(what);
}

static void
beat_run(struct rappel_task *t)
{
	int64_t times = number_of(t, "times", 0), ms = number_of(t, "ms", 0);
	int64_t bytes = number_of(t, "bytes", -1);
	size_t size = bytes < 0 ? 64 : (size_t)bytes + 3;
	char *json = malloc(size);

	if (json == NULL)
		abort();
	memset(json, 'x', size);
	json[0] = json[size - 2] = '"';
	json[size - 1] = '\0';
	for (int64_t n = 1; n <= times; n++) {
		if (bytes < 0)
			snprintf(json, size, "{\"n\": %lld}", (long long)n);
		(void)rappel_heartbeat(t, json);
		if (ms > 0)
			(void)rappel_wait(t, NULL, 0, ms * 1000);
	}
	free(json);
	rappel_put_map(t, 1);
	rappel_put_string(t, "beats");
	rappel_put_int(t, times);
}

static void
until_cancelled_run(struct rappel_task *t)
{
	if (rappel_wait(t, NULL, 0, 20000000) != RAPPEL_CANCELLED) {
		rappel_fail(t, "Fixture.NotCancelled", "%s", "for 20 s");
		return;
	}
	puts("until_cancelled: cancelled");
	fflush(stdout);
	rappel_fail(t, "Rappel.Cancelled", "%s", "nobody wants it any more");
}

static void
later_run(struct rappel_task *t)
{
	rappel_pending(t);
}

static void
crash_run(struct rappel_task *t)
{
	(void)t;
	kill(getpid(), SIGKILL);
}

static void
chatty_run(struct rappel_task *t)
{
	int64_t lines = number_of(t, "lines", 1);
	struct rappel_text text = { "", 0 };

	(void)rappel_string(t, rappel_get(t, rappel_input(t), "text"), &text);
	for (int64_t i = 0; i < lines; i++) {
		fwrite(text.data, 1, text.len, stdout);
		putchar('\n');
		fflush(stdout);
		fputs("err: ", stderr);
		fwrite(text.data, 1, text.len, stderr);
		fputc('\n', stderr);
	}
	rappel_put_map(t, 1);
	rappel_put_string(t, "lines");
	rappel_put_int(t, lines);
}

static int64_t
now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void
block_run(struct rappel_task *t)
{
	int64_t until = now_ms() + number_of(t, "ms", 0);

	while (now_ms() < until)
		;
	rappel_put_value(t, rappel_input(t));
}

static void
whoami_run(struct rappel_task *t)
{
	const char *key = rappel_key(t), *dot = strrchr(key, '.');
	int64_t left_us = rappel_left_us(t);

	rappel_put_map(t, 6);
	rappel_put_string(t, "instance");
	rappel_put_string(t, rappel_run_id(t));
	/* There is no function for it; the key has it behind the instance. */
	rappel_put_string(t, "activation");
	rappel_put_int(t, dot != NULL ? strtoll(dot + 1, NULL, 10) : -1);
	rappel_put_string(t, "attempt");
	rappel_put_uint(t, rappel_attempt(t));
	rappel_put_string(t, "token");
	rappel_put_string(t, rappel_token(t));
	rappel_put_string(t, "key");
	rappel_put_string(t, key);
	rappel_put_string(t, "remaining_ms");
	if (left_us == RAPPEL_NO_DEADLINE)
		rappel_put_null(t);
	else
		rappel_put_int(t, left_us / 1000);
}

static void
raise_subclass_run(struct rappel_task *t)
{
	int64_t levels = number_of(t, "levels", 0);
	char name[32];

	rappel_fail(t, "Level0", "%s", "raised on purpose");
	for (int64_t level = 1; level <= levels; level++) {
		snprintf(name, sizeof(name), "Level%lld", (long long)level);
		rappel_kind(t, name);
	}
}

static void
descriptors_run(struct rappel_task *t)
{
	char listing[16384];
	FILE *program = popen("ls -l /proc/self/fd", "re");
	size_t len;

	if (program == NULL) {
		rappel_fail(t, "Fixture.NotStarted", "%s", "ls");
		return;
	}
	len = fread(listing, 1, sizeof(listing), program);
	pclose(program);
	rappel_put_text(t, listing, len);
}

static const struct rappel_action actions[] = {
	{ "value", value_run, 0 },
	{ "bad", bad_run, 0 },
	{ "beat", beat_run, RAPPEL_SLOW },
	{ "until_cancelled", until_cancelled_run, RAPPEL_SLOW },
	{ "later", later_run, 0 },
	{ "crash", crash_run, RAPPEL_SLOW },
	{ "chatty", chatty_run, RAPPEL_SLOW },
	{ "block", block_run, RAPPEL_SLOW },
	{ "whoami", whoami_run, 0 },
	{ "raise_subclass", raise_subclass_run, 0 },
	{ "descriptors", descriptors_run, RAPPEL_SLOW },
};
RAPPEL_PLUGIN("conformance", actions);
