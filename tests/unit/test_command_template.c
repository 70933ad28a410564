/* Tests of worker/command_template.h, command_limits.h and of the parts of
 * command_input.h that fill: files, environment, actions of a file. */
#include <signal.h>
#include <string.h>

#include "common/json.h"
#include "common/value.h"
#include "tests/unit/unit.h"
#include "worker/command_input.h"
#include "worker/command_limits.h"
#include "worker/command_result.h"
#include "worker/command_template.h"

#define VALUES                                                               \
	"{\"s\":\"text\",\"i\":7,\"d\":1.0,\"t\":true,\"n\":null,\"a\":[1]," \
	"\"o\":{},\"a b\":\"blank\",\"\\u00e4\":\"\\u00e4\",\"i\":8,"        \
	"\"output\":\"key\"}"

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
	const char *text;
	const char *filled; /* or NULL: refused */
	const char *says;   /* somewhere in the message */
} texts[] = {
	{ "nothing to fill", "plain $x %s \\", "plain $x %s \\", NULL },
	{ "empty", "", "", NULL },
	{ "a string", "{s}", "text", NULL },
	{ "an integer, the last of two", "<{i}>", "<8>", NULL },
	{ "a double stays one", "{d}", "1.0", NULL },
	{ "a boolean", "{t}{t}", "truetrue", NULL },
	{ "a blank in the key", "{a b}", "blank", NULL },
	{ "not ASCII", "{\xc3\xa4}.", "\xc3\xa4.", NULL },
	{ "what is filled in is not filled", "{s}{{s}}", "text{s}", NULL },
	{ "braces", "{{}}", "{}", NULL },
	{ "a brace before a key", "{{{s}}}", "{text}", NULL },
	{ "missing", "a{x}", NULL, "{x}: there is no such key" },
	{ "case counts", "{S}", NULL, "{S}" },
	{ "null", "{n}", NULL, "{n} is null" },
	{ "an array", "{a}", NULL, "{a} is an array" },
	{ "an object", "-{o}", NULL, "{o} is an object" },
	{ "no name", "{}", NULL, "names no key" },
	{ "not closed", "ab{s", NULL, "byte 2" },
	{ "not opened", "s}", NULL, "byte 1" },
	{ "one in another", "{a{s}}", NULL, "no \"}\" follows" },
	{ "only an opening one", "{", NULL, "byte 0" },
	{ "three closing ones", "}}}", NULL, "byte 2" },
};

START_TEST(fills_texts)
{
	struct buf map = BUF_EMPTY, out = BUF_EMPTY;
	struct command_values v = { .fill = FILL_VALUES };
	struct error err = { 0 };
	int rc;

	parse(VALUES, &map);
	v.map = buf_slice(&map);
	rc = command_template_text(slice_of(texts[_i].text), &v, &out, &err);
	CASE(&texts[_i], (rc == 0) == (texts[_i].filled != NULL));
	if (rc == 0)
		CASE(&texts[_i], slice_is(buf_slice(&out), texts[_i].filled));
	else
		CASE(&texts[_i], strstr(err.message, texts[_i].says) != NULL);
	/* Before there are values the same braces are wrong. */
	v.fill = FILL_CHECK;
	out.len = 0;
	rc = command_template_text(slice_of(texts[_i].text), &v, &out, &err);
	CASE(&texts[_i],
	     (rc < 0) == (texts[_i].says != NULL &&
	                  (strstr(texts[_i].says, "byte") != NULL ||
	                   strstr(texts[_i].says, "name") != NULL ||
	                   strstr(texts[_i].says, "follows") != NULL)));
	v.fill = FILL_NOTHING;
	out.len = 0;
	ck_assert_int_eq(command_template_text(slice_of(texts[_i].text), &v,
	                                       &out, &err),
	                 0);
	CASE(&texts[_i], slice_is(buf_slice(&out), texts[_i].text));
	buf_fini(&map);
	buf_fini(&out);
}
END_TEST

static const struct {
	const char *name;
	const char *value;
	const char *filled; /* or NULL: refused */
} values[] = {
	{ "a key is its value", "\"{a}\"", "[1]" },
	{ "null, too", "[\"{n}\"]", "[null]" },
	{ "an object within", "{\"k\":{\"l\":\"{o}\"}}", "{\"k\":{\"l\":{}}}" },
	{ "names stay", "{\"{s}\":\"{s}\"}", "{\"{s}\":\"text\"}" },
	{ "in a text it is one", "\"{i}.\"", "\"8.\"" },
	{ "what is no text", "[1,2.5,null,false]", "[1,2.5,null,false]" },
	{ "the output comes first", "[\"{output}\"]", "[[\"out\"]]" },
	{ "missing", "[\"{x}\"]", NULL },
	{ "an array in a text", "{\"k\":\"-{a}\"}", NULL },
	{ "a wrong brace", "[[\"{\"]]", NULL },
};

START_TEST(fills_values)
{
	struct buf map = BUF_EMPTY, in = BUF_EMPTY, out = BUF_EMPTY;
	struct buf output = BUF_EMPTY, json = BUF_EMPTY;
	struct error err = { 0 };
	struct command_values v = { .fill = FILL_VALUES };
	int rc;

	parse(VALUES, &map);
	parse(values[_i].value, &in);
	parse("[\"out\"]", &output);
	v.map = buf_slice(&map);
	v.output = buf_slice(&output);
	rc = command_template_value(buf_slice(&in), &v, &out, &err);
	CASE(&values[_i], (rc == 0) == (values[_i].filled != NULL));
	if (rc == 0) {
		json_write(buf_slice(&out), &json);
		CASE(&values[_i],
		     slice_is(buf_slice(&json), values[_i].filled));
	} else {
		CASE(&values[_i], err.message[0] != '\0');
	}
	buf_fini(&map);
	buf_fini(&in);
	buf_fini(&out);
	buf_fini(&output);
	buf_fini(&json);
}
END_TEST

static const struct {
	const char *name;
	const char *json;
	int place;          /* of the limit in question; -1: refused */
	uint64_t value;
	const char *says;
} limits[] = {
	{ "seconds", "{\"cpu\":5}", 0, 5, NULL },
	{ "a part of one is one", "{\"cpu\":0.2}", 0, 1, NULL },
	{ "a text", "{\"cpu\":\"2min\"}", 0, 120, NULL },
	{ "bytes", "{\"memory\":1000000}", 1, 1000000, NULL },
	{ "gigabytes", "{\"memory\":\"1.5GB\"}", 1, 3 * (UINT64_C(1) << 29),
	  NULL },
	{ "no file at all", "{\"file_size\":0}", 2, 0, NULL },
	{ "files", "{\"cpu\":1,\"open_files\":20}", 3, 20, NULL },
	{ "processes", "{\"processes\":\"8\"}", 4, 8, NULL },
	{ "not an object", "[1]", -1, 0, "must be an object" },
	{ "unknown", "{\"ram\":1}", -1, 0, "no \"ram\"" },
	{ "no seconds", "{\"cpu\":0}", -1, 0, "at least 1" },
	{ "negative", "{\"memory\":-1}", -1, 0, "\"memory\"" },
	{ "another's unit", "{\"memory\":\"5s\"}", -1, 0, "\"memory\"" },
	{ "a unit of files", "{\"open_files\":\"1kB\"}", -1, 0,
	  "\"open_files\"" },
	{ "a boolean", "{\"cpu\":true}", -1, 0, "\"cpu\"" },
	{ "beyond 64 bits", "{\"memory\":\"99999999999GB\"}", -1, 0,
	  "\"memory\"" },
};

START_TEST(reads_limits)
{
	struct command_limits l = { 0 };
	struct buf value = BUF_EMPTY;
	struct error err = { 0 };
	int rc;

	parse(limits[_i].json, &value);
	rc = command_limits_parse(buf_slice(&value), &l, &err);
	CASE(&limits[_i], (rc == 0) == (limits[_i].place >= 0));
	if (rc == 0) {
		CASE(&limits[_i], (l.set & (1U << limits[_i].place)) != 0);
		CASE(&limits[_i],
		     l.values[limits[_i].place] == limits[_i].value);
	} else {
		CASE(&limits[_i], strstr(err.message, limits[_i].says) != NULL);
	}
	buf_fini(&value);
}
END_TEST

START_TEST(knows_signals_of_limits)
{
	const struct command_limits l = { .set = 1U << 2 };

	ck_assert_str_eq(command_limits_signal(&l, SIGXFSZ), "file_size");
	ck_assert_ptr_null(command_limits_signal(&l, SIGXCPU));
	ck_assert_ptr_null(command_limits_signal(&l, 0));
}
END_TEST

/* Of an action of a file, filled from an input. What is compared: argv and
 * env, each ended by '\n', then the files, each NAME=content. */
static const struct {
	const char *name;
	const char *spec;
	const char *input;
	const char *made; /* or NULL: refused when filled */
	const char *says; /* or NULL */
	bool refused;     /* when checked already */
} specs[] = {
	{ "a template", "{\"command\":[\"gm\",\"{src}\",\"{size}\"]}",
	  "{\"src\":\"a b\",\"size\":64}", "gm\na b\n64\n", NULL, false },
	{ "missing", "{\"command\":[\"gm\",\"{src}\"]}", "{\"size\":64}", NULL,
	  "\"command\": element 1: {src}", false },
	{ "an input that is no object", "{\"command\":[\"gm\",\"{src}\"]}",
	  "[1]", NULL, "{src}", false },
	{ "no input needed", "{\"command\":[\"true\"]}", "[1]", "true\n", NULL,
	  false },
	{ "a script",
	  "{\"command\":[\"echo ${X} $1\",\"{a}\"],\"shell\":true}",
	  "{\"a\":\"$(id)\"}",
	  "sh\n-c\necho ${X} $1\nsh\n$(id)\nRAPPEL_INPUT_A=$(id)\n", NULL,
	  false },
	{ "a script alone", "{\"command\":\"date\",\"shell\":true}", "{}",
	  "sh\n-c\ndate\nsh\n", NULL, false },
	{ "a text without a shell", "{\"command\":\"date\"}", "{}", NULL,
	  "must be an array", true },
	{ "variables",
	  "{\"command\":[\"x\"],\"env\":{\"A\":\"<{a-b}>\",\"B\":null},"
	  "\"env_input\":true}",
	  "{\"a-b\":1,\"l\":[1],\"n\":null,\"t\":false}",
	  "x\nRAPPEL_INPUT_A_B=1\nRAPPEL_INPUT_T=false\nA=<1>\nB\n", NULL,
	  false },
	{ "NUL in one", "{\"command\":[\"x\"],\"env_input\":true}",
	  "{\"a\":\"\\u0000\"}", NULL, "\"a\" holds a NUL", false },
	{ "files",
	  "{\"command\":[\"x\"],\"files\":{\"f\":\"{a}\",\"g\":\"<{b}>\","
	  "\"h\":{\"k\":\"{a}\"},\"f\":\"{b}\"}}",
	  "{\"a\":[1],\"b\":\"t\"}", "x\nf=t\ng=<t>\nh={\"k\":[1]}\n", NULL,
	  false },
	{ "an unknown key", "{\"command\":[\"x\"],\"comand\":1}", "{}", NULL,
	  "unknown key \"comand\"", true },
	{ "no command", "{\"output\":\"json\"}", "{}", NULL,
	  "\"command\" is missing", true },
	{ "a wrong brace", "{\"command\":[\"x\",\"{\"]}", "{}", NULL,
	  "\"command\": element 1: a \"{\"", true },
	{ "a wrong brace in the result",
	  "{\"command\":[\"x\"],\"result\":{\"a\":\"}\"}}", "{}", NULL,
	  "\"result\": a \"}\"", true },
	{ "an unknown stdin", "{\"command\":[\"x\"],\"stdin\":\"all\"}", "{}",
	  NULL, "\"stdin\" must be", true },
	{ "an unknown limit", "{\"command\":[\"x\"],\"limits\":{\"x\":1}}",
	  "{}", NULL, "\"limits\"", true },
	{ "a flag that is none", "{\"command\":[\"x\"],\"shell\":\"yes\"}",
	  "{}", NULL, "\"shell\" must be true or false", true },
	{ "not an object", "[1]", "{}", NULL, "must be an object", true },
	{ "a comment", "{\"command\":[\"x\"],\"comment\":\"why\"}", "{}",
	  "x\n", NULL, false },
};

static void
show(const struct command_input *c, struct buf *out)
{
	for (uint32_t i = 0; i < c->argc; i++)
		buf_printf(out, "%s\n", c->argv[i]);
	for (uint32_t i = 0; i < c->env_count; i++)
		buf_printf(out, "%s\n", c->env[i]);
	for (uint32_t i = 0; i < c->file_count; i++)
		buf_printf(out, "%s=%.*s\n", c->files[i].name,
		           (int)c->files[i].content.len,
		           (const char *)c->files[i].content.data);
}

START_TEST(fills_actions)
{
	struct buf spec = BUF_EMPTY, input = BUF_EMPTY, made = BUF_EMPTY;
	struct command_input c;
	struct error err = { 0 };
	int rc;

	parse(specs[_i].spec, &spec);
	parse(specs[_i].input, &input);
	rc = command_input_check(buf_slice(&spec), &c, &err);
	CASE(&specs[_i], (rc < 0) == specs[_i].refused);
	command_input_fini(&c);
	if (rc == 0) {
		rc = command_input_fill(buf_slice(&spec), buf_slice(&input), &c,
		                        &err);
		CASE(&specs[_i], (rc == 0) == (specs[_i].made != NULL));
		show(&c, &made);
		command_input_fini(&c);
	}
	if (rc == 0) {
		ck_assert_str_eq(buf_text(&made), specs[_i].made);
	} else {
		CASE(&specs[_i], strstr(err.message, specs[_i].says) != NULL);
	}
	buf_fini(&spec);
	buf_fini(&input);
	buf_fini(&made);
}
END_TEST

static const struct {
	const char *name;
	const char *template;
	const char *result; /* or NULL */
	const char *error;
} results[] = {
	{ "of the input", "{\"file\":\"{dst}\"}", "{\"file\":\"a.png\"}",
	  NULL },
	{ "and the output", "[\"{output}\",\"{dst}\"]", "[{\"n\":1},\"a.png\"]",
	  NULL },
	{ "missing", "\"{src}\"", NULL, "Rappel.InputInvalid" },
	{ "too large",
	  "\"0123456789012345678901234567890123456789012345678901234567890\"",
	  NULL, "Rappel.OutputTooLarge" },
};

START_TEST(fills_results)
{
	struct outcome o = { .failed = false };
	struct buf template = BUF_EMPTY, input = BUF_EMPTY, json = BUF_EMPTY;

	parse(results[_i].template, &template);
	parse("{\"dst\":\"a.png\"}", &input);
	parse("{\"n\":1}", &o.own);
	o.result = buf_slice(&o.own);
	command_result_fill(buf_slice(&template), buf_slice(&input), 60, &o);
	CASE(&results[_i], o.failed == (results[_i].result == NULL));
	if (o.failed) {
		CASE(&results[_i], strcmp(o.error, results[_i].error) == 0);
	} else {
		json_write(o.result, &json);
		CASE(&results[_i],
		     slice_is(buf_slice(&json), results[_i].result));
	}
	outcome_fini(&o);
	buf_fini(&template);
	buf_fini(&input);
	buf_fini(&json);
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ fills_texts, COUNT(texts) },
		{ fills_values, COUNT(values) },
		{ reads_limits, COUNT(limits) },
		{ knows_signals_of_limits, 0 },
		{ fills_actions, COUNT(specs) },
		{ fills_results, COUNT(results) },
	};

	return unit_run("command_template", tests, COUNT(tests));
}
