/* Tests of engine/choice.h. */
#include "engine/choice.h"

#include "tests/unit/engine_values.h"

#define T1 "'2016-03-14T01:59:00Z'"
#define T1_EAST "'2016-03-14T02:59:00+01:00'"
#define T2 "'2016-03-14T01:59:00.001Z'"

static const struct {
	const char *name;
	const char *rule;
	const char *input;
	int want; /* 1, 0, or -1: an error */
} cases[] = {
#define TEST(op, arg) "{'Variable':'$.v','" op "':" arg "}"
#define V(v) "{'v':" v "}"
#define W(v, w) "{'v':" v ",'w':" w "}"
	{ "equal strings", TEST("StringEquals", "'a'"), V("'a'"), 1 },
	{ "other strings", TEST("StringEquals", "'a'"), V("'A'"), 0 },
	{ "no string", TEST("StringEquals", "'1'"), V("1"), 0 },
	{ "less", TEST("StringLessThan", "'b'"), V("'a'"), 1 },
	{ "less as a prefix", TEST("StringLessThan", "'ab'"), V("'a'"), 1 },
	{ "not less", TEST("StringLessThan", "'b'"), V("'b'"), 0 },
	{ "greater", TEST("StringGreaterThan", "'b'"), V("'c'"), 1 },
	{ "not greater", TEST("StringGreaterThan", "'b'"), V("'b'"), 0 },
	{ "less or equal", TEST("StringLessThanEquals", "'b'"), V("'b'"), 1 },
	{ "not less or equal", TEST("StringLessThanEquals", "'b'"), V("'c'"),
	  0 },
	{ "greater or equal", TEST("StringGreaterThanEquals", "'b'"),
	  V("'b'"), 1 },
	{ "not greater or equal", TEST("StringGreaterThanEquals", "'b'"),
	  V("'a'"), 0 },
	{ "beyond ASCII", TEST("StringGreaterThan", "'\xef\xbf\xbd'"),
	  V("'\xf0\x9f\x9a\x80'"), 1 },
	{ "a path's string", TEST("StringEqualsPath", "'$.w'"),
	  W("'a'", "'a'"), 1 },
	{ "a path's other string", TEST("StringLessThanPath", "'$.w'"),
	  W("'b'", "'a'"), 0 },
	{ "a path's number", TEST("StringEqualsPath", "'$.w'"), W("'1'", "1"),
	  0 },
	{ "a path that finds nothing", TEST("StringEqualsPath", "'$.x'"),
	  V("'a'"), -1 },

	{ "equal numbers", TEST("NumericEquals", "1"), V("1"), 1 },
	{ "equal of both kinds", TEST("NumericEquals", "1"), V("1.0"), 1 },
	{ "no number", TEST("NumericEquals", "1"), V("'1'"), 0 },
	{ "no number either", TEST("NumericEquals", "1"), V("true"), 0 },
	{ "above what a double tells apart",
	  TEST("NumericEquals", "9007199254740993"), V("9007199254740992.0"),
	  0 },
	{ "large integers", TEST("NumericLessThan", "9223372036854775807"),
	  V("9223372036854775806"), 1 },
	{ "above a signed integer",
	  TEST("NumericGreaterThan", "9223372036854775807"),
	  V("9223372036854775808"), 1 },
	{ "a double above all", TEST("NumericLessThan", "1e300"),
	  V("18446744073709551615"), 1 },
	{ "a double beside the largest",
	  TEST("NumericLessThan", "18446744073709551616.0"),
	  V("18446744073709551615"), 1 },
	{ "negative and fraction", TEST("NumericLessThan", "-1"), V("-1.5"),
	  1 },
	{ "fraction above", TEST("NumericGreaterThan", "1"), V("1.5"), 1 },
	{ "less or equal numbers", TEST("NumericLessThanEquals", "2"),
	  V("2.0"), 1 },
	{ "greater or equal numbers", TEST("NumericGreaterThanEquals", "2"),
	  V("1.9"), 0 },
	{ "a path's numbers", TEST("NumericGreaterThanPath", "'$.w'"),
	  W("2", "1"), 1 },
	{ "less or equal, path",
	  TEST("NumericLessThanEqualsPath", "'$.w'"), W("2", "1"), 0 },

	{ "booleans", TEST("BooleanEquals", "true"), V("true"), 1 },
	{ "other booleans", TEST("BooleanEquals", "false"), V("true"), 0 },
	{ "no boolean", TEST("BooleanEquals", "false"), V("null"), 0 },
	{ "a path's boolean", TEST("BooleanEqualsPath", "'$.w'"),
	  W("false", "false"), 1 },

	{ "equal times", TEST("TimestampEquals", T1), V(T1_EAST), 1 },
	{ "earlier", TEST("TimestampLessThan", T2), V(T1), 1 },
	{ "later", TEST("TimestampGreaterThan", T1), V(T2), 1 },
	{ "earlier or equal", TEST("TimestampLessThanEquals", T1), V(T2), 0 },
	{ "later or equal", TEST("TimestampGreaterThanEquals", T1),
	  V(T1_EAST), 1 },
	{ "no time", TEST("TimestampLessThan", T2), V("'yesterday'"), 0 },
	{ "a path's time", TEST("TimestampEqualsPath", "'$.w'"),
	  W(T1, T1_EAST), 1 },
	{ "a path's string is no time",
	  TEST("TimestampGreaterThanEqualsPath", "'$.w'"), W(T1, "'x'"), 0 },

	{ "a pattern", TEST("StringMatches", "'foo*.log'"), V("'foo23.log'"),
	  1 },
	{ "a pattern's end", TEST("StringMatches", "'*.log'"),
	  V("'zebra.log'"), 1 },
	{ "two wildcards", TEST("StringMatches", "'foo*.*'"),
	  V("'foobar.zebra'"), 1 },
	{ "nothing for a wildcard", TEST("StringMatches", "'foo*'"),
	  V("'foo'"), 1 },
	{ "everything", TEST("StringMatches", "'*'"), V("''"), 1 },
	{ "no overlap", TEST("StringMatches", "'aa*aa'"), V("'aaa'"), 0 },
	{ "the last piece ends it", TEST("StringMatches", "'*ab*ab'"),
	  V("'abcab'"), 1 },
	{ "the last piece comes too early", TEST("StringMatches", "'*ab'"),
	  V("'abc'"), 0 },
	{ "no wildcard", TEST("StringMatches", "'ab'"), V("'ab'"), 1 },
	{ "no wildcard, longer", TEST("StringMatches", "'ab'"), V("'abc'"),
	  0 },
	{ "only the star is special", TEST("StringMatches", "'a?[b]'"),
	  V("'axb'"), 0 },
	{ "an escaped star", TEST("StringMatches", "'a\\\\*'"), V("'a*'"),
	  1 },
	{ "an escaped star is no wildcard",
	  TEST("StringMatches", "'a\\\\*'"), V("'ab'"), 0 },
	{ "an escaped backslash", TEST("StringMatches", "'a\\\\\\\\*'"),
	  V("'a\\\\bc'"), 1 },
	{ "an open escape", TEST("StringMatches", "'a\\\\b'"), V("'ab'"),
	  -1 },
	{ "an open escape at the end", TEST("StringMatches", "'a\\\\'"),
	  V("'a'"), -1 },
	{ "a pattern and no string", TEST("StringMatches", "'*'"), V("1"),
	  0 },

	{ "is null", TEST("IsNull", "true"), V("null"), 1 },
	{ "is not null", TEST("IsNull", "false"), V("0"), 1 },
	{ "null of nothing", TEST("IsNull", "true"), "{}", -1 },
	{ "is present", TEST("IsPresent", "true"), V("null"), 1 },
	{ "is not present", TEST("IsPresent", "true"), "{}", 0 },
	{ "is absent", TEST("IsPresent", "false"), "{}", 1 },
	{ "present through a string", "{'Variable':'$.v.w.x',"
	                              "'IsPresent':true}", V("'s'"), 0 },
	{ "is numeric", TEST("IsNumeric", "true"), V("1e3"), 1 },
	{ "is not numeric", TEST("IsNumeric", "true"), V("'1'"), 0 },
	{ "is string", TEST("IsString", "true"), V("''"), 1 },
	{ "is no string", TEST("IsString", "false"), V("[]"), 1 },
	{ "is boolean", TEST("IsBoolean", "true"), V("false"), 1 },
	{ "is no boolean", TEST("IsBoolean", "true"), V("0"), 0 },
	{ "is time", TEST("IsTimestamp", "true"), V(T1), 1 },
	{ "is no time", TEST("IsTimestamp", "true"), V("'2016'"), 0 },
	{ "number of nothing", TEST("IsNumeric", "false"), "{}", -1 },

	{ "and", "{'And':[" TEST("IsPresent", "true") ","
	         TEST("NumericLessThan", "30") "]}", V("22"), 1 },
	{ "and stops early", "{'And':[" TEST("IsPresent", "true") ","
	                     TEST("NumericLessThan", "30") "]}", "{}", 0 },
	{ "and does not stop at an error",
	  "{'And':[" TEST("NumericLessThan", "30") ","
	  TEST("IsPresent", "true") "]}", "{}", -1 },
	{ "or", "{'Or':[" TEST("NumericEquals", "1") ","
	        TEST("NumericEquals", "2") "]}", V("2"), 1 },
	{ "or stops early", "{'Or':[" TEST("IsPresent", "false") ","
	                    TEST("NumericEquals", "2") "]}", "{}", 1 },
	{ "or of none", "{'Or':[" TEST("NumericEquals", "1") "]}", V("2"),
	  0 },
	{ "not", "{'Not':" TEST("StringEquals", "'Private'") ",'Next':'X'}",
	  V("'Public'"), 1 },
	{ "not of an error", "{'Not':" TEST("StringEquals", "'a'") "}", "{}",
	  -1 },
	{ "not of not", "{'Not':{'Not':" TEST("IsNull", "true") "}}",
	  V("null"), 1 },
	{ "beside other fields",
	  "{'Comment':'c','Variable':'$.v','IsNull':true,'Next':'N',"
	  "'Assign':{},'Output':{}}", V("null"), 1 },
	{ "a path that may select many",
	  "{'Variable':'$.v[*]','IsPresent':true}", V("[]"), 1 },
	{ "the context", "{'Variable':'$$.c','NumericEquals':5}", "{}", 1 },
};

START_TEST(holds)
{
	struct value *context = value_from("{'c':5}");

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct value *rule = value_from(cases[i].rule);
		struct value *input = value_from(cases[i].input);
		struct error err = { 0 };
		struct choice *c = choice_compile(rule->s, NULL, &err);
		int rc;

		ck_assert_msg(c != NULL, "%s: %s %s", cases[i].name,
		              err.field, err.message);
		value_unref(&rule);
		rc = choice_holds(c, input, context, &err);
		ck_assert_msg((rc < 0 ? -1 : rc) == cases[i].want, "%s: %d %s",
		              cases[i].name, rc, err.message);
		ck_assert_msg((rc < 0) == (err.message[0] != '\0'), "%s",
		              cases[i].name);
		choice_destroy(&c);
		value_unref(&input);
	}
	value_unref(&context);
}
END_TEST

static const struct {
	const char *name;
	const char *rule;
	const char *field;
} wrong[] = {
	{ "no object", "[]", "" },
	{ "nothing", "{}", "" },
	{ "no operator", "{'Variable':'$'}", "" },
	{ "two operators", "{'Variable':'$','IsNull':true,'IsString':true}",
	  "IsString" },
	{ "unknown", "{'Variable':'$','StringIs':'a'}", "StringIs" },
	{ "no path form", "{'Variable':'$','IsNullPath':'$'}", "IsNullPath" },
	{ "a condition", "{'Condition':'{% true %}'}", "Condition" },
	{ "no variable", "{'IsNull':true}", "Variable" },
	{ "variable is no string", "{'Variable':1,'IsNull':true}",
	  "Variable" },
	{ "variable is no path", "{'Variable':'v','IsNull':true}",
	  "Variable" },
	{ "string of a number", "{'Variable':'$','StringEquals':1}",
	  "StringEquals" },
	{ "number of a string", "{'Variable':'$','NumericEquals':'1'}",
	  "NumericEquals" },
	{ "boolean of null", "{'Variable':'$','BooleanEquals':null}",
	  "BooleanEquals" },
	{ "time of a word", "{'Variable':'$','TimestampEquals':'now'}",
	  "TimestampEquals" },
	{ "pattern of a number", "{'Variable':'$','StringMatches':1}",
	  "StringMatches" },
	{ "is of a string", "{'Variable':'$','IsNull':'true'}", "IsNull" },
	{ "path form of a word", "{'Variable':'$','StringEqualsPath':'a'}",
	  "StringEqualsPath" },
	{ "and of nothing", "{'And':[]}", "And" },
	{ "and of an object", "{'And':{}}", "And" },
	{ "not of a list", "{'Not':[]}", "Not" },
	{ "variable beside and",
	  "{'Variable':'$','And':[{'Variable':'$','IsNull':true}]}",
	  "Variable" },
	{ "next inside", "{'Not':{'Variable':'$','IsNull':true,'Next':'X'}}",
	  "Next" },
	{ "wrong inside",
	  "{'And':[{'Or':[{'Variable':'$','StringEquals':1}]}]}",
	  "StringEquals" },
};

START_TEST(refuses)
{
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct value *rule = value_from(wrong[i].rule);
		struct error err = { 0 };
		struct choice *c = choice_compile(rule->s, NULL, &err);

		ck_assert_msg(c == NULL, "%s", wrong[i].name);
		ck_assert_msg(err.message[0] != '\0', "%s", wrong[i].name);
		if (wrong[i].field[0] != '\0' || strcmp(err.field, "") == 0)
			ck_assert_msg(strcmp(err.field, wrong[i].field) == 0,
			              "%s: %s", wrong[i].name, err.field);
		ck_assert(choice_compile(rule->s, NULL, NULL) == NULL);
		value_unref(&rule);
	}
}
END_TEST

START_TEST(takes_rules_as_deep_as_definitions)
{
	struct buf b = BUF_EMPTY;
	struct value *input = value_from("null");
	struct choice *c;

	for (uint32_t i = 0; i < DEFINITION_DEPTH_MAX - 2; i++) {
		value_pack_map(&b, 1);
		value_pack_text(&b, "Not");
	}
	value_pack_map(&b, 2);
	value_pack_text(&b, "Variable");
	value_pack_text(&b, "$");
	value_pack_text(&b, "IsNull");
	value_pack_bool(&b, true);
	c = choice_compile(buf_slice(&b), NULL, NULL);
	ck_assert_ptr_nonnull(c);
	ck_assert(!choice_wants_context(c));
	ck_assert_int_eq(choice_holds(c, input, NULL, NULL), 1);
	choice_destroy(&c);
	value_unref(&input);
	buf_fini(&b);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = { holds, refuses,
		                 takes_rules_as_deep_as_definitions };

	return run_case("choice", tests, 3);
}
