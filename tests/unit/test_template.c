/* Tests of engine/template.h. */
#include "engine/template.h"

#include "tests/unit/engine_values.h"

#define INPUT "{'flagged':7,'vals':[0,10,20,30,40,50],'name':'Foo'}"
#define CONTEXT "{'DayOfWeek':'TUESDAY'}"

static const struct {
	const char *name;
	const char *template;
	const char *want;  /* NULL: it fails */
	const char *error; /* with this name of the language */
	const char *field;
} cases[] = {
	{ "nothing to fill in", "{'first':88,'second':[99,{'a':null}]}",
	  "{'first':88,'second':[99,{'a':null}]}", NULL, NULL },
	{ "of the specification",
	  "{'flagged':true,'parts':{'first.$':'$.vals[0]',"
	  "'last3.$':'$.vals[-3:]'},'weekday.$':'$$.DayOfWeek',"
	  "'formattedOutput.$':'States.Format(\\u0027Today is {}\\u0027, "
	  "$$.DayOfWeek)'}",
	  "{'flagged':true,'parts':{'first':0,'last3':[30,40,50]},"
	  "'weekday':'TUESDAY','formattedOutput':'Today is TUESDAY'}",
	  NULL, NULL },
	{ "inside arrays", "{'l':[1,{'a.$':'$.flagged'},[{'b.$':'$.name'}]]}",
	  "{'l':[1,{'a':7},[{'b':'Foo'}]]}", NULL, NULL },
	{ "the whole input", "{'in.$':'$'}", "{'in':" INPUT "}", NULL, NULL },
	{ "a scalar", "5", "5", NULL, NULL },
	{ "an empty object", "{}", "{}", NULL, NULL },
	{ "a value that looks like a path", "{'a':'$.flagged'}",
	  "{'a':'$.flagged'}", NULL, NULL },
	{ "a key of two characters", "{'.$':'$.flagged'}", "{'':7}", NULL,
	  NULL },
	{ "a key with a dollar", "{'a$':1,'b.$c':2}", "{'a$':1,'b.$c':2}",
	  NULL, NULL },
	{ "a path that selects none of many", "{'a.$':'$.vals[?(@ > 90)]'}",
	  "{'a':[]}", NULL, NULL },
	{ "a path that finds nothing", "{'x':{'a.$':'$.missing'}}", NULL,
	  "States.ParameterPathFailure", "a" },
	{ "a function that fails",
	  "{'a.$':'States.ArrayGetItem($.vals, 6)'}", NULL,
	  "States.IntrinsicFailure", "a" },
	{ "a function's path that finds nothing",
	  "{'a.$':'States.Array($.missing)'}", NULL,
	  "States.IntrinsicFailure", "a" },
};

static struct template *
compiled(const char *name, const char *text)
{
	struct value *v = value_from(text);
	struct error err = { 0 };
	struct template *t = template_compile(v->s, NULL, &err);

	ck_assert_msg(t != NULL, "%s: %s", name, err.message);
	value_unref(&v);
	return t;
}

START_TEST(fills)
{
	struct value *input = value_from(INPUT);
	struct value *context = value_from(CONTEXT);
	struct template_seed seed = { .draws = 0 };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct template *t =
		    compiled(cases[i].name, cases[i].template);
		struct error err = { 0 };
		const char *name = NULL;
		struct value *got =
		    template_eval(t, input, context, &seed, &name, &err);

		if (cases[i].want == NULL) {
			ck_assert_msg(got == NULL, "%s", cases[i].name);
			ck_assert_str_eq(name, cases[i].error);
			ck_assert_str_eq(err.field, cases[i].field);
			ck_assert_str_ne(err.message, "");
		} else {
			ck_assert_msg(got != NULL, "%s: %s", cases[i].name,
			              err.message);
			ck_assert_ptr_null(name);
			expect_value(cases[i].name, got->s, cases[i].want);
		}
		value_unref(&got);
		template_destroy(&t);
	}
	value_unref(&input);
	value_unref(&context);
}
END_TEST

static const struct {
	const char *name;
	const char *template;
	const char *field;
} wrong[] = {
	{ "a number", "{'a.$':1}", "a.$" },
	{ "null", "{'a.$':null}", "a.$" },
	{ "an object", "{'a.$':{}}", "a.$" },
	{ "an empty string", "{'a.$':''}", "a.$" },
	{ "a word", "{'a.$':'abc'}", "a.$" },
	{ "a bad path", "{'x':[{'a.$':'$.a['}]}", "a.$" },
	{ "a variable", "{'a.$':'$x'}", "a.$" },
	{ "an unknown function", "{'a.$':'States.Nothing()'}", "a.$" },
	{ "the same key", "{'a':1,'a.$':'$'}", "a" },
	{ "the same key the other way", "{'b':{'a.$':'$','a':1}}", "a" },
	{ "the same key twice", "{'a.$':'$','a.$':'$'}", "a" },
	{ "a plain key twice", "{'b':[{'a':1,'a':2}]}", "a" },
};

START_TEST(refuses)
{
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct value *v = value_from(wrong[i].template);
		struct error err = { 0 };

		ck_assert_msg(template_compile(v->s, NULL, &err) == NULL, "%s",
		              wrong[i].name);
		ck_assert_str_eq(err.field, wrong[i].field);
		ck_assert_str_ne(err.message, "");
		ck_assert(template_compile(v->s, NULL, NULL) == NULL);
		value_unref(&v);
	}
}
END_TEST

START_TEST(says_whether_it_wants_the_context)
{
	struct template *t = compiled("no", "{'a.$':'$.a'}");

	ck_assert(!template_wants_context(t));
	template_destroy(&t);
	t = compiled("path", "{'a.$':'$.a','b':[{'c.$':'$$.a'}]}");
	ck_assert(template_wants_context(t));
	template_destroy(&t);
	t = compiled("call", "{'a.$':'States.Array(States.Array($$.a))'}");
	ck_assert(template_wants_context(t));
	template_destroy(&t);
}
END_TEST

START_TEST(bounds_depth)
{
	struct template *t = compiled("one more", "{'a.$':'$'}");
	struct value *deep = value_nested(VALUE_DEPTH_MAX);
	struct value *less = value_nested(VALUE_DEPTH_MAX - 1), *got;
	struct template_seed seed = { .draws = 0 };
	struct error err = { 0 };
	const char *name = NULL;

	ck_assert_ptr_null(template_eval(t, deep, NULL, &seed, &name, &err));
	ck_assert_str_eq(name, "States.ParameterPathFailure");
	got = template_eval(t, less, NULL, &seed, &name, &err);
	ck_assert_ptr_nonnull(got);
	value_unref(&got);
	template_destroy(&t);
	/* Inside a call it may be deeper. */
	t = compiled("call", "{'a.$':'States.JsonToString(States.Array($))'}");
	got = template_eval(t, deep, NULL, &seed, &name, &err);
	ck_assert_ptr_nonnull(got);
	value_unref(&got);
	template_destroy(&t);
	value_unref(&deep);
	value_unref(&less);
}
END_TEST

/* A template can ask for its input again and again. */
START_TEST(bounds_size)
{
	struct buf b = BUF_EMPTY, text = BUF_EMPTY;
	struct template_seed seed = { .draws = 0 };
	struct error err = { 0 };
	const char *name = NULL;
	struct template *t;
	struct value *input;

	for (int i = 0; i < 200000; i++)
		buf_add_byte(&text, 'x');
	value_pack_str(&b, text.data, text.len);
	input = value_create(buf_slice(&b));
	b.len = 0;
	value_pack_array(&b, 10000);
	for (int i = 0; i < 10000; i++) {
		value_pack_map(&b, 1);
		value_pack_text(&b, "a.$");
		value_pack_text(&b, "$");
	}
	t = template_compile(buf_slice(&b), NULL, &err);
	ck_assert_ptr_nonnull(t);
	ck_assert_ptr_null(template_eval(t, input, NULL, &seed, &name, &err));
	ck_assert_ptr_nonnull(strstr(err.message, "bytes"));
	template_destroy(&t);
	value_unref(&input);
	buf_fini(&b);
	buf_fini(&text);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		fills,        refuses,     says_whether_it_wants_the_context,
		bounds_depth, bounds_size,
	};

	return run_case("template", tests, sizeof(tests) / sizeof(tests[0]));
}
