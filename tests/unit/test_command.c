/* Tests of worker/command_input.h, command_result.h and text.h: what a
 * "command" action asks for, and what becomes of how its program ended. */
#include <signal.h>
#include <string.h>

#include "common/json.h"
#include "common/value.h"
#include "tests/unit/unit.h"
#include "worker/command_input.h"
#include "worker/command_result.h"
#include "worker/text.h"

#define EXITED(code) ((code) << 8)

static void
parse(const char *json, struct buf *out)
{
	struct error err = { 0 };

	ck_assert_msg(json_parse(json, strlen(json), VALUE_DEPTH_MAX, out, NULL,
	                         &err) == 0,
	              "%s: %s", json, err.message);
}

static const struct {
	const char *name;
	const char *input;
	uint32_t argc; /* 0: refused */
	const char *last;  /* argument */
	const char *feed;
	enum command_output output;
} inputs[] = {
	{ "nothing", "null", 0, NULL, NULL, OUTPUT_JSON },
	{ "no command", "{}", 0, NULL, NULL, OUTPUT_JSON },
	{ "a string", "{\"command\":\"ls -l\"}", 0, NULL, NULL, OUTPUT_JSON },
	{ "an empty one", "{\"command\":[]}", 0, NULL, NULL, OUTPUT_JSON },
	{ "no name", "{\"command\":[\"\"]}", 0, NULL, NULL, OUTPUT_JSON },
	{ "NUL", "{\"command\":[\"a\\u0000\"]}", 0, NULL, NULL, OUTPUT_JSON },
	{ "an array within", "{\"command\":[\"a\",[]]}", 0, NULL, NULL,
	  OUTPUT_JSON },
	{ "null within", "{\"command\":[\"a\",null]}", 0, NULL, NULL,
	  OUTPUT_JSON },
	{ "unknown output", "{\"command\":[\"a\"],\"output\":\"xml\"}", 0, NULL,
	  NULL, OUTPUT_JSON },
	{ "an env of strings", "{\"command\":[\"a\"],\"env\":[\"A=1\"]}", 0,
	  NULL, NULL, OUTPUT_JSON },
	{ "a folder that is a number", "{\"command\":[\"a\"],\"cwd\":1}", 0,
	  NULL, NULL, OUTPUT_JSON },
	{ "text that is none", "{\"command\":[\"a\"],\"stdin_text\":1}", 0,
	  NULL, NULL, OUTPUT_JSON },
	{ "the shortest", "{\"command\":[\"true\"]}", 1, "true", "{}",
	  OUTPUT_JSON },
	{ "the rest is fed",
	  "{\"a\":1,\"command\":[\"x\"],\"env\":{\"N\":1},\"cwd\":\"/\","
	  "\"b\":[2],\"output\":\"text\"}",
	  1, "x", "{\"a\":1,\"b\":[2]}", OUTPUT_TEXT },
	{ "or what is named",
	  "{\"a\":1,\"command\":[\"x\"],\"stdin\":[1,\"2\"]}", 1, "x",
	  "[1,\"2\"]", OUTPUT_JSON },
	{ "or text",
	  "{\"command\":[\"x\"],\"stdin_text\":\"a\\n\",\"stdin\":1,"
	  "\"output\":\"lines\"}",
	  1, "x", "a\n", OUTPUT_LINES },
	{ "numbers as in JSON", "{\"command\":[\"head\",\"-n\",5]}", 3, "5",
	  "{}", OUTPUT_JSON },
	{ "booleans too", "{\"command\":[\"x\",true]}", 2, "true", "{}",
	  OUTPUT_JSON },
	{ "empty arguments", "{\"command\":[\"x\",\"\"]}", 2, "", "{}",
	  OUTPUT_JSON },
	{ "braces are braces", "{\"command\":[\"x\",\"{a}{\"]}", 2, "{a}{",
	  "{}", OUTPUT_JSON },
	{ "but with values",
	  "{\"command\":[\"x\",\"{a}{{\"],\"with\":{\"a\":1},\"b\":2}", 2,
	  "1{", "{\"b\":2}", OUTPUT_JSON },
	{ "a key that is not there",
	  "{\"command\":[\"x\",\"{b}\"],\"with\":{\"a\":1},\"b\":2}", 0, NULL,
	  NULL, OUTPUT_JSON },
	{ "values that are none", "{\"command\":[\"x\"],\"with\":[1]}", 0,
	  NULL, NULL, OUTPUT_JSON },
	{ "several from one",
	  "{\"command\":[\"x\",\"{a}\",\"z\"],\"with\":{\"a\":[1,\"y\"]}}",
	  4, "z", "{}", OUTPUT_JSON },
	{ "none from one",
	  "{\"command\":[\"x\",\"{a}\"],\"with\":{\"a\":[]}}", 1, "x", "{}",
	  OUTPUT_JSON },
	{ "no program from one",
	  "{\"command\":[\"{a}\"],\"with\":{\"a\":[]}}", 0, NULL, NULL,
	  OUTPUT_JSON },
	{ "an array within from one",
	  "{\"command\":[\"x\",\"{a}\"],\"with\":{\"a\":[[]]}}", 0, NULL,
	  NULL, OUTPUT_JSON },
	{ "an array in a text",
	  "{\"command\":[\"x\",\"-{a}\"],\"with\":{\"a\":[1]}}", 0, NULL,
	  NULL, OUTPUT_JSON },
	{ "NUL from a value",
	  "{\"command\":[\"x\",\"{a}\"],\"with\":{\"a\":\"\\u0000\"}}", 0,
	  NULL, NULL, OUTPUT_JSON },
	{ "a text with values",
	  "{\"command\":[\"x\"],\"with\":{\"a\":1.5},"
	  "\"stdin_text\":\"<{a}>\\n\"}",
	  1, "x", "<1.5>\n", OUTPUT_JSON },
	{ "a file in a folder",
	  "{\"command\":[\"x\"],\"files\":{\"a/b\":1}}", 0, NULL, NULL,
	  OUTPUT_JSON },
	{ "a file of no name", "{\"command\":[\"x\"],\"files\":{\"\":1}}",
	  0, NULL, NULL, OUTPUT_JSON },
	{ "the folder itself",
	  "{\"command\":[\"x\"],\"files\":{\"..\":1}}", 0, NULL, NULL,
	  OUTPUT_JSON },
	{ "files that are none", "{\"command\":[\"x\"],\"files\":[1]}", 0,
	  NULL, NULL, OUTPUT_JSON },
	{ "a result elsewhere",
	  "{\"command\":[\"x\"],\"result_file\":\"/etc/r\"}", 0, NULL, NULL,
	  OUTPUT_JSON },
	{ "two results",
	  "{\"command\":[\"x\"],\"result_file\":\"r\","
	  "\"output_from\":\"fd3\"}",
	  0, NULL, NULL, OUTPUT_JSON },
	{ "a result and none",
	  "{\"command\":[\"x\"],\"output\":\"none\","
	  "\"output_from\":\"fd3\"}",
	  0, NULL, NULL, OUTPUT_JSON },
	{ "a descriptor that is not there",
	  "{\"command\":[\"x\"],\"output_from\":\"fd9\"}", 0, NULL, NULL,
	  OUTPUT_JSON },
	{ "killed after a word",
	  "{\"command\":[\"x\"],\"kill_after\":\"soon\"}", 0, NULL, NULL,
	  OUTPUT_JSON },
	{ "none of ours is fed",
	  "{\"command\":[\"x\"],\"files\":{\"f\":[1]},\"limits\":{},"
	  "\"kill_after\":\"2s\",\"heartbeat\":\"fd4\",\"output\":\"none\","
	  "\"shell\":1}",
	  1, "x", "{\"shell\":1}", OUTPUT_NONE },
};

START_TEST(reads_input)
{
	struct buf value = BUF_EMPTY;
	struct command_input c;
	struct error err = { 0 };
	int rc;

	parse(inputs[_i].input, &value);
	rc = command_input_parse(buf_slice(&value), &c, &err);
	CASE(&inputs[_i], (rc == 0) == (inputs[_i].argc > 0));
	if (rc < 0) {
		CASE(&inputs[_i], err.message[0] != '\0');
	} else {
		CASE(&inputs[_i], c.argc == inputs[_i].argc);
		CASE(&inputs[_i], c.argv[c.argc] == NULL);
		CASE(&inputs[_i],
		     strcmp(c.argv[c.argc - 1], inputs[_i].last) == 0);
		CASE(&inputs[_i],
		     slice_is(buf_slice(&c.feed), inputs[_i].feed));
		CASE(&inputs[_i], c.output == inputs[_i].output);
	}
	command_input_fini(&c);
	buf_fini(&value);
}
END_TEST

static const struct {
	const char *name;
	int status;
	enum command_output output;
	const char *written;
	const char *log;
	const char *error;  /* NULL: it succeeds */
	const char *result; /* as JSON, or the cause; NULL: any cause */
} ends[] = {
	{ "JSON", EXITED(0), OUTPUT_JSON, " {\"a\":1}\n", "warning", NULL,
	  "{\"a\":1}" },
	{ "nothing", EXITED(0), OUTPUT_JSON, "\n", "", NULL, "null" },
	{ "no JSON", EXITED(0), OUTPUT_JSON, "{", "", "Rappel.OutputInvalid",
	  NULL },
	{ "two", EXITED(0), OUTPUT_JSON, "1 2", "", "Rappel.OutputInvalid",
	  NULL },
	{ "words", EXITED(0), OUTPUT_JSON, "a\nb\033?, and so on for more "
	  "than the sixty bytes that are shown of it", "",
	  "Rappel.OutputInvalid",
	  "stdout is no JSON: line 1: not valid JSON: invalid char in json "
	  "text; it begins with: "
	  "a b??, and so on for more than the sixty bytes that are show…; for "
	  "anything else than JSON set \"output\": \"text\" or \"lines\"" },
	{ "text", EXITED(0), OUTPUT_TEXT, "a\nb\n", "", NULL, "\"a\\nb\"" },
	{ "no text", EXITED(0), OUTPUT_TEXT, "", "", NULL, "\"\"" },
	{ "not UTF-8", EXITED(0), OUTPUT_TEXT, "\xff", "",
	  "Rappel.OutputInvalid", NULL },
	{ "lines", EXITED(0), OUTPUT_LINES, "a\n\nb", "", NULL,
	  "[\"a\",\"\",\"b\"]" },
	{ "no lines", EXITED(0), OUTPUT_LINES, "", "", NULL, "[]" },
	{ "one empty line", EXITED(0), OUTPUT_LINES, "\n", "", NULL,
	  "[\"\"]" },
	{ "too large", EXITED(0), OUTPUT_TEXT,
	  "0123456789012345678901234567890123456789012345678901234567890123",
	  "", "Rappel.OutputTooLarge", NULL },
	{ "its own words", EXITED(1), OUTPUT_JSON, "{}", "bad\nluck\n",
	  "Rappel.Exit.1", "bad\nluck" },
	{ "no words", EXITED(3), OUTPUT_JSON, "", "\n", "Rappel.Exit.3",
	  "exit status 3" },
	{ "first of sysexits", EXITED(64), OUTPUT_JSON, "", "", "Rappel.Usage",
	  NULL },
	{ "try again", EXITED(75), OUTPUT_JSON, "", "", "Rappel.TempFail",
	  NULL },
	{ "last of sysexits", EXITED(78), OUTPUT_JSON, "", "", "Rappel.Config",
	  NULL },
	{ "the shell's", EXITED(127), OUTPUT_JSON, "", "", "Rappel.Exit.127",
	  NULL },
	{ "killed", 15, OUTPUT_JSON, "1", "", "Rappel.Killed",
	  "killed by signal 15" },
	{ "nothing is asked for", EXITED(0), OUTPUT_NONE, "what", "", NULL,
	  "null" },
	{ "past its limit", SIGXCPU, OUTPUT_JSON, "", "words", "Rappel.Killed",
	  "it passed its limit \"cpu\"" },
	{ "a limit that was not set", SIGXFSZ, OUTPUT_JSON, "", "words",
	  "Rappel.Killed", "words" },
	{ "dirty words", EXITED(1), OUTPUT_JSON, "", "a\xffz\xc3", "Rappel.Exit.1",
	  "a?z?" },
};

START_TEST(makes_outcomes)
{
	const struct command_limits limits = { .set = 1 }; /* cpu */
	const struct command_end end = {
		.status = ends[_i].status,
		.output = ends[_i].output,
		.from = "stdout",
		.written = slice_of(ends[_i].written),
		.log = slice_of(ends[_i].log),
		.limits = &limits,
		.value_bytes_max = 60,
	};
	struct outcome o = { .failed = false };
	struct buf json = BUF_EMPTY;

	command_result(&end, &o);
	CASE(&ends[_i], o.failed == (ends[_i].error != NULL));
	if (o.failed) {
		CASE(&ends[_i], strcmp(o.error, ends[_i].error) == 0);
		CASE(&ends[_i],
		     ends[_i].result == NULL ||
		         slice_is(buf_slice(&o.cause), ends[_i].result));
	} else {
		json_write(o.result, &json);
		CASE(&ends[_i], slice_is(buf_slice(&json), ends[_i].result));
	}
	buf_fini(&json);
	outcome_fini(&o);
}
END_TEST

static const struct {
	const char *name;
	const char *text;
	size_t max;
	const char *clean;
} texts[] = {
	{ "short", "abc", 3, "abc" },
	{ "its end counts", "abcdef", 3, "def" },
	{ "no half characters", "a\xc3\xa4z", 2, "z" },
	{ "whole characters", "a\xc3\xa4z", 3, "\xc3\xa4z" },
	{ "cut at the end", "a\xe2\x82", 9, "a??" },
	{ "surrogates", "\xed\xa0\x80", 9, "???" },
	{ "nothing", "", 5, "" },
	{ "no room", "abc", 0, "" },
};

START_TEST(cleans_text)
{
	struct buf out = BUF_EMPTY;

	text_clean(slice_of(texts[_i].text), texts[_i].max, &out);
	CASE(&texts[_i], slice_is(buf_slice(&out), texts[_i].clean));
	buf_fini(&out);
}
END_TEST

START_TEST(cleans_nul)
{
	struct buf out = BUF_EMPTY;

	text_clean((struct slice){ (const uint8_t *)"a\0b", 3 }, 9, &out);
	ck_assert(slice_is(buf_slice(&out), "a?b"));
	buf_fini(&out);
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ reads_input, COUNT(inputs) },
		{ makes_outcomes, COUNT(ends) },
		{ cleans_text, COUNT(texts) },
		{ cleans_nul, 0 },
	};

	return unit_run("command", tests, COUNT(tests));
}
