/* Tests of common/json.h. */
#include <errno.h>
#include <locale.h>
#include <string.h>

#include "common/json.h"
#include "tests/unit/unit.h"

/* ---- parsing: text, what is written back (NULL: the same), or refused ---- */

static const struct {
	const char *name;
	const char *text;
	const char *written;
} goods[] = {
	{ "null", "null", NULL },
	{ "true", "true", NULL },
	{ "false", " false\n", "false" },
	{ "zero", "0", NULL },
	{ "integer", "42", NULL },
	{ "negative", "-42", NULL },
	{ "the least", "-9223372036854775808", NULL },
	{ "the greatest signed", "9223372036854775807", NULL },
	{ "above the greatest signed", "9223372036854775808", NULL },
	{ "the greatest", "18446744073709551615", NULL },
	{ "minus zero", "-0", "-0.0" },
	{ "minus zero, a double", "-0.0", NULL },
	{ "minus zero, with e", "-0e5", "-0.0" },
	{ "double", "1.5", NULL },
	{ "whole double", "1.0", NULL },
	{ "with an exponent", "1e2", "100.0" },
	{ "with a large E", "1E+2", "100.0" },
	{ "a tenth", "0.1", NULL },
	{ "17 digits", "0.30000000000000004", NULL },
	{ "16 digits", "5e-324", NULL },
	{ "small", "2.2250738585072014e-308", NULL },
	{ "below normal", "1.5e-310", NULL },
	{ "greatest double", "1.7976931348623157e+308", NULL },
	{ "rounds to the greatest", "1.7976931348623158e308",
	  "1.7976931348623157e+308" },
	{ "2^53", "9007199254740992.0", NULL },
	{ "2^63 as a double", "9223372036854775808.0",
	  "9.223372036854776e+18" },
	{ "1e15", "1e15", "1e+15" },
	{ "below 1e15", "999999999999999.0", NULL },
	{ "1e100", "1e100", "1e+100" },
	{ "too small is zero", "1e-400", "0.0" },
	{ "many digits",
	  "0.1000000000000000055511151231257827021181583404541015625000000000"
	  "00000000000000000000",
	  "0.1" },
	{ "one third", "0.3333333333333333", NULL },
	{ "empty string", "\"\"", NULL },
	{ "string", "\"abc\"", NULL },
	{ "escapes", "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
	  "\"\\\"\\\\/\\b\\f\\n\\r\\t\"" },
	{ "control characters", "\"\\u0001\\u001f\\u007f\"",
	  "\"\\u0001\\u001f\x7f\"" },
	{ "NUL", "\"a\\u0000b\"", NULL },
	{ "escaped letter", "\"\\u00e9\\u20AC\"", "\"\xc3\xa9\xe2\x82\xac\"" },
	{ "surrogate pair", "\"\\ud83d\\ude00\"", "\"\xf0\x9f\x98\x80\"" },
	{ "two pairs", "\"\\ud83d\\ude00\\uD83D\\uDE01\"",
	  "\"\xf0\x9f\x98\x80\xf0\x9f\x98\x81\"" },
	{ "the last pair", "\"\\udbff\\udfff\"", "\"\xf4\x8f\xbf\xbf\"" },
	{ "escaped backslash before ud83d", "\"\\\\ud83d\"", NULL },
	{ "UTF-8", "\"\xc3\xa9\xf0\x9f\x98\x80\"", NULL },
	{ "quote late in a long string", "\"abcdefghijklmnopqrstuvw\\\"x\"",
	  NULL },
	{ "empty array", "[ ]", "[]" },
	{ "array", "[1,\"a\",null,[2]]", NULL },
	{ "empty map", "{ }", "{}" },
	{ "map", "{\"b\":1,\"a\":{\"c\":[]}}", NULL },
	{ "duplicate keys are kept", "{\"a\":1,\"a\":2}", NULL },
	{ "empty key", "{\"\":1}", NULL },
	{ "key with an escape", "{\"\\n\":1}", NULL },
	{ "blanks", "\t[ 1 ,\r\n2 ] \n", "[1,2]" },
	{ "15 elements", "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15]", NULL },
	{ "16 elements", "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]", NULL },
	{ "16 within 16",
	  "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,"
	  "[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16]]",
	  NULL },
};

START_TEST(parses)
{
	const char *text = goods[_i].text;
	const char *written = goods[_i].written;
	struct buf b = BUF_EMPTY, back = BUF_EMPTY, again = BUF_EMPTY;
	struct error err = { .line = 0 };
	char *copy = strdup(text); /* at the end of its memory */

	ck_assert_msg(json_parse(copy, strlen(text), VALUE_DEPTH_MAX, &b, NULL,
				 &err) == 0,
		      "%s: %s", goods[_i].name, err.message);
	CASE(&goods[_i],
	     value_check(buf_slice(&b), VALUE_DEPTH_MAX, NULL) == 0);
	json_write(buf_slice(&b), &back);
	ck_assert_str_eq(buf_text(&back), written != NULL ? written : text);
	/* Over several lines it is the same value, to the byte. */
	back.len = 0;
	json_write_pretty(buf_slice(&b), &back);
	CASE(&goods[_i], json_parse((char *)back.data, back.len,
				    VALUE_DEPTH_MAX, &again, NULL, NULL) == 0);
	CASE(&goods[_i],
	     again.len == b.len && memcmp(again.data, b.data, b.len) == 0);
	free(copy);
	buf_fini(&b);
	buf_fini(&back);
	buf_fini(&again);
}
END_TEST

static const struct {
	const char *name;
	const char *text;
	uint32_t line;
	const char *message; /* a part of it */
} bads[] = {
	{ "empty", "", 0, "empty" },
	{ "blanks only", " \n ", 0, "empty" },
	{ "not JSON", "hello", 1, "not valid JSON" },
	{ "cut", "[1,\n2", 2, "ends too early" },
	{ "cut string", "\"abc", 1, "ends too early" },
	{ "cut word", "tru", 1, "not valid JSON" },
	{ "two values", "1 2", 1, "trailing garbage" },
	{ "value behind an array", "[]\n\n1", 3, "trailing garbage" },
	{ "comma at the end", "[1,]", 1, "not valid JSON" },
	{ "missing comma", "[1\n2]", 2, "','" },
	{ "missing colon", "{\"a\"\n\n1}", 3, "colon" },
	{ "key without quotes", "{\na:1}", 2, "not valid JSON" },
	{ "integer as key", "{1:1}", 1, "key" },
	{ "single quotes", "['a']", 1, "not valid JSON" },
	{ "comment", "[1] // one", 1, "not valid JSON" },
	{ "NaN", "NaN", 1, "not valid JSON" },
	{ "Infinity", "[Infinity]", 1, "not valid JSON" },
	{ "leading zero", "01", 1, "not valid JSON" },
	{ "plus", "+1", 1, "not valid JSON" },
	{ "dot at the end", "[1.]", 1, "not valid JSON" },
	{ "dot at the start", ".5", 1, "not valid JSON" },
	{ "exponent without digits", "[1e]", 1, "not valid JSON" },
	{ "minus alone", "[-]", 1, "not valid JSON" },
	{ "newline in a string", "\"a\nb\"", 1, "not valid JSON" },
	{ "unknown escape", "\"\\x41\"", 1, "not valid JSON" },
	{ "cut \\u", "\"\\u12\"", 1, "not valid JSON" },
	{ "byte order mark", "\xef\xbb\xbf[]", 1, "not valid JSON" },
	{ "2^64", "18446744073709551616", 1, "64 bits" },
	{ "below -2^63", "[\n-9223372036854775809]", 2, "64 bits" },
	{ "forty digits", "1234567890123456789012345678901234567890123", 1,
	  "64 bits" },
	{ "beyond a double", "[1,\n\n1e309]", 3, "double" },
	{ "far below a double", "-1e999999999", 1, "double" },
	{ "high surrogate alone", "[1,\n\"\\ud800\"]", 2, "surrogate" },
	{ "low surrogate alone", "\"\\udc00\"", 1, "surrogate" },
	{ "pair the wrong way", "\"\\ude00\\ud83d\"", 1, "surrogate" },
	{ "high and high", "\"\\ud83d\\ud83d\\ude00\"", 1, "surrogate" },
	{ "high and a letter", "\"\\ud83dx\"", 1, "surrogate" },
	{ "high and an escape", "\"\\ud83d\\n\"", 1, "surrogate" },
	{ "high in a key", "{\"\\uD83D\":1}", 1, "surrogate" },
	{ "high at the end", "\"\\ud83d", 1, "surrogate" },
	{ "Latin-1", "\"\xe9\"", 0, "UTF-8" },
	{ "overlong", "\"\xc0\x80\"", 0, "UTF-8" },
	{ "surrogate in UTF-8", "\"\xed\xa0\x80\"", 0, "UTF-8" },
	{ "beyond Unicode", "\"\xf4\x90\x80\x80\"", 0, "UTF-8" },
	{ "closing the wrong one", "[1}", 1, "not valid JSON" },
	{ "closing nothing", "]", 1, "not valid JSON" },
};

START_TEST(refuses)
{
	struct buf b = BUF_EMPTY;
	struct error err = { .line = 0 };
	struct json_places places = { NULL, 0, 0 };
	const char *text = bads[_i].text;

	buf_add_text(&b, "before");
	ck_assert_msg(json_parse(text, strlen(text), VALUE_DEPTH_MAX, &b,
				 &places, &err) == -EINVAL,
		      "%s was accepted", bads[_i].name);
	ck_assert_msg(strstr(err.message, bads[_i].message) != NULL, "%s: %s",
		      bads[_i].name, err.message);
	ck_assert_msg(err.line == bads[_i].line, "%s: line %u", bads[_i].name,
		      err.line);
	CASE(&bads[_i], strchr(err.message, '\n') == NULL);
	CASE(&bads[_i], err.message[strlen(err.message) - 1] != '.');
	CASE(&bads[_i], slice_is(buf_slice(&b), "before"));
	CASE(&bads[_i], json_parse(text, strlen(text), VALUE_DEPTH_MAX, &b,
				   NULL, NULL) == -EINVAL);
	buf_fini(&b);
	json_places_fini(&places);
}
END_TEST

START_TEST(nul_in_text)
{
	struct buf b = BUF_EMPTY;

	ck_assert_int_eq(json_parse("1\0", 2, 4, &b, NULL, NULL), -EINVAL);
	ck_assert_int_eq(json_parse("\"\0\"", 3, 4, &b, NULL, NULL), -EINVAL);
	buf_fini(&b);
}
END_TEST

/* The same count as value_check(), on both sides. */
START_TEST(depth)
{
	char text[400];

	for (uint32_t max = 0; max <= DEFINITION_DEPTH_MAX; max++) {
		for (uint32_t deep = 1; deep < 140; deep += 1 + deep / 40) {
			struct buf b = BUF_EMPTY;
			int rc;

			memset(text, '[', deep);
			memset(text + deep, ']', deep);
			rc = json_parse(text, 2UL * deep, max, &b, NULL, NULL);
			ck_assert_int_eq(rc, deep <= max ? 0 : -EINVAL);
			if (rc == 0) {
				ck_assert_int_eq(
				    value_check(buf_slice(&b), max, NULL), 0);
				ck_assert_int_eq(
				    value_check(buf_slice(&b), deep - 1, NULL),
				    -EPROTO);
			}
			buf_fini(&b);
		}
	}
}
END_TEST

/* Containers around the sizes at which their header grows. */
START_TEST(sizes)
{
	static const struct {
		uint32_t count;
		size_t header;
	} cases[] = {
		{ 0, 1 },    { 1, 1 },     { 15, 1 },    { 16, 3 },
		{ 1000, 3 }, { 65535, 3 }, { 65536, 5 }, { 70000, 5 },
	};

	for (int i = 0; i < COUNT(cases); i++) {
		struct buf text = BUF_EMPTY, b = BUF_EMPTY, m = BUF_EMPTY;

		buf_add_byte(&text, '[');
		for (uint32_t n = 0; n < cases[i].count; n++)
			buf_printf(&text, "%s1", n > 0 ? "," : "");
		buf_add_byte(&text, ']');
		ck_assert_int_eq(
		    json_parse((char *)text.data, text.len, 4, &b, NULL, NULL),
		    0);
		ck_assert_uint_eq(b.len, cases[i].header + cases[i].count);
		ck_assert_uint_eq(value_count(buf_slice(&b)), cases[i].count);
		ck_assert_int_eq(value_check(buf_slice(&b), 4, NULL), 0);

		text.len = 0;
		buf_add_byte(&text, '{');
		for (uint32_t n = 0; n < cases[i].count; n++)
			buf_printf(&text, "%s\"\":1", n > 0 ? "," : "");
		buf_add_byte(&text, '}');
		ck_assert_int_eq(
		    json_parse((char *)text.data, text.len, 4, &m, NULL, NULL),
		    0);
		ck_assert_uint_eq(m.len, cases[i].header + 2 * cases[i].count);
		ck_assert_int_eq(value_check(buf_slice(&m), 4, NULL), 0);
		buf_fini(&text);
		buf_fini(&b);
		buf_fini(&m);
	}
}
END_TEST

START_TEST(places)
{
	/* The outer map and the list in it get longer headers at their end,
	 * which moves what has been noted. */
	struct buf text = BUF_EMPTY, b = BUF_EMPTY;
	struct json_places p = { NULL, 0, 0 };
	struct cursor c;
	uint32_t line = 1;

	buf_add_text(&b, "before");
	buf_add_text(&text, "{\n");
	for (int i = 0; i < 20; i++) {
		buf_printf(&text, "\"k%d\":%s[", i, i % 2 == 0 ? "\n" : "");
		for (int n = 0; n < 20; n++)
			buf_printf(&text, "%s\n%d", n > 0 ? "," : "", n);
		buf_printf(&text, "]%s\n", i < 19 ? "," : "");
	}
	buf_add_text(&text, "}");
	ck_assert_int_eq(
	    json_parse((char *)text.data, text.len, 4, &b, &p, NULL), 0);
	ck_assert_uint_eq(json_places_line(&p, 0), 1);
	c = (struct cursor){ b.data + 6, b.data + b.len };
#define LINE() json_places_line(&p, (size_t)(c.at - b.data) - 6)
	(void)cursor_next(&c);
	line++;
	for (int i = 0; i < 20; i++) {
		ck_assert_uint_eq(LINE(), line);
		(void)cursor_next(&c); /* the key */
		line += i % 2 == 0;
		ck_assert_uint_eq(LINE(), line);
		(void)cursor_next(&c); /* the list */
		for (int n = 0; n < 20; n++) {
			line++;
			ck_assert_uint_eq(LINE(), line);
			ck_assert_int_eq(cursor_next(&c).i, n);
		}
		line++;
	}
	ck_assert_ptr_eq(c.at, c.end);
	ck_assert_int_eq(json_parse("\n\n7", 3, 4, &b, &p, NULL), 0);
	ck_assert_uint_eq(json_places_line(&p, 0), 3);
	json_places_fini(&p);
	ck_assert_uint_eq(json_places_line(&p, 0), 1);
	buf_fini(&text);
	buf_fini(&b);
}
END_TEST

/* ---- writing ---- */

START_TEST(writes_pretty)
{
	static const char text[] = "{\"a\":[1,{\"b\":[]}],\"c\":{},\"d\":null}";
	static const char pretty[] = "{\n"
				     "  \"a\": [\n"
				     "    1,\n"
				     "    {\n"
				     "      \"b\": []\n"
				     "    }\n"
				     "  ],\n"
				     "  \"c\": {},\n"
				     "  \"d\": null\n"
				     "}";
	struct buf b = BUF_EMPTY, out = BUF_EMPTY;

	ck_assert_int_eq(json_parse(text, strlen(text), 4, &b, NULL, NULL), 0);
	json_write_pretty(buf_slice(&b), &out);
	ck_assert_str_eq(buf_text(&out), pretty);
	buf_fini(&b);
	buf_fini(&out);
}
END_TEST

/* Every character alone and at every place of a longer string. */
START_TEST(writes_strings)
{
	for (unsigned c = 0; c < 128; c++) {
		for (size_t len = 1; len < 20; len++) {
			struct buf b = BUF_EMPTY, json = BUF_EMPTY;
			char text[20];

			memset(text, 'x', sizeof(text));
			text[len - 1] = (char)c;
			json_write_str((struct slice){ (uint8_t *)text, 20 },
				       &json);
			ck_assert_int_eq(json_parse((char *)json.data, json.len,
						    4, &b, NULL, NULL),
					 0);
			ck_assert_uint_eq(value_item(buf_slice(&b)).bytes.len,
					  20);
			ck_assert(memcmp(value_item(buf_slice(&b)).bytes.data,
					 text, 20) == 0);
			buf_fini(&b);
			buf_fini(&json);
		}
	}
}
END_TEST

/* Any double reads back equal, and is short. */
START_TEST(writes_doubles)
{
	uint64_t seed = 99;

	for (int i = 0; i < 100000; i++) {
		struct buf packed = BUF_EMPTY, json = BUF_EMPTY, b = BUF_EMPTY;
		uint64_t bits = unit_random(&seed);
		double d;

		if (i % 3 == 0)
			d = (double)(int64_t)bits / 1000.0;
		else if (i % 3 == 1)
			d = (double)(bits % 100000) / 100.0;
		else
			memcpy(&d, &bits, sizeof(d));
		if (d - d != 0)
			continue;
		value_pack_double(&packed, d);
		json_write(buf_slice(&packed), &json);
		ck_assert_uint_le(json.len, 25);
		if (i % 3 == 1)
			ck_assert_uint_le(json.len, 6);
		ck_assert_int_eq(
		    json_parse((char *)json.data, json.len, 1, &b, NULL, NULL),
		    0);
		ck_assert_uint_eq(b.len, packed.len);
		ck_assert(memcmp(b.data, packed.data, b.len) == 0);
		buf_fini(&packed);
		buf_fini(&json);
		buf_fini(&b);
	}
}
END_TEST

/* A locale with a decimal comma changes nothing. */
START_TEST(other_locale)
{
	static const char *const names[] = { "de_DE.UTF-8", "de_DE.utf8",
					     "fr_FR.UTF-8" };
	struct buf b = BUF_EMPTY, out = BUF_EMPTY;

	for (int i = 0; i < COUNT(names); i++) {
		if (setlocale(LC_ALL, names[i]) != NULL)
			break; /* where none is installed, little is tested */
	}
	ck_assert_int_eq(json_parse("[1.5,0.1]", 9, 4, &b, NULL, NULL), 0);
	json_write(buf_slice(&b), &out);
	ck_assert_str_eq(buf_text(&out), "[1.5,0.1]");
	buf_fini(&b);
	buf_fini(&out);
}
END_TEST

START_TEST(foreign_encodings)
{
	static const struct {
		const char *name;
		struct slice bytes;
		const char *text;
	} cases[] = {
		{ "float", SLICE_LITERAL("\xca\x3f\xc0\x00\x00"), "1.5" },
		{ "int64 of 1", SLICE_LITERAL("\xd3\0\0\0\0\0\0\0\x01"), "1" },
		{ "int8", SLICE_LITERAL("\xd0\x80"), "-128" },
		{ "str32", SLICE_LITERAL("\xdb\0\0\0\x01k"), "\"k\"" },
		{ "map32", SLICE_LITERAL("\xdf\0\0\0\x01\xd9\x01k\xc0"),
		  "{\"k\":null}" },
	};

	for (int i = 0; i < COUNT(cases); i++) {
		struct buf out = BUF_EMPTY;

		json_write(cases[i].bytes, &out);
		CASE(&cases[i], strcmp(buf_text(&out), cases[i].text) == 0);
		buf_fini(&out);
	}
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ parses, COUNT(goods) },
		{ refuses, COUNT(bads) },
		{ nul_in_text, 0 },
		{ depth, 0 },
		{ sizes, 0 },
		{ places, 0 },
		{ writes_pretty, 0 },
		{ writes_strings, 0 },
		{ writes_doubles, 0 },
		{ other_locale, 0 },
		{ foreign_encodings, 0 },
	};

	return unit_run("json", tests, COUNT(tests));
}
