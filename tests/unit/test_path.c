/* Tests of engine/path.h. */
#include "engine/path.h"

#include "tests/unit/engine_values.h"

#define STORE \
	"{'store':{'book':[" \
	"{'category':'reference','author':'Nigel','price':8.95}," \
	"{'category':'fiction','author':'Evelyn','price':12.99}," \
	"{'category':'fiction','author':'Herman','isbn':'0-553'," \
	"'price':8.99}," \
	"{'category':'fiction','author':'Tolkien','isbn':'0-395'," \
	"'price':22.99}],'bicycle':{'color':'red','price':19.95}}," \
	"'expensive':10,'want':'Herman'}"

#define SMALL "{'foo':123,'bar':['a','b','c'],'car':{'cdr':true},'n':null}"

static const struct {
	const char *name;
	const char *path;
	const char *input;
	const char *want; /* NULL: nothing is found */
} cases[] = {
	{ "everything", "$", SMALL, SMALL },
	{ "a field", "$.foo", SMALL, "123" },
	{ "an array", "$.bar", SMALL, "['a','b','c']" },
	{ "a nested field", "$.car.cdr", SMALL, "true" },
	{ "null is a value", "$.n", SMALL, "null" },
	{ "in brackets", "$['car']['cdr']", SMALL, "true" },
	{ "in double quotes", "$[\"car\"][\"cdr\"]", SMALL, "true" },
	{ "blanks in brackets", "$[ 'car' ][ 'cdr' ]", SMALL, "true" },
	{ "dot before a bracket", "$.car.['cdr']", SMALL, "true" },
	{ "an element", "$.bar[1]", SMALL, "'b'" },
	{ "an element from the end", "$.bar[-1]", SMALL, "'c'" },
	{ "past the end", "$.bar[3]", SMALL, NULL },
	{ "before the beginning", "$.bar[-4]", SMALL, NULL },
	{ "a missing field", "$.none", SMALL, NULL },
	{ "a field of a number", "$.foo.x", SMALL, NULL },
	{ "a field of null", "$.n.x", SMALL, NULL },
	{ "an element of an object", "$.car[0]", SMALL, NULL },
	{ "the last of duplicate keys", "$.a", "{'a':1,'a':2}", "2" },
	{ "an empty key", "$['']", "{'':1}", "1" },

	{ "all elements", "$.bar[*]", SMALL, "['a','b','c']" },
	{ "all values", "$.car.*", SMALL, "[true]" },
	{ "all of a scalar", "$.foo[*]", SMALL, "[]" },
	{ "all of what is missing", "$.none[*]", SMALL, NULL },
	{ "a field of all", "$[*].a", "[{'a':1},{'b':2},{'a':3}]", "[1,3]" },
	{ "an element of all", "$[*][0]", "[[1,2],[3],[],5]", "[1,3]" },
	{ "a union of indexes", "$.a[0,1]", "{'a':[1,2,3,4]}", "[1,2]" },
	{ "a union from the end", "$.a[-1, 0]", "{'a':[1,2,3]}", "[3,1]" },
	{ "a union past the end", "$.a[0,9]", "{'a':[1,2,3]}", "[1]" },
	{ "a union of names", "$['foo','n']", SMALL, "[123,null]" },
	{ "a union of missing names", "$['x','foo']", SMALL, "[123]" },

	{ "a slice", "$[1:3]", "[0,1,2,3,4]", "[1,2]" },
	{ "a slice from", "$[3:]", "[0,1,2,3,4]", "[3,4]" },
	{ "a slice to", "$[:2]", "[0,1,2,3,4]", "[0,1]" },
	{ "a slice of all", "$[:]", "[0,1,2]", "[0,1,2]" },
	{ "a slice from the end", "$[-3:]", "[0,1,2,3,4]", "[2,3,4]" },
	{ "a slice to the end", "$[:-1]", "[0,1,2]", "[0,1]" },
	{ "a slice with a step", "$[::2]", "[0,1,2,3,4]", "[0,2,4]" },
	{ "a slice with all three", "$[1:5:2]", "[0,1,2,3,4]", "[1,3]" },
	{ "a slice backwards", "$[::-1]", "[0,1,2]", "[2,1,0]" },
	{ "a slice backwards from", "$[3:0:-2]", "[0,1,2,3,4]", "[3,1]" },
	{ "a slice that is empty", "$[3:1]", "[0,1,2,3,4]", "[]" },
	{ "a slice past the end", "$[2:100]", "[0,1,2,3]", "[2,3]" },
	{ "a slice far outside", "$[-999999999999999999:999999999999999999]",
	  "[0,1]", "[0,1]" },
	{ "a slice of an object", "$.car[0:1]", SMALL, NULL },

	{ "every price", "$..price", STORE, "[8.95,12.99,8.99,22.99,19.95]" },
	{ "every author", "$.store.book[*].author", STORE,
	  "['Nigel','Evelyn','Herman','Tolkien']" },
	{ "third book anywhere", "$..book[2].author", STORE, "['Herman']" },
	{ "everything below", "$..*", "{'a':[1,{'b':2}]}",
	  "[[1,{'b':2}],1,{'b':2},2]" },
	{ "brackets below", "$..['price']", "[{'price':1}]", "[1]" },
	{ "nothing below", "$..nothing", STORE, "[]" },
	{ "first of every array", "$..[0]", "[[1,2],[3]]", "[[1,2],1,3]" },

	{ "less than", "$.store.book[?(@.price < 10)].author", STORE,
	  "['Nigel','Herman']" },
	{ "exists", "$.store.book[?(@.isbn)].author", STORE,
	  "['Herman','Tolkien']" },
	{ "does not exist", "$.store.book[?(!@.isbn)].author", STORE,
	  "['Nigel','Evelyn']" },
	{ "equals", "$.store.book[?(@.author == 'Evelyn')].price", STORE,
	  "[12.99]" },
	{ "equals in double quotes",
	  "$.store.book[?(@.author == \"Evelyn\")].price", STORE, "[12.99]" },
	{ "without parentheses", "$.store.book[?@.price>20].author", STORE,
	  "['Tolkien']" },
	{ "and", "$.store.book[?(@.price > 8 && @.price<9)].author", STORE,
	  "['Nigel','Herman']" },
	{ "or", "$.store.book[?(@.price < 8.96 || @.price > 20)].author",
	  STORE, "['Nigel','Tolkien']" },
	{ "and before or",
	  "$[?(@.a == 1 || @.a == 2 && @.b == 1)].n",
	  "[{'a':1,'b':2,'n':1},{'a':2,'b':2,'n':2},{'a':2,'b':1,'n':3}]",
	  "[1,3]" },
	{ "parentheses", "$[?((@.a == 1 || @.a == 2) && @.b == 1)].n",
	  "[{'a':1,'b':2,'n':1},{'a':2,'b':2,'n':2},{'a':2,'b':1,'n':3}]",
	  "[3]" },
	{ "not of parentheses", "$[?(!(@ > 1 && @ < 4))]", "[1,2,3,4]",
	  "[1,4]" },
	{ "against the root", "$.store.book[?(@.price > $.expensive)].author",
	  STORE, "['Evelyn','Tolkien']" },
	{ "a root path that finds nothing", "$.store.book[?(@.price > $.x)]",
	  STORE, "[]" },
	{ "the element itself", "$[?(@ >= 2)]", "[1,2,3]", "[2,3]" },
	{ "elements of other types", "$[?(@.x == 1)]", "[1,'x',[],{'x':1}]",
	  "[{'x':1}]" },
	{ "a string is no number", "$[?(@ == 1)]", "['1',1,1.0,true]",
	  "[1,1.0]" },
	{ "missing is not equal", "$[?(@.x != 1)]", "[{'x':1},{'x':2},{}]",
	  "[{'x':2},{}]" },
	{ "missing is not null", "$[?(@.x == null)]", "[{'x':null},{}]",
	  "[{'x':null}]" },
	{ "booleans", "$[?(@.x == true)].n",
	  "[{'x':true,'n':1},{'x':false,'n':2},{'x':'true','n':3}]", "[1]" },
	{ "strings in order", "$[?(@ > 'b')]", "['a','b','bb','c']",
	  "['bb','c']" },
	{ "negative numbers", "$[?(@ < -1.5e0)]", "[-2,-1,0]", "[-2]" },
	{ "large integers", "$[?(@ > 9007199254740992)]",
	  "[9007199254740992,9007199254740993,9007199254740992.0]",
	  "[9007199254740993]" },
	{ "in", "$[?(@ in ['a', 'c', 1])]", "['a','b','c',1]",
	  "['a','c',1]" },
	{ "in the root's", "$.l[?(@ in $.ok)]", "{'l':[1,2,3],'ok':[3,1]}",
	  "[1,3]" },
	{ "nin", "$[?(@ nin ['a'])]", "['a','b']", "['b']" },
	{ "contains", "$[?(@.t contains 'x')].n",
	  "[{'t':['x','y'],'n':1},{'t':['y'],'n':2},{'t':'axb','n':3}]",
	  "[1,3]" },
	{ "subsetof", "$[?(@ subsetof [1,2,3])]", "[[1,2],[1,4],[]]",
	  "[[1,2],[]]" },
	{ "anyof", "$[?(@ anyof [1,2])]", "[[1,5],[4]]", "[[1,5]]" },
	{ "noneof", "$[?(@ noneof [1,2])]", "[[1,5],[4]]", "[[4]]" },
	{ "size", "$[?(@.a size 2)].n", "[{'a':[1,2],'n':1},{'a':[],'n':2}]",
	  "[1]" },
	{ "empty", "$[?(@ empty true)]", "[[],[1],'','a',{}]",
	  "[[],'',{}]" },
	{ "a function in a filter", "$[?(@.a.length() > 1)].n",
	  "[{'a':[1,2],'n':1},{'a':[],'n':2}]", "[1]" },
	{ "a filter in a filter", "$[?(@.l[?(@.x == 2)])].n",
	  "[{'l':[{'x':1}],'n':1},{'l':[{'x':2}],'n':2}]", "[2]" },
	{ "a bracket in a string", "$[?(@.a == ')]}')].a", "[{'a':')]}'}]",
	  "[')]}']" },
	{ "names with a dash", "$[?(@.a-b == 1)].n", "[{'a-b':1,'n':7}]",
	  "[7]" },
	{ "an object is tested itself", "$.car[?(@.cdr == true)]", SMALL,
	  "[{'cdr':true}]" },
	{ "a filter on a number", "$.foo[?(@.x)]", SMALL, NULL },
	{ "a filter below", "$..[?(@.p > 1)].p",
	  "{'p':2,'l':[{'p':1},{'p':3}]}", "[2,3]" },
	{ "a filter that finds none", "$.bar[?(@ == 'z')]", SMALL, "[]" },
	{ "an index behind a filter", "$.bar[?(@ == 'a')][0]", SMALL, "[]" },

	{ "length of an array", "$.bar.length()", SMALL, "3" },
	{ "length of an object", "$.length()", SMALL, "4" },
	{ "length of a selection", "$.store.book[?(@.isbn)].length()", STORE,
	  "2" },
	{ "length of characters", "$.length()", "'\xc3\xa4\xc3\xb6'", "2" },
	{ "length of a number", "$.foo.length()", SMALL, NULL },
	{ "min", "$..price.min()", STORE, "8.95" },
	{ "max", "$.max()", "[1,3,2]", "3" },
	{ "sum of integers", "$.sum()", "[1,3,2]", "6" },
	{ "sum of both", "$.sum()", "[1,0.5]", "1.5" },
	{ "avg", "$.avg()", "[1,2]", "1.5" },
	{ "stddev", "$.stddev()", "[1,3]", "1.0" },
	{ "sum of none", "$.sum()", "[]", NULL },
	{ "keys", "$.keys()", "{'a':1,'b':2}", "['a','b']" },
	{ "first", "$.bar.first()", SMALL, "'a'" },
	{ "last of a selection", "$.bar[0:2].last()", SMALL, "'b'" },

	/* Of the specification. */
	{ "escaped dot", "$.store\\.book", "{'store.book':1}", "1" },
	{ "escapes of nothing special", "$.\\stor\\e.boo\\k",
	  "{'store':{'book':1}}", "1" },
	{ "escaped dot first", "$.foo.\\.bar", "{'foo':{'.bar':1}}", "1" },
	{ "many escapes", "$.foo\\@bar.baz\\[\\[.\\?pretty",
	  "{'foo@bar':{'baz[[':{'?pretty':1}}}", "1" },
	{ "not ASCII", "$.&\xd0\x96\xe4\xb8\xad.\\uD800\\uDF46",
	  "{'&\xd0\x96\xe4\xb8\xad':{'\\uD800\\uDF46':1}}", "1" },
	{ "indexes in a row", "$.ledgers[0][1][2].foo",
	  "{'ledgers':[[0,[0,1,{'foo':7}]]]}", "7" },
	{ "escapes in quotes", "$['a\\'b\\\\c\\u0041\\n']",
	  "{'a\\u0027b\\\\cA\\n':1}", "1" },
};

static struct path *
compiled(const char *name, const char *text, enum path_kind kind)
{
	struct error err = { 0 };
	struct path *p = path_compile(slice_of(text), kind, &err);

	ck_assert_msg(p != NULL, "%s: %s", name, err.message);
	return p;
}

START_TEST(selects)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct path *p =
		    compiled(cases[i].name, cases[i].path, PATH_ANY);
		struct value *input = value_from(cases[i].input), *got;
		struct error err = { 0 };

		got = path_eval(p, input, NULL, &err);
		if (cases[i].want == NULL) {
			ck_assert_msg(got == NULL, "%s", cases[i].name);
			ck_assert_msg(err.message[0] != '\0', "%s",
			              cases[i].name);
		} else {
			ck_assert_msg(got != NULL, "%s: %s", cases[i].name,
			              err.message);
			expect_value(cases[i].name, got->s, cases[i].want);
		}
		value_unref(&got);
		value_unref(&input);
		path_destroy(&p);
	}
}
END_TEST

START_TEST(selects_from_the_context)
{
	struct value *input = value_from("{'a':1}");
	struct value *context = value_from("{'a':2,'l':[1,2],'x':2}");
	struct path *p = compiled("context", "$$.a", PATH_ANY);
	struct value *got = path_eval(p, input, context, NULL);

	ck_assert(path_wants_context(p));
	ck_assert_ptr_nonnull(got);
	expect_value("context", got->s, "2");
	value_unref(&got);
	path_destroy(&p);
	p = compiled("root", "$$.l[?(@ == $.x)]", PATH_ANY);
	got = path_eval(p, input, context, NULL);
	ck_assert_ptr_nonnull(got);
	expect_value("root", got->s, "[2]");
	value_unref(&got);
	path_destroy(&p);
	p = compiled("input", "$.a", PATH_ANY);
	ck_assert(!path_wants_context(p));
	path_destroy(&p);
	value_unref(&input);
	value_unref(&context);
}
END_TEST

static const struct {
	const char *path;
	bool reference_too; /* wrong as a reference path only otherwise */
} wrong[] = {
	{ "", true },
	{ "a", true },
	{ " $", true },
	{ "$.", true },
	{ "$..", true },
	{ "$a", true },
	{ "$.a.", true },
	{ "$.a..", true },
	{ "$.a b", true },
	{ "$.a ", true },
	{ "$.a,$.b", true },
	{ "$.a]", true },
	{ "$.a)", true },
	{ "$.a*", true },
	{ "$.a?", true },
	{ "$.'a'", true },
	{ "$[", true },
	{ "$[]", true },
	{ "$[a]", true },
	{ "$['a", true },
	{ "$['a'", true },
	{ "$['a',]", true },
	{ "$['a' 'b']", true },
	{ "$[0", true },
	{ "$[-]", true },
	{ "$[0,]", true },
	{ "$[1.5]", true },
	{ "$[9999999999999999999]", true },
	{ "$[::0]", true },
	{ "$[0,1:2]", true },
	{ "$[?]", true },
	{ "$[?()]", true },
	{ "$[?(@.a]", true },
	{ "$[?(@.a ==)]", true },
	{ "$[?(@.a = 1)]", true },
	{ "$[?(@.a == b)]", true },
	{ "$[?(@.a == 01)]", true },
	{ "$[?(@.a == 'b)]", true },
	{ "$[?(@.a =~ /b/)]", true },
	{ "$[?(@.a && )]", true },
	{ "$[?(@.a in [[1]])]", true },
	{ "$[?(@.a[?(@.b[?(@.c[?(@.d[?(@.e)])])])])]", true },
	{ "$[(@.length-1)]", true },
	{ "$.a.length(1)", true },
	{ "$.a.unknown()", true },
	{ "$.a.length().b", true },
	{ "$..length()", true },
	{ "$.a\\", true },
	{ "$.\\uD800", true },
	{ "$.\xff", true },
	{ "$.a[*]", false },
	{ "$.*", false },
	{ "$..a", false },
	{ "$.a[0:1]", false },
	{ "$.a[0,1]", false },
	{ "$['a','b']", false },
	{ "$.a[?(@.b)]", false },
	{ "$.a.length()", false },
	{ "$.a@b", false },
	{ "$.a:b", false },
};

START_TEST(refuses)
{
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct error err = { 0 };
		struct path *p = path_compile(slice_of(wrong[i].path),
		                              PATH_REFERENCE, &err);

		ck_assert_msg(p == NULL, "%s", wrong[i].path);
		ck_assert_msg(err.message[0] != '\0', "%s", wrong[i].path);
		p = path_compile(slice_of(wrong[i].path), PATH_ANY, NULL);
		ck_assert_msg((p == NULL) == wrong[i].reference_too, "%s",
		              wrong[i].path);
		path_destroy(&p);
	}
}
END_TEST

static const struct {
	const char *name;
	const char *path;
	const char *input;
	const char *result;
	const char *want; /* NULL: it cannot be set */
} sets[] = {
	{ "all of it", "$", "{'a':1}", "[2]", "[2]" },
	{ "over a field", "$.master.detail", "{'master':{'detail':[1,2,3]}}",
	  "6", "{'master':{'detail':6}}" },
	{ "new fields on the way", "$.master.result.sum",
	  "{'master':{'detail':[1,2,3]}}", "6",
	  "{'master':{'detail':[1,2,3],'result':{'sum':6}}}" },
	{ "from nothing", "$.b.greeting", "{'a':1}", "'Hi!'",
	  "{'a':1,'b':{'greeting':'Hi!'}}" },
	{ "into an empty object", "$.a", "{}", "null", "{'a':null}" },
	{ "in the middle", "$.b", "{'a':1,'b':2,'c':3}", "9",
	  "{'a':1,'b':9,'c':3}" },
	{ "in brackets", "$['a b']['c']", "{'a b':{}}", "1",
	  "{'a b':{'c':1}}" },
	{ "an element", "$.a[1]", "{'a':[1,2,3],'b':0}", "9",
	  "{'a':[1,9,3],'b':0}" },
	{ "in an element", "$.a[0].b", "{'a':[{'c':1}]}", "2",
	  "{'a':[{'c':1,'b':2}]}" },
	{ "the last element", "$[-1]", "[1,2]", "9", "[1,9]" },
	{ "the last of duplicate keys", "$.a", "{'a':1,'a':2}", "3",
	  "{'a':1,'a':3}" },
	{ "into a string", "$.x", "'foo'", "1", NULL },
	{ "into null", "$.a.b", "{'a':null}", "1", NULL },
	{ "a field of an array", "$.a.b", "{'a':[]}", "1", NULL },
	{ "past the end", "$.a[2]", "{'a':[1,2]}", "1", NULL },
	{ "an element of nothing", "$.a[0]", "{}", "1", NULL },
	{ "an element of an object", "$[0]", "{}", "1", NULL },
	{ "the context", "$$.a", "{}", "1", NULL },
};

START_TEST(sets_a_place)
{
	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		struct path *p =
		    compiled(sets[i].name, sets[i].path, PATH_REFERENCE);
		struct value *input = value_from(sets[i].input);
		struct value *result = value_from(sets[i].result), *got;
		struct error err = { 0 };

		got = path_set(p, input, result, &err);
		if (sets[i].want == NULL) {
			ck_assert_msg(got == NULL, "%s", sets[i].name);
			ck_assert_msg(err.message[0] != '\0', "%s",
			              sets[i].name);
		} else {
			ck_assert_msg(got != NULL, "%s: %s", sets[i].name,
			              err.message);
			expect_value(sets[i].name, got->s, sets[i].want);
		}
		value_unref(&got);
		value_unref(&input);
		value_unref(&result);
		path_destroy(&p);
	}
}
END_TEST

START_TEST(shares_bytes)
{
	struct value *input = value_from("{'a':{'b':[1,2,3]}}");
	struct path *p = compiled("part", "$.a.b", PATH_ANY);
	struct value *got = path_eval(p, input, NULL, NULL);

	ck_assert(got->s.data > input->s.data &&
	          got->s.data < input->s.data + input->s.len);
	value_unref(&input);
	expect_value("part", got->s, "[1,2,3]");
	value_unref(&got);
	path_destroy(&p);
}
END_TEST

/* Values are at most VALUE_DEPTH_MAX deep, so results must be. */
START_TEST(bounds_depth)
{
	struct value *deep = value_nested(VALUE_DEPTH_MAX);
	struct value *less = value_nested(VALUE_DEPTH_MAX - 1);
	struct value *object = value_from("{}"), *got;
	struct error err = { 0 };
	struct path *p = compiled("set", "$.a", PATH_REFERENCE);
	char text[2 + 2 * (VALUE_DEPTH_MAX + 1)] = "$";

	ck_assert_ptr_null(path_set(p, object, deep, &err));
	ck_assert_ptr_nonnull(strstr(err.message, "deeper"));
	got = path_set(p, object, less, &err);
	ck_assert_ptr_nonnull(got);
	value_unref(&got);
	path_destroy(&p);

	for (int i = 0; i <= VALUE_DEPTH_MAX; i++)
		memcpy(text + 1 + 2 * i, ".a", 3);
	p = compiled("many steps", text, PATH_REFERENCE);
	ck_assert_ptr_null(path_set(p, object, object, &err));
	path_destroy(&p);

	p = compiled("all", "$[*]", PATH_ANY);
	got = path_eval(p, deep, NULL, NULL);
	ck_assert_ptr_nonnull(got);
	value_unref(&got);
	path_destroy(&p);
	/* A context holds a value and is deeper than one. */
	p = compiled("context", "$$", PATH_ANY);
	value_unref(&got);
	value_unref(&less);
	less = value_nested(VALUE_DEPTH_MAX + 1);
	ck_assert_ptr_null(path_eval(p, object, less, &err));
	path_destroy(&p);
	value_unref(&deep);
	value_unref(&less);
	value_unref(&object);
}
END_TEST

static const char *const greedy[] = {
	"$..*..*..*..*..*..*..*..*..*..*..*..*",
	"$[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0][0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]"
	"[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0][0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]"
	"[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0][0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]"
	"[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0][0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0]",
	"$..[?(@..[?(@..[?(@..*..*..*..*)])])]..*..*..*..*..*..*",
};

START_TEST(bounds_work)
{
	struct value *deep = value_nested(VALUE_DEPTH_MAX);

	for (size_t i = 0; i < sizeof(greedy) / sizeof(greedy[0]); i++) {
		struct path *p = compiled("greedy", greedy[i], PATH_ANY);
		struct error err = { 0 };

		ck_assert_msg(path_eval(p, deep, NULL, &err) == NULL, "%s",
		              greedy[i]);
		path_destroy(&p);
	}
	value_unref(&deep);
}
END_TEST

/* A filter against the root is evaluated once, not once an element. */
START_TEST(keeps_what_the_root_has)
{
	struct buf b = BUF_EMPTY;
	struct path *p =
	    compiled("kept", "$.l[?(@ == $.want)].length()", PATH_ANY);
	struct value *input, *got;

	value_pack_map(&b, 2);
	value_pack_text(&b, "l");
	value_pack_array(&b, 100000);
	for (int i = 0; i < 100000; i++)
		value_pack_int(&b, i % 10);
	value_pack_text(&b, "want");
	value_pack_int(&b, 3);
	input = value_create(buf_slice(&b));
	got = path_eval(p, input, NULL, NULL);
	ck_assert_ptr_nonnull(got);
	expect_value("kept", got->s, "10000");
	value_unref(&got);
	value_unref(&input);
	path_destroy(&p);
	buf_fini(&b);
}
END_TEST

int
main(void)
{
	const TTest *tests[] = {
		selects,        selects_from_the_context,
		refuses,        sets_a_place,
		shares_bytes,   bounds_depth,
		bounds_work,    keeps_what_the_root_has,
	};

	return run_case("path", tests, sizeof(tests) / sizeof(tests[0]));
}
