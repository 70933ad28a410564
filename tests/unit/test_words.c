/* Tests of common/words.h and common/pattern.h. */
#include "common/words.h"

#include <errno.h>
#include <string.h>

#include "common/pattern.h"
#include "tests/unit/unit.h"

static const struct {
	const char *name;
	const char *text;
	bool commas;
	const char *words; /* joined by |; NULL: refused */
} splits[] = {
	{ "nothing", "", false, "" },
	{ "blanks alone", " \t ", false, "" },
	{ "words", " a  b\tc ", false, "a|b|c" },
	{ "quotes of both kinds", "'a b' \"c d\"", false, "a b|c d" },
	{ "within a word", "--x='a b'c", false, "--x=a bc" },
	{ "the other quote in them", "\"it's\" '\"x\"'", false, "it's|\"x\"" },
	{ "an empty word", "a '' b", false, "a||b" },
	{ "a comment", "a b # c 'd", false, "a|b" },
	{ "no comment within a word", "a#b '#c'", false, "a#b|#c" },
	{ "a backslash is nothing special", "a\\ b \\n", false, "a\\|b|\\n" },
	{ "nor are variables", "$HOME `x`", false, "$HOME|`x`" },
	{ "commas are", "a,b", false, "a,b" },
	{ "unless asked for", "a, b,c,'d,e' f", true, "a|b|c|d,e|f" },
	{ "commas alone", " , ,", true, "" },
	{ "a quote that is not closed", "a 'b", false, NULL },
	{ "the other does not close it", "\"a'", false, NULL },
};

static void
join(const struct words *w, struct buf *out)
{
	for (uint32_t i = 0; i < w->count; i++)
		buf_printf(out, "%s%s", i > 0 ? "|" : "", w->items[i]);
}

START_TEST(split)
{
	struct words w = WORDS_EMPTY, again = WORDS_EMPTY;
	struct buf joined = BUF_EMPTY, quoted = BUF_EMPTY;
	int rc = words_split(&w, splits[_i].text, splits[_i].commas);

	CASE(&splits[_i], rc == (splits[_i].words != NULL ? 0 : -EINVAL));
	if (rc == 0) {
		join(&w, &joined);
		ck_assert_str_eq(buf_text(&joined), splits[_i].words);
		CASE(&splits[_i], w.count == 0 || w.items[w.count] == NULL);
		/* Written again it is the same. */
		for (uint32_t i = 0; i < w.count; i++) {
			buf_add_text(&quoted, i > 0 ? ", " : "");
			words_quote(w.items[i], &quoted);
		}
		ck_assert_int_eq(words_split(&again, buf_text(&quoted), true),
		                 0);
		CASE(&splits[_i], words_equal(&w, &again));
	}
	words_fini(&w);
	words_fini(&again);
	buf_fini(&joined);
	buf_fini(&quoted);
}
END_TEST

START_TEST(copies)
{
	struct words a = WORDS_EMPTY, b = WORDS_EMPTY;

	words_add(&a, "one two", 3);
	words_add(&a, "", 0);
	ck_assert(!words_equal(&a, &b));
	words_copy(&b, &a);
	ck_assert(words_equal(&a, &b));
	ck_assert_str_eq(b.items[0], "one");
	words_add(&b, "x", 1);
	ck_assert(!words_equal(&a, &b));
	words_fini(&a);
	words_fini(&b);
	ck_assert_ptr_null(a.items);
}
END_TEST

static const struct {
	const char *name;
	const char *pattern;
	const char *text;
	bool matches;
} patterns[] = {
	{ "itself", "img.small", "img.small", true },
	{ "not its beginning", "img", "img.small", false },
	{ "not its end", "small", "img.small", false },
	{ "everything", "*", "img.small", true },
	{ "everything, nothing too", "*", "", true },
	{ "nothing is nothing", "", "", true },
	{ "and nothing else", "", "a", false },
	{ "a beginning", "img.*", "img.small", true },
	{ "with nothing behind it", "img.*", "img.", true },
	{ "not without the dot", "img.*", "img", false },
	{ "an end", "*.small", "img.small", true },
	{ "the middle", "i*l", "img.small", true },
	{ "several", "*g.*a*", "img.small", true },
	{ "the last star takes more", "*ab", "aabab", true },
	{ "what comes twice", "a*a", "a", false },
	{ "stars in a row", "a**b", "ab", true },
	{ "a dot is a dot", "img.small", "imgxsmall", false },
	{ "case counts", "IMG.*", "img.small", false },
	{ "a question mark is one", "im?", "img", false },
};

START_TEST(pattern)
{
	CASE(&patterns[_i],
	     pattern_match(slice_of(patterns[_i].pattern),
	                   slice_of(patterns[_i].text)) ==
	         patterns[_i].matches);
}
END_TEST

/* What is slow for matchers that go back to every star. */
START_TEST(pattern_is_not_slow)
{
	char name[4097], stars[129];

	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	for (size_t i = 0; i + 2 < sizeof(stars); i += 2)
		memcpy(stars + i, "*a", 2);
	memcpy(stars + sizeof(stars) - 3, "*b", 3);
	ck_assert(!pattern_match(slice_of(stars), slice_of(name)));
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ split, COUNT(splits) },
		{ copies, 0 },
		{ pattern, COUNT(patterns) },
		{ pattern_is_not_slow, 0 },
	};

	return unit_run("words", tests, COUNT(tests));
}
