/* Tests of ctl/mocks.h and ctl/builtin.h. */
#include "ctl/mocks.h"

#include <string.h>

#include "common/json.h"
#include "common/value.h"
#include "ctl/builtin.h"
#include "tests/unit/unit.h"

/* JSON with ' for ". */
static char *
quoted(const char *text)
{
	char *copy = strdup(text);

	for (char *p = copy; *p != '\0'; p++)
		if (*p == '\'')
			*p = '"';
	return copy;
}

#define LOCAL                                                                  \
	"{'StateMachines':{'Other':{'TestCases':{'Sad':{'Pay':'Broken'}}},"    \
	"'Shop':{'TestCases':{"                                                \
	"'Happy':{'Pay':'Paid'},'Sad':{'Pay':'Flaky'}}}},"                     \
	"'MockedResponses':{'Paid':{'0':{'Return':{'ok':true}}},"              \
	"'Broken':{'0':{'Throw':{'Error':'Broke','Cause':'c'}}},"              \
	"'Flaky':{'0-1':{'Throw':{'Error':'Slow'}},'2':{'Return':2}}}}"
#define BY_STATE                                                               \
	"{'MockedResponses':{'Pay':{'0':{'Return':1},'1-2':{'Return':2}}}}"
#define ARN "arn:aws:states:::lambda:charge"

/* What a task is answered, call after call: JSON, or "!error:cause". */
static const struct {
	const char *name;
	const char *mocks;
	const char *test_case;
	bool is_inside;
	uint32_t attempts[5]; /* 0 ends them */
	const char *want[5];
} answers[] = {
	{ "by resource",
	  "{'" ARN "':{'return':[1]}}",
	  NULL,
	  false,
	  { 1 },
	  { "[1]" } },
	{ "by action",
	  "{'charge':{'return':null}}",
	  NULL,
	  false,
	  { 1 },
	  { "null" } },
	{ "by state",
	  "{'Pay':{'return':false}}",
	  NULL,
	  false,
	  { 1 },
	  { "false" } },
	{ "resource before state",
	  "{'Pay':{'return':1},'" ARN "':{'return':2}}",
	  NULL,
	  false,
	  { 1 },
	  { "2" } },
	{ "nothing said",
	  "{'Ship':{'return':1}}",
	  NULL,
	  false,
	  { 1 },
	  { NULL } },
	{ "an echo",
	  "{'Pay':{'echo':true}}",
	  NULL,
	  false,
	  { 1 },
	  { "{\"in\":1}" } },
	{ "a throw",
	  "{'Pay':{'throw':{'Error':'E','Cause':'C'}}}",
	  NULL,
	  false,
	  { 1 },
	  { "!E:C" } },
	{ "without a cause",
	  "{'Pay':{'throw':{'Error':'E'}}}",
	  NULL,
	  false,
	  { 1 },
	  { "!E:" } },
	{ "small letters",
	  "{'Pay':{'error':'E','cause':'C'}}",
	  NULL,
	  false,
	  { 1 },
	  { "!E:C" } },
	{ "a timeout",
	  "{'Pay':{'timeout':true}}",
	  NULL,
	  false,
	  { 1 },
	  { "!States.Timeout:" } },
	{ "a sequence",
	  "{'Pay':{'sequence':[{'return':1},{'error':'E'},"
	  "{'return':3}]}}",
	  NULL,
	  false,
	  { 1, 1, 2, 1 },
	  { "1", "!E:", "3", "3" } },
	{ "a sequence in a Map",
	  "{'Pay':{'sequence':[{'error':'E'},"
	  "{'return':2}]}}",
	  NULL,
	  true,
	  { 1, 1, 2, 2 },
	  { "!E:", "!E:", "2", "2" } },
	{ "the first case of the workflow",
	  LOCAL,
	  NULL,
	  false,
	  { 1 },
	  { "{\"ok\":true}" } },
	{ "a case by name",
	  LOCAL,
	  "Sad",
	  false,
	  { 1, 2, 3, 1 },
	  { "!Slow:", "!Slow:", "2", "2" } },
	{ "a case of another machine",
	  LOCAL,
	  "Other/Sad",
	  false,
	  { 1 },
	  { "!Broke:c" } },
	{ "the first case of a machine",
	  LOCAL,
	  "Other",
	  false,
	  { 1 },
	  { "!Broke:c" } },
	{ "responses by state",
	  BY_STATE,
	  NULL,
	  false,
	  { 1, 1, 1, 1 },
	  { "1", "2", "2", "2" } },
};

static void
check_answer(const char *name, bool found, const struct mock_answer *a,
	     const char *want)
{
	struct buf got = BUF_EMPTY;

	if (!found) {
		ck_assert_msg(want == NULL, "%s: no answer", name);
		return;
	}
	ck_assert_msg(want != NULL, "%s: an answer", name);
	if (a->failed)
		buf_printf(&got, "!%.*s:%.*s", (int)a->error.len,
			   (const char *)a->error.data, (int)a->cause.len,
			   (const char *)a->cause.data);
	else
		json_write(a->value, &got);
	ck_assert_msg(strcmp(buf_text(&got), want) == 0, "%s: got %s, not %s",
		      name, (char *)got.data, want);
	buf_fini(&got);
}

START_TEST (answers_tasks) {
	char *text = quoted(answers[_i].mocks);
	struct error err = { .line = 0 };
	struct buf input = BUF_EMPTY;
	struct mocks *m = mocks_parse(text, strlen(text), answers[_i].test_case,
				      "Shop", &err);

	ck_assert_msg(m != NULL, "%s: %s", answers[_i].name, err.message);
	ck_assert_int_eq(json_parse("{\"in\":1}", 8, 32, &input, NULL, &err),
			 0);
	for (int n = 0; n < 5 && answers[_i].attempts[n] != 0; n++) {
		struct mock_question q = {
			.state_no = 7,
			.state = slice_of("Pay"),
			.resource = slice_of(ARN),
			.action = slice_of("charge"),
			.attempt = answers[_i].attempts[n],
			.is_inside = answers[_i].is_inside,
			.input = buf_slice(&input),
		};
		struct mock_answer a = { .failed = false };
		bool found = mocks_ask(m, &q, &a);

		check_answer(answers[_i].name, found, &a, answers[_i].want[n]);
	}
	mocks_destroy(&m);
	buf_fini(&input);
	free(text);
}
END_TEST

/* Files that cannot mean anything, and what is said about them. */
static const struct {
	const char *name;
	const char *mocks;
	const char *test_case;
	const char *want; /* in the message */
} bad[] = {
	{ "no JSON", "{", NULL, "" },
	{ "no object", "[]", NULL, "must be an object" },
	{ "no answer", "{'A':1}", NULL, "mock \"A\"" },
	{ "an unknown answer", "{'A':{'retrun':1}}", NULL, "needs one of" },
	{ "an empty sequence", "{'A':{'sequence':[]}}", NULL, "sequence" },
	{ "a sequence in a sequence",
	  "{'A':{'sequence':[{'sequence':[{'return':1}]}]}}", NULL,
	  "needs one of" },
	{ "a throw without an error", "{'A':{'throw':{}}}", NULL, "throw" },
	{ "an error that is no text", "{'A':{'throw':{'Error':1}}}", NULL,
	  "string" },
	{ "no attempt", "{'MockedResponses':{'A':{'x':{'Return':1}}}}", NULL,
	  "no attempt" },
	{ "a range backwards", "{'MockedResponses':{'A':{'2-1':{'Return':1}}}}",
	  NULL, "no attempt" },
	{ "no attempts", "{'MockedResponses':{'A':{}}}", NULL, "attempts" },
	{ "no responses", "{'StateMachines':{}}", NULL, "MockedResponses" },
	{ "no such case", LOCAL, "Sorry", "no test case \"Sorry\"" },
	{ "a case without responses",
	  "{'StateMachines':{'S':{'TestCases':{'T':{'A':'R'}}}},"
	  "'MockedResponses':{}}",
	  NULL, "does not have" },
	{ "a case of a plain map", "{'A':{'return':1}}", "T", "no test cases" },
};

START_TEST (refuses_files) {
	char *text = quoted(bad[_i].mocks);
	struct error err = { .line = 0 };
	struct mocks *m =
	    mocks_parse(text, strlen(text), bad[_i].test_case, "w", &err);

	ck_assert_msg(m == NULL, "%s: accepted", bad[_i].name);
	ck_assert_msg(err.message[0] != '\0', "%s: no message", bad[_i].name);
	ck_assert_msg(strstr(err.message, bad[_i].want) != NULL,
		      "%s: says \"%s\"", bad[_i].name, err.message);
	free(text);
}
END_TEST

START_TEST (names_the_line) {
	static const char text[] =
	    "{\"A\": {\"return\": 1},\n\n\"B\": {\"retrun\": 1}}";
	struct error err = { .line = 0 };

	ck_assert_ptr_null(mocks_parse(text, strlen(text), NULL, "w", &err));
	ck_assert_uint_eq(err.line, 3);
}
END_TEST

/* The built-in actions: what they give for an input, and how long. */
static const struct {
	const char *name;
	const char *action;
	const char *input;
	const char *want; /* NULL: none of them */
	uint64_t delay_us;
} builtins[] = {
	{ "noop", "noop", "{}", "null", 0 },
	{ "echo", "echo", "[1,2]", "[1,2]", 0 },
	{ "sleep", "sleep", "{\"seconds\":1.5}", "{\"seconds\":1.5}", 1500000 },
	{ "sleep ms", "sleep", "{\"ms\":20}", "{\"ms\":20}", 20000 },
	{ "sleep of nothing", "sleep", "{}",
	  "!Rappel.InputInvalid:sleep needs {\"seconds\": number} or "
	  "{\"ms\": number}, not negative and at most a year",
	  0 },
	{ "fail", "fail", "{}", "!States.TaskFailed:", 0 },
	{ "fail with words", "fail", "{\"error\":\"E\",\"cause\":\"C\"}",
	  "!E:C", 0 },
	{ "fail badly", "fail", "{\"error\":1}",
	  "!Rappel.InputInvalid:fail: \"error\" must be a string of 1 to 128 "
	  "bytes",
	  0 },
	{ "another", "command", "{}", NULL, 0 },
};

START_TEST (builtins_answer) {
	const char *text = builtins[_i].input;
	struct mock_answer a = { .failed = false };
	struct buf input = BUF_EMPTY;
	uint64_t delay_us = 1;
	bool found;

	ck_assert_int_eq(json_parse(text, strlen(text), 32, &input, NULL, NULL),
			 0);
	found = builtin_answer(slice_of(builtins[_i].action), buf_slice(&input),
			       &a, &delay_us);
	check_answer(builtins[_i].name, found, &a, builtins[_i].want);
	ck_assert_uint_eq(delay_us, builtins[_i].delay_us);
	buf_fini(&input);
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ answers_tasks, COUNT(answers) },
		{ refuses_files, COUNT(bad) },
		{ names_the_line, 0 },
		{ builtins_answer, COUNT(builtins) },
	};

	return unit_run("mocks", tests, COUNT(tests));
}
