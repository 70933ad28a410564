/* Tests of ctl/options.h. */
#include "common/near.h"
#include "ctl/options.h"

#include <string.h>

#include "tests/unit/unit.h"

#define WORDS_MAX 8

static const struct {
	const char *name;
	const char *typed[WORDS_MAX];
	const char *words; /* with blanks between; NULL: an error */
	enum option option;
	const char *value; /* NULL: not given; or a part of the message */
} cases[] = {
	{ "words", { "run", "list" }, "run list", OPTION_JSON, NULL },
	{ "an option behind",
	  { "run", "list", "--json" },
	  "run list",
	  OPTION_JSON,
	  "" },
	{ "an option before",
	  { "--limit", "5", "run", "list" },
	  "run list",
	  OPTION_LIMIT,
	  "5" },
	{ "an option between",
	  { "run", "--limit=5", "list" },
	  "run list",
	  OPTION_LIMIT,
	  "5" },
	{ "an empty argument", { "--name=", "x" }, "x", OPTION_NAME, "" },
	{ "the last one counts",
	  { "--limit", "5", "--limit", "6" },
	  "",
	  OPTION_LIMIT,
	  "6" },
	{ "a letter", { "-c", "F", "x" }, "x", OPTION_CONFIG, "F" },
	{ "a letter that sticks", { "-cF" }, "", OPTION_CONFIG, "F" },
	{ "letters together", { "-qv" }, "", OPTION_VERBOSE, "" },
	{ "an argument like an option",
	  { "--input", "-1" },
	  "",
	  OPTION_INPUT,
	  "-1" },
	{ "stdin",
	  { "exec", "-", "-i", "-" },
	  "exec -",
	  OPTION_INPUT_FILE,
	  "-" },
	{ "only words", { "--", "--json" }, "--json", OPTION_JSON, NULL },
	{ "a version of one",
	  { "run", "start", "--version", "2" },
	  "run start",
	  OPTION_VERSION,
	  "2" },
	{ "our version", { "--version" }, "version", OPTION_VERSION, NULL },
	{ "a typing error",
	  { "run", "--jsn" },
	  NULL,
	  0,
	  "did you mean --json?" },
	{ "nothing near", { "--xyzzy" }, NULL, 0, "rappelctl help" },
	{ "an unknown letter", { "-x" }, NULL, 0, "-x" },
	{ "no argument", { "--limit" }, NULL, 0, "needs an argument" },
	{ "no argument of a letter", { "-c" }, NULL, 0, "needs an argument" },
	{ "an argument too many",
	  { "--json=1" },
	  NULL,
	  0,
	  "takes no argument" },
};

START_TEST (parses) {
	char *argv[WORDS_MAX + 2] = { strdup("rappelctl") };
	struct error err = { .line = 0 };
	struct args a;
	char words[200] = "";
	int argc = 1;
	int rc;

	while (argc <= WORDS_MAX && cases[_i].typed[argc - 1] != NULL) {
		argv[argc] = strdup(cases[_i].typed[argc - 1]);
		argc++;
	}
	rc = args_parse(argc, argv, &a, &err);
	if (cases[_i].words == NULL) {
		CASE(&cases[_i], rc != 0);
		CASE(&cases[_i], strstr(err.message, cases[_i].value) != NULL);
	} else {
		const char *value;

		ck_assert_msg(rc == 0, "%s: %s", cases[_i].name, err.message);
		value = a.value[cases[_i].option];
		for (uint32_t n = 0; n < a.word_count; n++) {
			strcat(words, n > 0 ? " " : "");
			strcat(words, a.words[n]);
		}
		CASE(&cases[_i], strcmp(words, cases[_i].words) == 0);
		if (cases[_i].value == NULL)
			CASE(&cases[_i], value == NULL);
		else
			CASE(&cases[_i],
			     value != NULL &&
				 strcmp(value, cases[_i].value) == 0);
		args_fini(&a);
	}
	for (int n = 0; n < argc; n++)
		free(argv[n]);
}
END_TEST

START_TEST (finds_the_nearest) {
	static const char *const names[] = { "run start", "run list", "stop" };

	ck_assert_str_eq(near_name("stpo", names, 3), "stop");
	ck_assert_str_eq(near_name("run lst", names, 3), "run list");
	ck_assert_ptr_null(near_name("elephant", names, 3));
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ parses, COUNT(cases) },
		{ finds_the_nearest, 0 },
	};

	return unit_run("options", tests, COUNT(tests));
}
