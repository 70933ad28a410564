/* Tests of engine/intrinsic.h. */
#include "engine/intrinsic.h"

#include <stdio.h>

#include "tests/unit/engine_values.h"

/* Input of every case. */
#define INPUT \
	"{'name':'Foo','year':2020,'yes':true,'nil':null,'half':2.5," \
	"'one':[1,2,3,4,5,6,7,8,9],'five':5," \
	"'json1':{'a':{'a1':1,'a2':2},'b':2}," \
	"'json2':{'a':{'a3':1,'a4':2},'c':3}," \
	"'text':'{\\u0022number\\u0022: 20}','obj':{'k':[1]}," \
	"'template':'Hi {}','braces':'{ {}','escaped':'\\\\{{}\\\\}\\\\d'," \
	"'same':[1,1.0,'1',{'x':1,'y':2},{'y':2,'x':1},[1],[1.0],null]," \
	"'csv':'1,2,3','check':'\xe2\x9c\x93','big':9223372036854775807," \
	"'utf':'a\xc3\xa4" "b\xc3\xb6" "c','a b':'spaced'}"

static const struct {
	const char *name;
	const char *call;
	const char *want; /* NULL: it fails */
} cases[] = {
	{ "format", "States.Format('Your name is {}, we are in the year {}', "
	            "$.name, 2020)",
	  "'Your name is Foo, we are in the year 2020'" },
	{ "format of scalars", "States.Format('{} {} {} {}', $.yes, $.nil, "
	                       "$.half, -1)",
	  "'true null 2.5 -1'" },
	{ "format of nothing", "States.Format('  plain  ')", "'  plain  '" },
	{ "format of nothing at all", "States.Format('')", "''" },
	{ "format with escapes", "States.Format('\\'{}\\' \\{\\} \\\\', 'x')",
	  "'\\u0027x\\u0027 {} \\\\'" },
	{ "format from a path", "States.Format($.template, $.name)",
	  "'Hi Foo'" },
	{ "format from a path with escapes",
	  "States.Format($.escaped, $.name)", "'{Foo}\\\\d'" },
	{ "format of a context path", "States.Format('{}', $$.id)", "'ctx'" },
	{ "format with too few", "States.Format('{} {}', $.name)", NULL },
	{ "format with too many", "States.Format('{}', $.name, 1)", NULL },
	{ "format with a lone brace", "States.Format('Hello {', $.name)",
	  NULL },
	{ "format with a closing brace", "States.Format('}')", NULL },
	{ "format with two braces", "States.Format('{{}}', $.name)", NULL },
	{ "format with a lone brace from a path",
	  "States.Format($.braces, 1)", NULL },
	{ "format of an object", "States.Format('{}', $.obj)", NULL },
	{ "format of an array", "States.Format('{}', $.one)", NULL },
	{ "format with no string", "States.Format($.year, 1)", NULL },
	{ "an open escape", "States.Format('a\\b')", NULL },
	{ "an open escape elsewhere", "States.Array('a\\b')", NULL },
	{ "a missing path", "States.Array($.missing)", NULL },

	{ "string to json", "States.StringToJson($.text)", "{'number':20}" },
	{ "string to scalar", "States.StringToJson('12')", "12" },
	{ "string to no json", "States.StringToJson('\\{')", NULL },
	{ "braces that need no escape", "States.StringToJson('{}')", "{}" },
	{ "number to json", "States.StringToJson(1)", NULL },
	{ "json to string", "States.JsonToString($.obj)",
	  "'{\\u0022k\\u0022:[1]}'" },
	{ "json to string of a string", "States.JsonToString($.name)",
	  "'\\u0022Foo\\u0022'" },

	{ "array", "States.Array('Foo', 2020, $.obj, null, true, false)",
	  "['Foo',2020,{'k':[1]},null,true,false]" },
	{ "array of nothing", "States.Array()", "[]" },
	{ "blanks", "States.Array( 1 ,2 , $.name )", "[1,2,'Foo']" },
	{ "path with commas and brackets",
	  "States.Array($.one[0,1], $.one[?(@ > 7)], $['a b'])",
	  "[[1,2],[8,9],'spaced']" },
	{ "nested", "States.Array(States.Array(1),States.Array())",
	  "[[1],[]]" },
	{ "partition", "States.ArrayPartition($.one,4)",
	  "[[1,2,3,4],[5,6,7,8],[9]]" },
	{ "partition into one", "States.ArrayPartition($.one,2147483647)",
	  "[[1,2,3,4,5,6,7,8,9]]" },
	{ "partition of nothing", "States.ArrayPartition(States.Array(),3)",
	  "[]" },
	{ "partition into 0", "States.ArrayPartition($.one,0)", NULL },
	{ "partition into -1", "States.ArrayPartition($.one,-1)", NULL },
	{ "partition rounds", "States.ArrayPartition($.one[0:3],2.4)",
	  "[[1,2],[3]]" },
	{ "partition of a string", "States.ArrayPartition('a',1)", NULL },
	{ "contains", "States.ArrayContains($.one, $.five)", "true" },
	{ "contains not", "States.ArrayContains($.one, '5')", "false" },
	{ "contains an object", "States.ArrayContains(States.Array($.obj), "
	                        "$.obj)", "true" },
	{ "range", "States.ArrayRange(1, 9, 2)", "[1,3,5,7,9]" },
	{ "range to between", "States.ArrayRange(1, 6, 2)", "[1,3,5]" },
	{ "range down", "States.ArrayRange(5, 1, -2)", "[5,3,1]" },
	{ "range over zero", "States.ArrayRange(-2, 2, 2)", "[-2,0,2]" },
	{ "range of one", "States.ArrayRange(3, 3, -1)", "[3]" },
	{ "range the wrong way", "States.ArrayRange(5, 1, 1)", "[]" },
	{ "range the other wrong way", "States.ArrayRange(1, 5, -1)", "[]" },
	{ "range rounds", "States.ArrayRange(1.4, 5.6, 2.2)", "[1,3,5]" },
	{ "range with 0", "States.ArrayRange(1, 9, 0)", NULL },
	{ "range with 0.49", "States.ArrayRange(1, 9, 0.49)", NULL },
	{ "range too long", "States.ArrayRange(1, 1001, 1)", NULL },
	{ "range too long down", "States.ArrayRange(1001, 1, -1)", NULL },
	{ "range of everything", "States.ArrayRange(-9223372036854775808, "
	                         "9223372036854775807, 1)", NULL },
	{ "range at the ends", "States.ArrayRange(-9223372036854775808, "
	                       "9223372036854775807, 9223372036854775807)",
	  "[-9223372036854775808,-1,9223372036854775806]" },
	{ "range of strings", "States.ArrayRange('a', 1, 1)", NULL },
	{ "length of a long range",
	  "States.ArrayLength(States.ArrayRange(1, 1000, 1))", "1000" },
	{ "item", "States.ArrayGetItem($.one, $.five)", "6" },
	{ "item past the end", "States.ArrayGetItem($.one, 9)", NULL },
	{ "item before", "States.ArrayGetItem($.one, -1)", NULL },
	{ "item of a string", "States.ArrayGetItem('abc', 0)", NULL },
	{ "item with a string", "States.ArrayGetItem($.one, '1')", NULL },
	{ "length", "States.ArrayLength($.one)", "9" },
	{ "length of a string", "States.ArrayLength($.name)", NULL },
	{ "unique", "States.ArrayUnique($.same)",
	  "[1,'1',{'x':1,'y':2},[1],null]" },
	{ "unique of a number", "States.ArrayUnique(1)", NULL },

	{ "encode", "States.Base64Encode('Data to encode')",
	  "'RGF0YSB0byBlbmNvZGU='" },
	{ "encode nothing", "States.Base64Encode('')", "''" },
	{ "encode UTF-8", "States.Base64Encode($.check)", "'4pyT'" },
	{ "encode a number", "States.Base64Encode(1)", NULL },
	{ "decode", "States.Base64Decode('RGVjb2RlZCBkYXRh')",
	  "'Decoded data'" },
	{ "decode with padding", "States.Base64Decode('aGVsbG8=')",
	  "'hello'" },
	{ "decode without padding", "States.Base64Decode('aGVsbG8')",
	  "'hello'" },
	{ "decode nothing", "States.Base64Decode('')", "''" },
	{ "decode something else", "States.Base64Decode('?')", NULL },
	{ "decode one letter", "States.Base64Decode('a')", NULL },
	{ "decode no text", "States.Base64Decode('/////w==')", NULL },
	{ "md5", "States.Hash('hello', 'MD5')",
	  "'5d41402abc4b2a76b9719d911017c592'" },
	{ "sha-1", "States.Hash('hello', 'SHA-1')",
	  "'aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d'" },
	{ "sha-256", "States.Hash('', 'SHA-256')",
	  "'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855'"
	},
	{ "sha-384", "States.Hash('hello', 'SHA-384')",
	  "'59e1748777448c69de6b800d7a33bbfb9ff1b463e44354c3553bcdb9c666fa90"
	  "125a3c79f90397bdf5f6a13de828684f'" },
	{ "sha-512", "States.Hash('hello', 'SHA-512')",
	  "'9b71d224bd62f3785d96d46ad3ea3d73319bfbc2890caadae2dff72519673ca7"
	  "2323c3d99ba5c11d7c7acc6e14b8c5da0c4663475c2e5c3adef46f73bcdec043'"
	},
	{ "hash of JSON is of its text",
	  "States.ArrayContains(States.Array(States.Hash($.obj, 'MD5')), "
	  "States.Hash(States.JsonToString($.obj), 'MD5'))", "true" },
	{ "unknown hash", "States.Hash('hello', 'sha-256')", NULL },

	{ "merge", "States.JsonMerge($.json1, $.json2, false)",
	  "{'a':{'a3':1,'a4':2},'b':2,'c':3}" },
	{ "merge deep", "States.JsonMerge($.json1, $.json2, true)",
	  "{'a':{'a1':1,'a2':2,'a3':1,'a4':2},'b':2,'c':3}" },
	{ "merge of an array", "States.JsonMerge($.one, $.json2, false)",
	  NULL },
	{ "merge with no boolean", "States.JsonMerge($.json1,$.json2,null)",
	  NULL },

	{ "add", "States.MathAdd(111, -1)", "110" },
	{ "add rounds", "States.MathAdd($.half, 0.4)", "3" },
	{ "add a string", "States.MathAdd('1', 1)", NULL },
	{ "add too much", "States.MathAdd($.big, 1)", NULL },
	{ "random of one", "States.MathRandom(7, 7)", "7" },
	{ "random of two", "States.MathRandom(7, 8)", "7" },
	{ "random of everything",
	  "States.ArrayLength(States.Array(States.MathRandom("
	  "-9223372036854775808, 9223372036854775807)))", "1" },
	{ "random backwards", "States.MathRandom(8, 7)", NULL },
	{ "random with a seed",
	  "States.ArrayLength(States.ArrayUnique(States.Array("
	  "States.MathRandom(0,1000000,5), States.MathRandom(0,1000000,5))))",
	  "1" },

	{ "split", "States.StringSplit($.csv, ',')", "['1','2','3']" },
	{ "split at several", "States.StringSplit('This.is+a,test=string', "
	                      "'.+,=')", "['This','is','a','test','string']" },
	{ "split drops what is empty", "States.StringSplit(',a,,b,', ',')",
	  "['a','b']" },
	{ "split at nothing", "States.StringSplit('abc', '')", "['abc']" },
	{ "split nothing", "States.StringSplit('', ',')", "[]" },
	{ "split at what is not ASCII", "States.StringSplit($.utf, "
	                                "'\xc3\xa4\xc3\xb6')",
	  "['a','b','c']" },
	{ "split no character apart", "States.StringSplit($.utf, "
	                              "'\xc3\xa9')",
	  "['a\xc3\xa4" "b\xc3\xb6" "c']" },
	{ "split a number", "States.StringSplit(1, ',')", NULL },

	{ "of the documentation",
	  "States.Format('{}.{}', States.ArrayGetItem(States.StringSplit("
	  "'a/b/c', '/'), 2), States.MathAdd(1, States.ArrayLength($.one)))",
	  "'c.10'" },
};

static struct intrinsic *
compiled(const char *name, const char *text)
{
	struct error err = { 0 };
	struct intrinsic *i = intrinsic_compile(slice_of(text), &err);

	ck_assert_msg(i != NULL, "%s: %s", name, err.message);
	return i;
}

START_TEST(evaluates)
{
	struct value *input = value_from(INPUT);
	struct value *context = value_from("{'id':'ctx'}");
	struct template_seed seed = { .activation = 1 };
	struct scope scope = { input, context, &seed };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct intrinsic *in =
		    compiled(cases[i].name, cases[i].call);
		struct buf out = BUF_EMPTY;
		struct error err = { 0 };
		int rc;

		buf_add_byte(&out, 0xc0);
		rc = intrinsic_eval(in, &scope, &out, &err);
		if (cases[i].want == NULL) {
			ck_assert_msg(rc < 0, "%s", cases[i].name);
			ck_assert_msg(err.message[0] != '\0', "%s",
			              cases[i].name);
			ck_assert_uint_eq(out.len, 1);
		} else {
			ck_assert_msg(rc == 0, "%s: %s", cases[i].name,
			              err.message);
			buf_drop(&out, 1);
			expect_value(cases[i].name, buf_slice(&out),
			             cases[i].want);
		}
		buf_fini(&out);
		intrinsic_destroy(&in);
	}
	value_unref(&input);
	value_unref(&context);
}
END_TEST

static const char *const wrong[] = {
	"",
	"States",
	"States.Format",
	"States.Format ('a')",
	"States.Format(",
	"States.Format('a'",
	"States.Format('a",
	"States.Format('a'))",
	"States.Format('a') ",
	"States.Format('a',)",
	"States.Format(,'a')",
	"States.Format('a' 'b')",
	"States.Format()",
	"States.Format(\"a\")",
	"States.Format(a)",
	"States.Unknown()",
	"Format('a')",
	"States.UUID(1)",
	"States.ArrayRange(1, 2)",
	"States.ArrayRange(1, 2, 3, 4)",
	"States.Array(01)",
	"States.Array(1.)",
	"States.Array(.5)",
	"States.Array(nul)",
	"States.Array(True)",
	"States.Array($.a b)",
	"States.Array($.a[)",
	"States.Array($a)",
	"States.Array(1;2)",
	"States.Array(States.Array(1)",
};

START_TEST(refuses)
{
	struct buf b = BUF_EMPTY;

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct error err = { 0 };

		ck_assert_msg(intrinsic_compile(slice_of(wrong[i]), &err) ==
		                  NULL,
		              "%s", wrong[i]);
		ck_assert_msg(err.message[0] != '\0', "%s", wrong[i]);
	}
	for (int i = 0; i < 10000; i++)
		buf_add_text(&b, "States.Array(");
	ck_assert(intrinsic_compile(buf_slice(&b), NULL) == NULL);
	buf_fini(&b);
}
END_TEST

static void
eval_text(const char *call, struct template_seed *seed, char *text)
{
	struct value *input = value_from("null");
	struct scope scope = { input, NULL, seed };
	struct intrinsic *in = compiled(call, call);
	struct buf out = BUF_EMPTY, json = BUF_EMPTY;

	ck_assert_int_eq(intrinsic_eval(in, &scope, &out, NULL), 0);
	json_write(buf_slice(&out), &json);
	ck_assert_uint_lt(json.len, 100);
	memcpy(text, buf_text(&json), json.len + 1);
	buf_fini(&out);
	buf_fini(&json);
	intrinsic_destroy(&in);
	value_unref(&input);
}

START_TEST(derives_what_looks_random)
{
	struct template_seed seed = { .instance = { 1, 2, 3 },
		                      .activation = 7 };
	struct template_seed again = seed, other = seed;
	char a[100], b[100], c[100];

	other.activation = 8;
	eval_text("States.UUID()", &seed, a);
	eval_text("States.UUID()", &seed, b);
	ck_assert_uint_eq(seed.draws, 2);
	ck_assert_str_ne(a, b);
	eval_text("States.UUID()", &again, c);
	ck_assert_str_eq(a, c);
	eval_text("States.UUID()", &other, c);
	ck_assert_str_ne(a, c);
	/* "xxxxxxxx-xxxx-4xxx-8xxx-xxxxxxxxxxxx" */
	ck_assert_uint_eq(strlen(a), 38);
	ck_assert_int_eq(a[9], '-');
	ck_assert_int_eq(a[15], '4');
	ck_assert_ptr_nonnull(strchr("89ab", a[20]));

	again = seed;
	eval_text("States.MathRandom(0, 1000000000)", &seed, a);
	eval_text("States.MathRandom(0, 1000000000)", &again, b);
	ck_assert_str_eq(a, b);
	for (int i = 0; i < 1000; i++) {
		eval_text("States.MathRandom(-2, 2)", &seed, a);
		ck_assert_int_ge(atoi(a), -2);
		ck_assert_int_lt(atoi(a), 2);
	}
}
END_TEST

static int
eval_on(const char *call, struct value *input, struct buf *out)
{
	struct template_seed seed = { .draws = 0 };
	struct scope scope = { input, NULL, &seed };
	struct intrinsic *in = compiled(call, call);
	int rc = intrinsic_eval(in, &scope, out, NULL);

	intrinsic_destroy(&in);
	return rc;
}

START_TEST(bounds_texts)
{
	static const char *const calls[] = {
		"States.Base64Encode($)", "States.Hash($, 'MD5')",
	};
	struct buf text = BUF_EMPTY, packed = BUF_EMPTY, out = BUF_EMPTY;
	struct value *input;

	for (int len = 10000; len <= 10001; len++) {
		text.len = packed.len = 0;
		for (int i = 0; i < len; i++)
			buf_add_text(&text, "\xe2\x9c\x93");
		value_pack_str(&packed, text.data, text.len);
		input = value_create(buf_slice(&packed));
		for (int i = 0; i < 2; i++)
			ck_assert_int_eq(
			    eval_on(calls[i], input, &out) == 0, len == 10000);
		value_unref(&input);
	}
	buf_fini(&text);
	buf_fini(&packed);
	buf_fini(&out);
}
END_TEST

/* Quotes and backslashes double at every level. */
START_TEST(bounds_results)
{
	struct buf call = BUF_EMPTY, out = BUF_EMPTY;
	struct value *input = value_from("'\\u0022\\u0022'");

	for (int i = 0; i < 30; i++)
		buf_add_text(&call, "States.JsonToString(");
	buf_add_text(&call, "$");
	for (int i = 0; i < 30; i++)
		buf_add_text(&call, ")");
	ck_assert_int_lt(eval_on(buf_text(&call), input, &out), 0);
	value_unref(&input);
	buf_fini(&call);
	buf_fini(&out);
}
END_TEST

/* Quadratic time would not end within the test's deadline. */
START_TEST(takes_large_arrays)
{
	struct buf b = BUF_EMPTY, out = BUF_EMPTY;
	struct value *input;
	uint32_t count = 60000;

	value_pack_array(&b, count);
	for (uint32_t i = 0; i < count; i++) {
		value_pack_map(&b, 2);
		value_pack_text(&b, "a");
		value_pack_int(&b, i / 2);
		value_pack_text(&b, "b");
		value_pack_null(&b);
	}
	input = value_create(buf_slice(&b));
	ck_assert_int_eq(
	    eval_on("States.ArrayLength(States.ArrayUnique($))", input, &out),
	    0);
	expect_value("unique", buf_slice(&out), "30000");
	value_unref(&input);

	b.len = out.len = 0;
	value_pack_map(&b, count);
	for (uint32_t i = 0; i < count; i++) {
		char key[20];

		(void)snprintf(key, sizeof(key), "key %u", i);
		value_pack_text(&b, key);
		value_pack_int(&b, i);
	}
	input = value_create(buf_slice(&b));
	ck_assert_int_eq(eval_on("States.JsonMerge($, $, true)", input, &out),
	                 0);
	ck_assert_uint_eq(value_count(buf_slice(&out)), count);
	value_unref(&input);
	buf_fini(&b);
	buf_fini(&out);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		evaluates,    refuses,        derives_what_looks_random,
		bounds_texts, bounds_results, takes_large_arrays,
	};

	return run_case("intrinsic", tests, sizeof(tests) / sizeof(tests[0]));
}
