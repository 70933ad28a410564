/*
 * options - the command line, taken apart.
 */
#include "ctl/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/near.h"

static const struct {
	const char *name;
	char letter;
	const char *argument;
	const char *spelling;
} option_table[OPTIONS] = {
#define OPTION(id, name_, letter_, argument_)                                  \
	[OPTION_##id] = { name_, letter_, argument_, "--" name_ },
	OPTION_LIST(OPTION)
#undef OPTION
};

const char *
option_spelling(enum option o)
{
	ASSERT(o < OPTIONS);
	return option_table[o].spelling;
}

static void
unknown_option(const char *typed, struct error *err)
{
	const char *names[OPTIONS];
	const char *near;

	for (uint32_t n = 0; n < OPTIONS; n++)
		names[n] = option_table[n].spelling;
	near = near_name(typed, names, OPTIONS);
	if (near != NULL)
		error_set(err, "unknown option %s; did you mean %s?", typed,
			  near);
	else
		error_set(err, "unknown option %s; see: rappelctl help", typed);
}

/* The option that "--name" or "--name=…" names, or OPTIONS. */
static enum option
find_long(const char *name, size_t len)
{
	for (uint32_t n = 0; n < OPTIONS; n++)
		if (strlen(option_table[n].name) == len &&
		    memcmp(option_table[n].name, name, len) == 0)
			return (enum option)n;
	return OPTIONS;
}

static enum option
find_letter(char letter)
{
	for (uint32_t n = 0; n < OPTIONS; n++)
		if (option_table[n].letter != 0 &&
		    option_table[n].letter == letter)
			return (enum option)n;
	return OPTIONS;
}

static void
give(struct args *a, enum option o, const char *value)
{
	a->given |= UINT64_C(1) << o;
	a->value[o] = value;
}

/* One long option at argv[*at]; *at moves to the last word it used. */
static int
parse_long(int argc, char **argv, int *at, struct args *a, struct error *err)
{
	const char *typed = argv[*at];
	const char *name = typed + 2;
	const char *equals = strchr(name, '=');
	size_t len = equals != NULL ? (size_t)(equals - name) : strlen(name);
	enum option o = find_long(name, len);

	/* An option elsewhere, a question on its own. */
	if (o == OPTION_VERSION && equals == NULL && *at + 1 == argc &&
	    a->word_count == 0) {
		a->words[a->word_count++] = "version";
		return 0;
	}
	if (o == OPTIONS) {
		unknown_option(typed, err);
		return -EINVAL;
	}
	if (option_table[o].argument == NULL) {
		if (equals != NULL) {
			error_set(err, "%s takes no argument",
				  option_table[o].spelling);
			return -EINVAL;
		}
		give(a, o, "");
		return 0;
	}
	if (equals != NULL) {
		give(a, o, equals + 1);
		return 0;
	}
	if (*at + 1 == argc) {
		error_set(err, "%s needs an argument: %s %s",
			  option_table[o].spelling, option_table[o].spelling,
			  option_table[o].argument);
		return -EINVAL;
	}
	give(a, o, argv[++*at]);
	return 0;
}

/* "-qv", "-cFILE", "-c FILE". */
static int
parse_letters(int argc, char **argv, int *at, struct args *a, struct error *err)
{
	for (const char *p = argv[*at] + 1; *p != '\0'; p++) {
		enum option o = find_letter(*p);

		if (o == OPTIONS) {
			error_set(err,
				  "unknown option -%c; see: rappelctl "
				  "help",
				  *p);
			return -EINVAL;
		}
		if (option_table[o].argument == NULL) {
			give(a, o, "");
			continue;
		}
		if (p[1] != '\0') {
			give(a, o, p + 1);
			return 0;
		}
		if (*at + 1 == argc) {
			error_set(err, "-%c needs an argument: -%c %s", *p, *p,
				  option_table[o].argument);
			return -EINVAL;
		}
		give(a, o, argv[++*at]);
		return 0;
	}
	return 0;
}

int
args_parse(int argc, char **argv, struct args *out, struct error *err)
{
	struct args a = { .given = 0 };
	bool words_only = false;
	int rc = 0;

	a.words = mem_calloc((size_t)argc + 1, sizeof(*a.words));
	for (int at = 1; at < argc && rc == 0; at++) {
		const char *typed = argv[at];

		if (words_only || typed[0] != '-' || typed[1] == '\0')
			a.words[a.word_count++] = typed;
		else if (strcmp(typed, "--") == 0)
			words_only = true;
		else if (strcmp(typed, "-V") == 0)
			a.words[a.word_count++] = "version";
		else if (typed[1] == '-')
			rc = parse_long(argc, argv, &at, &a, err);
		else
			rc = parse_letters(argc, argv, &at, &a, err);
	}
	if (rc == 0 && a.word_count > ARGS_WORDS_MAX) {
		error_set(err, "more than %u words", ARGS_WORDS_MAX);
		rc = -EINVAL;
	}
	if (rc != 0) {
		args_fini(&a);
		return rc;
	}
	*out = a;
	return 0;
}

void
args_fini(struct args *a)
{
	free(a->words);
	a->words = NULL;
	a->word_count = 0;
}
