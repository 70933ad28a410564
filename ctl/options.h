/*
 * options - rappelctl's command line: words and options in any order.
 *
 * Pure. Every option means the same number of arguments in every command, so
 * that options may stand before the words that name the command.
 */
#ifndef CTL_OPTIONS_H
#define CTL_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/assert.h"
#include "common/error.h"

/* OPTION(name, letter or 0, argument's word or NULL): the one list. */
#define OPTION_LIST(OPTION)                                                    \
	OPTION(CONFIG, "config", 'c', "FILE")                                  \
	OPTION(DIR, "dir", 0, "DIR")                                           \
	OPTION(DEV, "dev", 0, NULL)                                            \
	OPTION(DATABASE, "database", 0, "CONNINFO")                            \
	OPTION(JSON, "json", 0, NULL)                                          \
	OPTION(OUTPUT, "output", 'o', "FORMAT")                                \
	OPTION(QUIET, "quiet", 'q', NULL)                                      \
	OPTION(VERBOSE, "verbose", 'v', NULL)                                  \
	OPTION(NO_HEADERS, "no-headers", 0, NULL)                              \
	OPTION(COLOR, "color", 0, "WHEN")                                      \
	OPTION(HELP, "help", 'h', NULL)                                        \
	OPTION(NOW, "now", 0, NULL)                                            \
	OPTION(TIMEOUT, "timeout", 0, "DURATION")                              \
	OPTION(GROUP, "group", 0, "NAME")                                      \
	OPTION(WORKERS, "workers", 0, NULL)                                    \
	OPTION(NAME, "name", 0, "NAME")                                        \
	OPTION(ASL, "asl", 0, NULL)                                            \
	OPTION(INPUT_FILE, "input-file", 'i', "FILE")                          \
	OPTION(INPUT, "input", 0, "JSON")                                      \
	OPTION(KEY, "key", 0, "KEY")                                           \
	OPTION(PRIORITY, "priority", 0, "NUMBER")                              \
	OPTION(AT, "at", 0, "TIME")                                            \
	OPTION(VERSION, "version", 0, "NUMBER")                                \
	OPTION(WAIT, "wait", 0, NULL)                                          \
	OPTION(STATUS, "status", 0, "STATUS")                                  \
	OPTION(WORKFLOW, "workflow", 0, "NAME")                                \
	OPTION(LIMIT, "limit", 0, "NUMBER")                                    \
	OPTION(SINCE, "since", 0, "TIME")                                      \
	OPTION(CAUSE, "cause", 0, "TEXT")                                      \
	OPTION(ERROR, "error", 0, "NAME")                                      \
	OPTION(PROGRESS, "progress", 0, "JSON")                                \
	OPTION(INSTANCE, "instance", 0, "ID")                                  \
	OPTION(DRY_RUN, "dry-run", 0, NULL)                                    \
	OPTION(PRINT, "print", 0, NULL)                                        \
	OPTION(MOCKS, "mocks", 0, "FILE")                                      \
	OPTION(TEST_CASE, "test-case", 0, "NAME")                              \
	OPTION(MOCK_PROGRAM, "mock-program", 0, "PROGRAM")                     \
	OPTION(FAST, "fast", 0, NULL)

enum option {
#define OPTION(id, name, letter, argument) OPTION_##id,
	OPTION_LIST(OPTION)
#undef OPTION
	    OPTIONS,
};

#define OPTION_BIT(id) (UINT64_C(1) << OPTION_##id)

/* Those that every command takes. */
#define OPTIONS_GLOBAL                                                         \
	(OPTION_BIT(CONFIG) | OPTION_BIT(DIR) | OPTION_BIT(DEV) |              \
	 OPTION_BIT(DATABASE) | OPTION_BIT(JSON) | OPTION_BIT(OUTPUT) |        \
	 OPTION_BIT(QUIET) | OPTION_BIT(VERBOSE) | OPTION_BIT(NO_HEADERS) |    \
	 OPTION_BIT(COLOR) | OPTION_BIT(HELP))

#define ARGS_WORDS_MAX 4096U

/* What was typed, borrowed from argv. */
struct args {
	const char *value[OPTIONS]; /* NULL: not given; "" for a flag */
	uint64_t given;             /* a bit an option */
	const char **words;         /* release with args_fini() */
	uint32_t word_count;
};

/* -EINVAL with a message that names the option and the nearest known one. */
int args_parse(int argc, char **argv, struct args *out,
	       struct error *err) MUST_CHECK;
void args_fini(struct args *a);

/* "--json", "-c FILE", … as help shows it. */
const char *option_spelling(enum option o);

#endif
