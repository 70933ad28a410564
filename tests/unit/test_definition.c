/* Tests of engine/definition.h: what is accepted, and what is said when not. */
#include "engine/definition.h"

#include <stdio.h>
#include <time.h>

#include "tests/unit/engine_values.h"

/* Every ' is read as ". */
static struct definition *
parse(const char *text, struct definition_report *report)
{
	char *json = mem_strdup(text);
	struct definition *d;

	for (char *at = json; *at != '\0'; at++)
		if (*at == '\'')
			*at = '"';
	d = definition_parse(json, strlen(json), report);
	free(json);
	return d;
}

/* A definition of one state A with these fields, on line 2. */
#define ONE(fields) "{'StartAt':'A','States':{\n'A':{" fields "}}}"
#define TASK "'Type':'Task','Resource':'x',"
#define MAP(fields) \
	ONE("'Type':'Map','End':true,'ItemProcessor':{'StartAt':'I'," \
	    "'States':{'I':{'Type':'Succeed'}}}," fields)
#define RETRY(fields) ONE(TASK "'End':true,'Retry':[{" fields "}]")

static const struct {
	const char *name;
	const char *text;
	const char *state;
	const char *field;
	uint32_t line;
	const char *message; /* a part of it */
} bad[] = {
	{ "nothing", "", "", "", 0, "empty" },
	{ "no JSON", "{'StartAt':\n}", "", "", 2, "JSON" },
	{ "no object", "[]", "", "", 1, "must be a JSON object" },
	{ "no StartAt", "{'States':{'A':{'Type':'Succeed'}}}", "", "StartAt",
	  1, "is missing" },
	{ "no States", "{'StartAt':'A'}", "", "States", 1, "at least one" },
	{ "empty States", "{'StartAt':'A',\n'States':{}}", "", "States", 2,
	  "at least one" },
	{ "StartAt of another type",
	  "{'StartAt':1,'States':{'A':{'Type':'Succeed'}}}", "", "StartAt", 1,
	  "must be a string" },
	{ "unknown StartAt",
	  "{'StartAt':'B','States':{\n'A':{'Type':'Succeed'}}}", "",
	  "StartAt", 1, "there is no state \"B\"" },
	{ "unknown field of the definition",
	  "{'StartAt':'A','Foo':1,'States':{'A':{'Type':'Succeed'}}}", "",
	  "Foo", 1, "no such field" },
	{ "another version",
	  "{'StartAt':'A','Version':'2','States':{'A':{'Type':'Succeed'}}}",
	  "", "Version", 1, "1.0" },
	{ "JSONata for all",
	  "{'QueryLanguage':'JSONata','StartAt':'A',"
	  "'States':{'A':{'Type':'Succeed'}}}",
	  "", "QueryLanguage", 1, "not supported yet" },
	{ "JSONata for one", ONE("'Type':'Succeed',\n"
	  "'QueryLanguage':'JSONata'"), "A", "QueryLanguage", 3,
	  "not supported yet" },
	{ "a state that is none", "{'StartAt':'A','States':{'A':\n7}}", "A",
	  "", 2, "must be an object" },
	{ "no Type", ONE("'End':true"), "A", "Type", 2, "is missing" },
	{ "unknown Type", ONE("'Type':'Taks','End':true"), "A", "Type", 2,
	  "must be Task" },
	{ "unknown field", ONE("'Type':'Pass','End':true,\n'Resutl':1"), "A",
	  "Resutl", 3, "a Pass state has no such field" },
	{ "a field of another type",
	  ONE("'Type':'Succeed',\n'Resource':'x'"), "A", "Resource", 3,
	  "a Succeed state has no such field" },
	{ "a field twice", ONE(TASK "'End':true,\n'End':true"), "A", "End", 3,
	  "twice" },
	{ "Assign", ONE(TASK "'End':true,'Assign':{'a':1}"), "A", "Assign", 2,
	  "not supported yet" },
	{ "a Comment that is no text", ONE(TASK "'End':true,'Comment':1"),
	  "A", "Comment", 2, "must be a string" },

	{ "no Next", ONE("'Type':'Pass'"), "A", "Next", 2, "needs Next" },
	{ "End false", ONE("'Type':'Pass','End':false"), "A", "End", 2,
	  "needs Next" },
	{ "Next and End", ONE("'Type':'Pass','Next':'A','End':true"), "A",
	  "End", 2, "one of" },
	{ "Next to nowhere", ONE("'Type':'Pass',\n'Next':'B'"), "A", "Next",
	  3, "there is no state \"B\"" },
	{ "nothing ends", ONE("'Type':'Pass','Next':'A'"), "", "States", 1,
	  "nothing ends" },
	{ "unreachable", "{'StartAt':'A','States':{'A':{'Type':'Succeed'},\n"
	  "'B':{'Type':'Succeed'}}}", "B", "", 2, "no transition leads" },
	{ "Next into a Map", "{'StartAt':'A','States':{"
	  "'A':{'Type':'Pass','Next':'I'},'M':{'Type':'Map','End':true,"
	  "'Iterator':{'StartAt':'I','States':{'I':{'Type':'Succeed'}}}}}}",
	  "A", "Next", 1, "other States" },
	{ "a name twice", "{'StartAt':'A','States':{'A':{'Type':'Succeed'},\n"
	  "'A':{'Type':'Succeed'}}}", "A", "", 2, "taken by the state of" },
	{ "a name twice in another machine",
	  "{'StartAt':'M','States':{'M':{'Type':'Map','End':true,\n"
	  "'Iterator':{'StartAt':'M','States':{'M':{'Type':'Succeed'}}}}}}",
	  "M", "", 2, "taken" },
	{ "an empty name", "{'StartAt':'','States':{'':{'Type':'Succeed'}}}",
	  "", "", 1, "is empty" },
	{ "a name with a newline",
	  "{'StartAt':'a\\nb','States':{'a\\nb':{'Type':'Succeed'}}}", "a?b",
	  "", 1, "control character" },

	{ "no Resource", ONE("'Type':'Task','End':true"), "A", "Resource", 2,
	  "is missing" },
	{ "an ARN of nothing",
	  ONE("'Type':'Task','End':true,'Resource':'arn:aws:x:'"), "A",
	  "Resource", 2, "names no action" },
	{ "a suffix of nothing",
	  ONE("'Type':'Task','End':true,'Resource':'.waitForTaskToken'"), "A",
	  "Resource", 2, "names no action" },
	{ "TimeoutSeconds 0", ONE(TASK "'End':true,'TimeoutSeconds':0"), "A",
	  "TimeoutSeconds", 2, "must be from 1" },
	{ "TimeoutSeconds as text",
	  ONE(TASK "'End':true,'TimeoutSeconds':'1'"), "A", "TimeoutSeconds",
	  2, "must be an integer" },
	{ "two timeouts", ONE(TASK "'End':true,'TimeoutSeconds':1,"
	  "'TimeoutSecondsPath':'$.t'"), "A", "TimeoutSecondsPath", 2,
	  "there is TimeoutSeconds already" },
	{ "a heartbeat that is too long",
	  ONE(TASK "'End':true,'TimeoutSeconds':5,'HeartbeatSeconds':5"), "A",
	  "HeartbeatSeconds", 2, "less than TimeoutSeconds" },
	{ "Credentials", ONE(TASK "'End':true,'Credentials':{}"), "A",
	  "Credentials", 2, "not supported" },
	{ "a bad InputPath", ONE(TASK "'End':true,\n'InputPath':'x'"), "A",
	  "InputPath", 3, "" },
	{ "InputPath of another type", ONE(TASK "'End':true,'InputPath':1"),
	  "A", "InputPath", 2, "must be a string" },
	{ "ResultPath with a wildcard",
	  ONE(TASK "'End':true,'ResultPath':'$.*'"), "A", "ResultPath", 2,
	  "" },
	{ "ResultPath into the context",
	  ONE(TASK "'End':true,'ResultPath':'$$.x'"), "A", "ResultPath", 2,
	  "$$" },
	{ "bad Parameters", ONE(TASK "'End':true,'Parameters':{'a.$':1}"),
	  "A", "Parameters", 2, "a.$" },
	{ "Parameters that are no object",
	  ONE(TASK "'End':true,'Parameters':'$'"), "A", "Parameters", 2,
	  "must be an object" },
	{ "a bad function", ONE("'Type':'Pass','End':true,"
	  "'Parameters':{'a.$':'States.Nope()'}"), "A", "Parameters", 2, "" },

	{ "no ErrorEquals", RETRY("'MaxAttempts':1"), "A", "ErrorEquals", 2,
	  "is missing" },
	{ "empty ErrorEquals", RETRY("'ErrorEquals':[]"), "A", "ErrorEquals",
	  2, "not empty" },
	{ "ErrorEquals of numbers", RETRY("'ErrorEquals':[1]"), "A",
	  "ErrorEquals", 2, "strings" },
	{ "States.ALL not alone",
	  RETRY("'ErrorEquals':['a','States.ALL']"), "A", "ErrorEquals", 2,
	  "alone" },
	{ "States.ALL not last", ONE(TASK "'End':true,'Retry':["
	  "{'ErrorEquals':['States.ALL']},{'ErrorEquals':['a']}]"), "A",
	  "ErrorEquals", 2, "last" },
	{ "negative IntervalSeconds",
	  RETRY("'ErrorEquals':['a'],'IntervalSeconds':-1"), "A",
	  "IntervalSeconds", 2, "must be from 1" },
	{ "negative MaxAttempts",
	  RETRY("'ErrorEquals':['a'],'MaxAttempts':-1"), "A", "MaxAttempts",
	  2, "must be from 0" },
	{ "a shrinking BackoffRate",
	  RETRY("'ErrorEquals':['a'],'BackoffRate':0.5"), "A", "BackoffRate",
	  2, "1.0 or more" },
	{ "an unknown JitterStrategy",
	  RETRY("'ErrorEquals':['a'],'JitterStrategy':'SOME'"), "A",
	  "JitterStrategy", 2, "FULL" },
	{ "an unknown field of a retrier",
	  RETRY("'ErrorEquals':['a'],'Next':'A'"), "A", "Next", 2,
	  "a retrier has no such field" },
	{ "Retry as an object", ONE(TASK "'End':true,'Retry':{}"), "A",
	  "Retry", 2, "list of objects" },
	{ "Retry of a Pass", ONE("'Type':'Pass','End':true,'Retry':[]"), "A",
	  "Retry", 2, "no such field" },
	{ "a catcher without Next",
	  ONE(TASK "'End':true,'Catch':[{'ErrorEquals':['a']}]"), "A", "Next",
	  2, "is missing" },
	{ "a catcher to nowhere",
	  ONE(TASK "'End':true,'Catch':[{'ErrorEquals':['a'],'Next':'Q'}]"),
	  "A", "Catch.Next", 2, "no state \"Q\"" },

	{ "no Choices", ONE("'Type':'Choice','Default':'A'"), "A", "Choices",
	  2, "not empty" },
	{ "a rule without Next", ONE("'Type':'Choice','Choices':["
	  "{'Variable':'$.a','IsNull':true}]"), "A", "Choices", 2,
	  "no Next" },
	{ "a rule to nowhere", ONE("'Type':'Choice','Choices':["
	  "{'Variable':'$.a','IsNull':true,\n'Next':'Q'}]"), "A", "Choices",
	  3, "no state \"Q\"" },
	{ "a rule with two operators", ONE("'Type':'Choice','Choices':["
	  "{'Variable':'$.a','IsNull':true,'IsString':true,'Next':'A'}]"),
	  "A", NULL, 2, "" },
	{ "a JSONata rule", ONE("'Type':'Choice','Choices':["
	  "{'Condition':true,'Next':'A'}]"), "A", "Choices", 2, "JSONata" },
	{ "End of a Choice", ONE("'Type':'Choice','End':true,'Choices':["
	  "{'Variable':'$.a','IsNull':true,'Next':'A'}]"), "A", "End", 2,
	  "no such field" },

	{ "a Wait for nothing", ONE("'Type':'Wait','End':true"), "A", "", 2,
	  "exactly one" },
	{ "a Wait for two things",
	  ONE("'Type':'Wait','End':true,'Seconds':1,'SecondsPath':'$.s'"),
	  "A", "", 2, "exactly one" },
	{ "negative Seconds", ONE("'Type':'Wait','End':true,'Seconds':-1"),
	  "A", "Seconds", 2, "must be from 0" },
	{ "a bad Timestamp",
	  ONE("'Type':'Wait','End':true,'Timestamp':'tomorrow'"), "A",
	  "Timestamp", 2, "date" },
	{ "Error twice", ONE("'Type':'Fail','Error':'E','ErrorPath':'$.e'"),
	  "A", "ErrorPath", 2, "already" },

	{ "a Map without a processor", ONE("'Type':'Map','End':true"), "A",
	  "ItemProcessor", 2, "is missing" },
	{ "a distributed Map", ONE("'Type':'Map','End':true,'ItemProcessor':{"
	  "'ProcessorConfig':{'Mode':'DISTRIBUTED'},'StartAt':'I',"
	  "'States':{'I':{'Type':'Succeed'}}}"), "A", "Mode", 2,
	  "only INLINE" },
	{ "both names of a processor", MAP("'Iterator':{}"), "A", "Iterator",
	  2, "old name" },
	{ "an ItemReader", MAP("'ItemReader':{}"), "A", "ItemReader", 2,
	  "not supported yet" },
	{ "negative MaxConcurrency", MAP("'MaxConcurrency':-1"), "A",
	  "MaxConcurrency", 2, "must be from 0" },
	{ "a percentage over 100", MAP("'ToleratedFailurePercentage':101"),
	  "A", "ToleratedFailurePercentage", 2, "from 0 to 100" },
	{ "a fraction over 100", MAP("'ToleratedFailurePercentage':100.5"),
	  "A", "ToleratedFailurePercentage", 2, "from 0 to 100" },
	{ "a percentage as a text", MAP("'ToleratedFailurePercentage':'1.5'"),
	  "A", "ToleratedFailurePercentage", 2, "must be a number" },
	{ "a wrong path deep in Parameters", ONE("'Type':'Pass','End':true,"
	  "'Parameters':{\n'a.$':'$','b':[{\n'a.$':'x'}]}"), "A",
	  "Parameters", 4, "\"a.$\"" },
	{ "a key twice deep in Parameters", ONE("'Type':'Pass','End':true,"
	  "'Parameters':{\n'a.$':'$','b':{'a':1,\n'a':2}}"), "A",
	  "Parameters", 4, "\"a\"" },
	{ "Next in an inner rule", ONE("'Type':'Choice','Choices':[{'And':["
	  "{'Variable':'$',\n'Next':'A','IsNull':true}],\n'Next':'A'}]"),
	  "A", "Next", 3, "not allowed" },
	{ "an operand in an inner rule", ONE("'Type':'Choice','Choices':[{"
	  "'Not':{'Variable':'$',\n'StringEquals':1},\n'Next':'A'}]"), "A",
	  "StringEquals", 3, "must be a string" },
	{ "an inner rule without an operator", ONE("'Type':'Choice','Choices':["
	  "{'And':[\n{'Variable':'$','IsNull':true},\n{'Variable':'$'}],"
	  "'Next':'A'}]"), "A", "And", 4, "no comparison operator" },
	{ "a Result that is too deep", ONE("'Type':'Pass','End':true,"
	  "\n'Result':[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]"
	  "]]]]]]]]]"), "A", "Result", 3, "nested deeper than 32" },
	{ "ItemsPath with a slice", MAP("'ItemsPath':'$[1:]'"), "A",
	  "ItemsPath", 2, "" },
	{ "no end inside of a Map", ONE("'Type':'Map','End':true,'Iterator':{"
	  "'StartAt':'I','States':{'I':{'Type':'Pass','Next':'I'}}}"), "A",
	  "States", 2, "nothing ends" },
	{ "an empty processor", ONE("'Type':'Map','End':true,'Iterator':{}"),
	  "A", "StartAt", 2, "is missing" },
	{ "no Branches", ONE("'Type':'Parallel','End':true,'Branches':[]"),
	  "A", "Branches", 2, "not empty" },
	{ "a branch that is none",
	  ONE("'Type':'Parallel','End':true,'Branches':[1]"), "A", "Branches",
	  2, "list of objects" },
	{ "a branch with a field of its own",
	  ONE("'Type':'Parallel','End':true,'Branches':[{'Foo':1,"
	  "'StartAt':'I','States':{'I':{'Type':'Succeed'}}}]"), "A", "Foo",
	  2, "a branch has no such field" },
};

START_TEST(test_bad)
{
	for (size_t n = 0; n < sizeof(bad) / sizeof(bad[0]); n++) {
		struct definition_report report;
		struct definition *d = parse(bad[n].text, &report);
		const struct error *err = &report.errors[0];

		ck_assert_msg(d == NULL, "%s: accepted", bad[n].name);
		ck_assert_msg(report.count >= 1, "%s: no error", bad[n].name);
		ck_assert_msg(strcmp(err->state, bad[n].state) == 0,
		              "%s: state \"%s\"", bad[n].name, err->state);
		ck_assert_msg(bad[n].field == NULL ||
		              strcmp(err->field, bad[n].field) == 0,
		              "%s: field \"%s\"", bad[n].name, err->field);
		ck_assert_msg(bad[n].line == 0 || err->line == bad[n].line,
		              "%s: line %u", bad[n].name, err->line);
		ck_assert_msg(err->message[0] != '\0' &&
		              strstr(err->message, bad[n].message) != NULL,
		              "%s: \"%s\"", bad[n].name, err->message);
	}
}
END_TEST

/* One mistake gives one error, or the list would be full of echoes. */
START_TEST(test_one_each)
{
	for (size_t n = 0; n < sizeof(bad) / sizeof(bad[0]); n++) {
		struct definition_report report;

		(void)!parse(bad[n].text, &report);
		ck_assert_msg(report.count == 1 ||
		              strstr(bad[n].name, "empty processor") != NULL ||
		              strcmp(bad[n].name, "an empty name") == 0 ||
		              report.count == 2,
		              "%s: %u errors", bad[n].name, report.count);
		/* A state that cannot be told from another is not also one
		 * that nothing leads to. */
		if (strcmp(bad[n].name, "a name twice") == 0)
			ck_assert_uint_eq(report.count, 1);
	}
}
END_TEST

START_TEST(test_all_reported)
{
	struct definition_report report;
	struct buf text = BUF_EMPTY;

	buf_add_text(&text, "{'StartAt':'S0','States':{");
	for (int n = 0; n < 50; n++)
		buf_printf(&text, "\n'S%d':{'Type':'Pass','Foo':1,'Next':'S%d'}"
		           ",", n, n + 1);
	buf_add_text(&text, "'S50':{'Type':'Succeed'}}}");
	ck_assert_ptr_null(parse(buf_text(&text), &report));
	ck_assert_uint_eq(report.count, DEFINITION_ERRORS_MAX);
	for (uint32_t n = 0; n < report.count; n++)
		ck_assert_uint_eq(report.errors[n].line, n + 2);
	buf_fini(&text);
}
END_TEST

START_TEST(test_long_name)
{
	struct definition_report report;
	char text[400];
	char name[200] = "";

	/* 80 characters of two bytes each are fine, 81 are not. */
	for (int n = 0; n < 80; n++)
		strcat(name, "\xc3\xa4");
	snprintf(text, sizeof(text), "{'StartAt':'%s','States':{'%s':"
	         "{'Type':'Succeed'}}}", name, name);
	struct definition *d = parse(text, &report);
	ck_assert_ptr_nonnull(d);
	definition_unref(&d);
	strcat(name, "x");
	snprintf(text, sizeof(text), "{'StartAt':'%s','States':{'%s':"
	         "{'Type':'Succeed'}}}", name, name);
	ck_assert_ptr_null(parse(text, &report));
	ck_assert_ptr_nonnull(strstr(report.errors[0].message, "81"));
}
END_TEST

START_TEST(test_numbers)
{
	static const struct {
		const char *name;
		const char *type;
		const char *action;
	} want[] = {
		{ "P", "Parallel", "" }, { "A", "Task", "noop" },
		{ "M", "Map", "" }, { "I", "Task", "count-lines" },
		{ "B", "Wait", "" }, { "Z", "Task", "http://x/y:z" },
	};
	struct definition_report report;
	struct definition *d = parse(
	    "{'StartAt':'P','Comment':'c','Version':'1.0','States':{"
	    "'P':{'Type':'Parallel','Next':'Z','Branches':["
	    "{'StartAt':'A','States':{"
	    "'A':{'Type':'Task','Resource':'noop','Next':'M'},"
	    "'M':{'Type':'Map','End':true,'ItemProcessor':{'StartAt':'I',"
	    "'States':{'I':{'Type':'Task','End':true,'Resource':"
	    "'arn:aws:lambda:us-east-1:123:function:count-lines'}}}}}},"
	    "{'StartAt':'B','States':{"
	    "'B':{'Type':'Wait','Seconds':1,'End':true}}}]},"
	    "'Z':{'Type':'Task','Resource':'http://x/y:z.waitForTaskToken',"
	    "'End':true}}}",
	    &report);

	ck_assert_ptr_nonnull(d);
	ck_assert_uint_eq(definition_state_count(d), 6);
	for (uint32_t n = 0; n < 6; n++) {
		ck_assert(slice_is(definition_state_name(d, n), want[n].name));
		ck_assert_str_eq(definition_state_type(d, n), want[n].type);
		ck_assert(slice_is(definition_state_action(d, n),
		                   want[n].action));
	}
	ck_assert(slice_is(definition_state_resource(d, 3),
	          "arn:aws:lambda:us-east-1:123:function:count-lines"));
	ck_assert_uint_eq(definition_state_resource(d, 0).len, 0);
	struct definition *other = definition_ref(d);
	definition_unref(&d);
	ck_assert_ptr_null(d);
	ck_assert_uint_eq(definition_state_count(other), 6);
	definition_unref(&other);
}
END_TEST

START_TEST(test_too_deep)
{
	struct definition_report report;
	struct buf text = BUF_EMPTY;

	for (int n = 0; n < 200; n++)
		buf_add_text(&text, "{'a':");
	ck_assert_ptr_null(parse(buf_text(&text), &report));
	ck_assert_uint_eq(report.count, 1);
	ck_assert_ptr_nonnull(strstr(report.errors[0].message, "nested"));
	buf_fini(&text);
}
END_TEST

/* As deep as Maps go in 128 levels of JSON. */
START_TEST(test_deep_maps)
{
	struct definition_report report;
	struct buf text = BUF_EMPTY;
	struct definition *d;
	int deep = 41;

	buf_add_text(&text, "{");
	for (int n = 0; n < deep; n++)
		buf_printf(&text, "'StartAt':'M%d','States':{'M%d':{'Type':"
		           "'Map','End':true,'Iterator':{", n, n);
	buf_add_text(&text, "'StartAt':'Z','States':{'Z':{'Type':'Succeed'}}");
	for (int n = 0; n < deep; n++)
		buf_add_text(&text, "}}}");
	buf_add_text(&text, "}");
	d = parse(buf_text(&text), &report);
	ck_assert_msg(d != NULL, "%s", report.errors[0].message);
	definition_unref(&d);
	buf_fini(&text);
}
END_TEST

static uint64_t
now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* The most states there may be are checked at once; one more is refused. */
START_TEST(test_many_states)
{
	struct definition_report report;
	struct buf text = BUF_EMPTY;
	struct definition *d;
	uint64_t began;

	buf_add_text(&text, "{\"StartAt\":\"S0\",\"States\":{");
	for (uint32_t n = 0; n + 1 < DEFINITION_STATES_MAX; n++)
		buf_printf(&text, "\"S%u\":{\"Type\":\"Task\",\"Resource\":"
		           "\"noop\",\"Next\":\"S%u\"},\n", n, n + 1);
	buf_printf(&text, "\"S%u\":{\"Type\":\"Succeed\"}",
	           DEFINITION_STATES_MAX - 1);

	size_t len = text.len;

	buf_add_text(&text, "}}");
	began = now_us();
	d = definition_parse((const char *)text.data, text.len, &report);
	printf("parsing and checking 100,000 states (%zu bytes): %.1f ms\n",
	       text.len, (double)(now_us() - began) / 1e3);
	ck_assert_msg(d != NULL, "%s", report.errors[0].message);
	ck_assert_uint_eq(definition_state_count(d), DEFINITION_STATES_MAX);
	definition_unref(&d);

	text.len = len;
	buf_add_text(&text, ",\"X\":{\"Type\":\"Succeed\"}}}");
	ck_assert_ptr_null(definition_parse((const char *)text.data, text.len,
	                                    &report));
	ck_assert_uint_eq(report.count, 1);
	ck_assert_ptr_nonnull(strstr(report.errors[0].message, "100000"));
	buf_fini(&text);
}
END_TEST

START_TEST(test_too_large)
{
	struct definition_report report;
	size_t len = DEFINITION_BYTES_MAX + 1;
	char *text = mem_zalloc(len);

	ck_assert_ptr_null(definition_parse(text, len, &report));
	ck_assert_uint_eq(report.count, 1);
	free(text);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = { test_bad, test_one_each,
		test_all_reported, test_long_name, test_numbers,
		test_too_deep, test_deep_maps, test_many_states,
		test_too_large };

	return run_case("definition", tests,
	                sizeof(tests) / sizeof(tests[0]));
}
