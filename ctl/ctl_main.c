/*
 * rappelctl - the command line of rappel: the daemon by its control socket,
 * the durable state by PostgreSQL, definitions by the engine in-process.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/near.h"
#include "common/verb.h"
#include "ctl/ctl.h"
#include "schema/migrations.h"

#ifndef RAPPEL_VERSION
#define RAPPEL_VERSION "unknown"
#endif

#define ANY_WORDS UINT32_MAX

struct command {
	const char *path;      /* the words that name it */
	const char *arguments; /* as usage shows them */
	const char *summary;
	uint32_t words_min, words_max;
	uint64_t options; /* beside the global ones */
	int (*run)(struct ctl *c);
	const char *help; /* more lines, or NULL */
};

#define O(id) OPTION_BIT(id)

static const struct command commands[] = {
	{ "status", "", "what the daemon and its processes do", 0, 0, 0,
	  cmd_status, "Exit code 3 when no daemon runs.\n" },
	{ "ping", "", "whether the daemon answers", 0, 0, 0, cmd_ping, NULL },
	{ "stop", "[--now] [--timeout DURATION]",
	  "stop the daemon and wait until it is gone", 0, 0,
	  O(NOW) | O(TIMEOUT), cmd_stop,
	  "--now gives running actions no time to end.\n"
	  "--timeout: how long to wait; the daemon goes on stopping.\n" },
	{ "drain", "", "finish what runs, start nothing new, stay", 0, 0, 0,
	  cmd_drain, NULL },
	{ "restart", "[--workers] [--group NAME] [--timeout DURATION]",
	  "replace the workers one by one, losing nothing", 0, 0,
	  O(WORKERS) | O(GROUP) | O(TIMEOUT), cmd_restart,
	  "A new worker is ready before the old one stops taking work, and\n"
	  "the old one finishes what it runs. Waits until all are replaced.\n"
	  "--group: only the workers of that group; one that does not start "
	  "is\ntried at once.\n"
	  "--timeout: how long to wait; it goes on.\n" },
	{ "scale", "WORKERS [--group NAME]",
	  "run so many workers from now on", 1, 1, O(GROUP), cmd_scale,
	  "At most workers_max of the configuration, of a group "
	  "processes_max.\nThose that are too many finish what they run. Until "
	  "the next start, or\nuntil a reload finds another number in the "
	  "configuration.\n"
	  "--group: where there are several, which of them.\n" },
	{ "reload", "", "have the daemon read its configuration again", 0, 0,
	  0, cmd_reload,
	  "A configuration with an error changes nothing: exit code 1.\n" },
	{ "workflow register", "FILE [--name NAME]",
	  "check a definition and make it the current version", 1, 1, O(NAME),
	  cmd_workflow_register,
	  "NAME is by default the file's name without .asl.json or .json.\n"
	  "The same text again gives the version it had.\n" },
	{ "workflow validate", "FILE", "check a definition, nothing else", 1, 1,
	  0, cmd_workflow_validate, NULL },
	{ "workflow list", "", "registered workflows", 0, 0, O(LIMIT),
	  cmd_workflow_list, NULL },
	{ "workflow show", "NAME[@VERSION] [--asl]",
	  "one workflow and its versions", 1, 1, O(ASL), cmd_workflow_show,
	  "--asl prints the definition as it was registered.\n" },
	{ "run start", "WORKFLOW [-i FILE|-] [--input JSON] [--wait] …",
	  "start a run and print its id", 1, 1,
	  O(INPUT_FILE) | O(INPUT) | O(KEY) | O(PRIORITY) | O(AT) | O(NAME) |
	      O(VERSION) | O(WAIT) | O(TIMEOUT),
	  cmd_run_start,
	  "-i, --input-file FILE   input from a file, - for stdin\n"
	  "--input JSON            input as it stands; default {}\n"
	  "--key KEY               the same start again gives the same run\n"
	  "--priority NUMBER       higher goes first; default 0\n"
	  "--at TIME               not before: RFC 3339, or a delay like "
	  "10min\n"
	  "--name NAME             what you call it\n"
	  "--version NUMBER        of the workflow; default the current one\n"
	  "--wait [--timeout D]    wait for the end, as \"run wait\" does\n" },
	{ "run list", "[--status S] [--workflow W] [--since TIME] [--limit N]",
	  "runs, the latest first", 0, 0,
	  O(STATUS) | O(WORKFLOW) | O(LIMIT) | O(SINCE), cmd_run_list,
	  "--status: queued, waiting, running, succeeded, failed, timed_out,\n"
	  "          cancelled, blocked; several with commas\n"
	  "--since: a duration back from now (2h) or an RFC 3339 time\n"
	  "--limit: default 50; 0 for all\n" },
	{ "run show", "ID", "one run: status, reason, times, counts", 1, 1, 0,
	  cmd_run_show, NULL },
	{ "run history", "ID", "what happened in a run, entry by entry", 1, 1,
	  0, cmd_run_history, NULL },
	{ "run result", "ID", "the output of a run that ended", 1, 1, 0,
	  cmd_run_result,
	  "Exit code 7 while it has not ended, 8 when it did not succeed.\n" },
	{ "run wait", "ID [--timeout DURATION]",
	  "wait for a run to end and print its output", 1, 1, O(TIMEOUT),
	  cmd_run_wait,
	  "Exit code 8 when it did not succeed, 124 after the timeout.\n"
	  "Ctrl-C ends the waiting, never the run.\n" },
	{ "run cancel", "ID… [--cause TEXT]", "ask for runs to be ended", 1,
	  ANY_WORDS, O(CAUSE), cmd_run_cancel,
	  "- in the place of the ids reads them from stdin.\n" },
	{ "task list", "[--instance ID] [--limit N]",
	  "tasks that wait for somebody to finish them", 0, 0,
	  O(INSTANCE) | O(LIMIT), cmd_task_list,
	  "From the journals of all runs that have not ended.\n"
	  "--instance: of that run alone\n"
	  "--limit: default 50; 0 for all\n" },
	{ "task succeed", "TOKEN [RESULT-JSON | -]",
	  "finish a task, with a result", 1, 2, 0, cmd_task_succeed,
	  "Without a result it is null; - reads it from stdin.\n"
	  "Exit code 7 when the task is finished already.\n" },
	{ "task fail", "TOKEN [--error NAME] [--cause TEXT]",
	  "finish a task, with an error", 1, 1, O(ERROR) | O(CAUSE),
	  cmd_task_fail,
	  "--error: for Retry and Catch; default States.TaskFailed\n"
	  "Exit code 7 when the task is finished already.\n" },
	{ "task heartbeat", "TOKEN [--progress JSON]",
	  "say that whoever works on a task lives", 1, 1, O(PROGRESS),
	  cmd_task_heartbeat,
	  "The state's HeartbeatSeconds count from now on again.\n"
	  "Exit code 7 when the task is finished already.\n" },
	{ "send-task-success", "TOKEN [RESULT-JSON | -]",
	  "the same as task succeed", 1, 2, 0, cmd_task_succeed, NULL },
	{ "send-task-failure", "TOKEN [--error NAME] [--cause TEXT]",
	  "the same as task fail", 1, 1, O(ERROR) | O(CAUSE), cmd_task_fail,
	  NULL },
	{ "send-task-heartbeat", "TOKEN [--progress JSON]",
	  "the same as task heartbeat", 1, 1, O(PROGRESS), cmd_task_heartbeat,
	  NULL },
	{ "db migrate", "[--dry-run] [--print]",
	  "bring the schema to this version", 0, 0, O(DRY_RUN) | O(PRINT),
	  cmd_db_migrate,
	  "--dry-run says what would be applied, --print shows its SQL.\n" },
	{ "db version", "", "the schema's version and ours", 0, 0, 0,
	  cmd_db_version, NULL },
	{ "db adopt", "", "let runs go on in a dump restored on this server", 0,
	  0, 0, cmd_db_adopt,
	  "Runs that had not ended when the dump was made go on here too: do\n"
	  "this only when the original does not run any more.\n" },
	{ "exec", "FILE [-i FILE|--input JSON] [--mocks FILE] [--fast] …",
	  "run a definition here, without daemon and database", 1, 1,
	  O(INPUT_FILE) | O(INPUT) | O(MOCKS) | O(TEST_CASE) | O(MOCK_PROGRAM) |
	      O(FAST) | O(NAME),
	  cmd_exec,
	  "-i, --input-file FILE   input from a file, - for stdin\n"
	  "--input JSON            input as it stands; default {}\n"
	  "--mocks FILE            what tasks answer, by Resource or state\n"
	  "--test-case NAME        of a Step Functions Local file: "
	  "[MACHINE/]CASE\n"
	  "--mock-program PROGRAM  asked for every task: a JSON line in, one "
	  "out\n"
	  "--fast                  skip waits and retry delays\n"
	  "Without mocks the actions noop, echo, sleep and fail work.\n" },
	{ "config show", "", "settings in effect and where they come from", 0,
	  0, 0, cmd_config_show, NULL },
	{ "config check", "", "whether the configuration is good", 0, 0, 0,
	  cmd_config_check, NULL },
	{ "version", "", "versions of program, schema and protocol", 0, 0, 0,
	  cmd_version, NULL },
	{ "help", "[COMMAND]", "this, or help for one command", 0, 4, 0,
	  cmd_help, NULL },
};

#undef O

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const char global_help[] =
    "Options of every command:\n"
    "  -c, --config FILE     configuration file\n"
    "  --dir DIR             the pool's directory\n"
    "  --dev                 the development pool of rappeld --dev\n"
    "  --database CONNINFO   without password: argv is public\n"
    "  --json, -o FORMAT     table, json, jsonl or name\n"
    "  --no-headers          tables without headings\n"
    "  --color WHEN          auto, always or never\n"
    "  -q, --quiet           no notes on stderr\n"
    "  -v, --verbose         more of them\n";

/* ---- help ---- */

static void
help_all(void)
{
	puts("usage: rappelctl COMMAND [options], options anywhere\n");
	for (size_t n = 0; n < COMMANDS; n++)
		printf("  %-19s  %s\n", commands[n].path, commands[n].summary);
	putchar('\n');
	fputs(global_help, stdout);
	puts("\nExit codes: 0 done, 1 failed, 2 usage, 3 no daemon, 4 no such "
	     "object,\n5 permission, 6 database unreachable, 7 refused in "
	     "this state, 8 the run did\nnot succeed, 9 partly done, 78 "
	     "configuration or schema, 124 timeout,\n130 interrupted.");
}

static void
help_one(const struct command *command)
{
	enum verb verb = verb_find(slice_of(command->path));

	printf("usage: rappelctl %s %s\n\n%s\n", command->path,
	       command->arguments, command->summary);
	if (command->help != NULL)
		printf("\n%s", command->help);
	if (verb != VERB_COUNT)
		printf("\nNeeds the role %s at the daemon.\n",
		       role_name(verb_table[verb].role));
	putchar('\n');
	fputs(global_help, stdout);
}

/* How many of path's words begin words: all of them, or 0. */
static uint32_t
match_path(const char *path, const char *const *words, uint32_t count)
{
	uint32_t matched = 0;

	while (*path != '\0') {
		size_t len = strcspn(path, " ");

		if (matched == count || strlen(words[matched]) != len ||
		    memcmp(words[matched], path, len) != 0)
			return 0;
		matched++;
		path += len;
		path += *path == ' ';
	}
	return matched;
}

static const struct command *
find_command(const char *const *words, uint32_t count, uint32_t *used_out)
{
	for (size_t n = 0; n < COMMANDS; n++) {
		uint32_t used = match_path(commands[n].path, words, count);

		if (used > 0) {
			*used_out = used;
			return &commands[n];
		}
	}
	return NULL;
}

/* The commands that begin with a word, to stdout or as advice. */
static bool
list_family(const char *word, bool as_advice)
{
	bool found = false;
	size_t len = strlen(word);

	for (size_t n = 0; n < COMMANDS; n++) {
		if (strncmp(commands[n].path, word, len) != 0 ||
		    commands[n].path[len] != ' ')
			continue;
		if (as_advice)
			advise("rappelctl %s %s", commands[n].path,
			       commands[n].arguments);
		else
			printf("  %-19s  %s\n", commands[n].path,
			       commands[n].summary);
		found = true;
	}
	return found;
}

static int
unknown_command(const char *const *words, uint32_t count)
{
	const char *names[COMMANDS];
	const char *near;
	char *typed;
	int len;

	if (count == 1) {
		bool is_family = false;
		size_t first = strlen(words[0]);

		for (size_t n = 0; n < COMMANDS; n++)
			is_family =
			    is_family ||
			    (strncmp(commands[n].path, words[0], first) == 0 &&
			     commands[n].path[first] == ' ');
		if (is_family) {
			complain("\"%s\" needs one more word:", words[0]);
			list_family(words[0], true);
			return CTL_USAGE;
		}
	}
	for (size_t n = 0; n < COMMANDS; n++)
		names[n] = commands[n].path;
	len = asprintf(&typed, "%s%s%s", words[0], count > 1 ? " " : "",
		       count > 1 ? words[1] : "");
	if (len < 0)
		mem_exhausted();
	complain("unknown command \"%s\"", typed);
	near = near_name(typed, names, COMMANDS);
	if (near == NULL && count > 1)
		near = near_name(words[0], names, COMMANDS);
	if (near != NULL)
		advise("Did you mean: rappelctl %s", near);
	else if (!list_family(words[0], true))
		advise("See: rappelctl help");
	free(typed);
	return CTL_USAGE;
}

int
cmd_help(struct ctl *c)
{
	const struct command *command;
	uint32_t used;

	if (c->word_count == 0) {
		help_all();
		return CTL_OK;
	}
	command = find_command(c->words, c->word_count, &used);
	if (command != NULL) {
		help_one(command);
		return CTL_OK;
	}
	if (c->word_count == 1 && list_family(c->words[0], false))
		return CTL_OK;
	return unknown_command(c->words, c->word_count);
}

int
cmd_version(struct ctl *c)
{
	if (c->format == FORMAT_JSON || c->format == FORMAT_JSONL)
		printf("{\"version\":\"%s\",\"schema\":%d,\"protocol\":1}\n",
		       RAPPEL_VERSION, SCHEMA_VERSION);
	else
		printf("rappelctl %s (schema %d, protocol 1)\n", RAPPEL_VERSION,
		       SCHEMA_VERSION);
	return CTL_OK;
}

/* ---- options that every command takes ---- */

static int
set_format(struct ctl *c)
{
	static const char *const names[] = {
		[FORMAT_TABLE] = "table",
		[FORMAT_JSON] = "json",
		[FORMAT_JSONL] = "jsonl",
		[FORMAT_NAME] = "name",
	};
	const char *text = option(c, OPTION_OUTPUT);

	c->format = given(c, OPTION_JSON) ? FORMAT_JSON : FORMAT_TABLE;
	if (text == NULL)
		return CTL_OK;
	for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
		if (strcmp(text, names[n]) == 0) {
			c->format = (enum ctl_format)n;
			return CTL_OK;
		}
	}
	complain("-o %s: expected table, json, jsonl or name", text);
	return CTL_USAGE;
}

static int
set_color(struct ctl *c)
{
	const char *when = option(c, OPTION_COLOR);
	const char *no_color = getenv("NO_COLOR");
	const char *term = getenv("TERM");

	if (when == NULL || strcmp(when, "auto") == 0) {
		c->color_out = isatty(STDOUT_FILENO) &&
			       (no_color == NULL || *no_color == '\0') &&
			       (term == NULL || strcmp(term, "dumb") != 0);
		return CTL_OK;
	}
	if (strcmp(when, "always") != 0 && strcmp(when, "never") != 0) {
		complain("--color %s: expected auto, always or never", when);
		return CTL_USAGE;
	}
	c->color_out = strcmp(when, "always") == 0;
	return CTL_OK;
}

/* Words and options against what the command takes. */
static int
check_usage(const struct ctl *c, const struct command *command)
{
	uint64_t wrong = c->args.given & ~(command->options | OPTIONS_GLOBAL);

	if (wrong != 0) {
		enum option o = (enum option)__builtin_ctzll(wrong);

		complain("\"%s\" takes no %s", command->path,
			 option_spelling(o));
	} else if (c->word_count < command->words_min) {
		complain("\"%s\" needs more: %s", command->path,
			 command->arguments);
	} else if (c->word_count > command->words_max) {
		complain("\"%s\" does not know what \"%s\" means here",
			 command->path, c->words[command->words_max]);
	} else {
		return CTL_OK;
	}
	advise("usage: rappelctl %s %s", command->path, command->arguments);
	return CTL_USAGE;
}

static int
run(struct ctl *c)
{
	const struct command *command;
	uint32_t used = 0;
	int rc = set_format(c);

	if (rc == CTL_OK)
		rc = set_color(c);
	if (rc != CTL_OK)
		return rc;
	c->quiet = given(c, OPTION_QUIET);
	c->verbose = given(c, OPTION_VERBOSE);
	c->headers = !given(c, OPTION_NO_HEADERS);
	if (c->args.word_count == 0) {
		if (given(c, OPTION_HELP)) {
			help_all();
			return CTL_OK;
		}
		complain("no command; see: rappelctl help");
		return CTL_USAGE;
	}
	command = find_command(c->args.words, c->args.word_count, &used);
	if (given(c, OPTION_HELP)) {
		c->words = c->args.words;
		c->word_count = command != NULL ? used : 1;
		return cmd_help(c);
	}
	if (command == NULL)
		return unknown_command(c->args.words, c->args.word_count);
	c->command = command->path;
	c->words = c->args.words + used;
	c->word_count = c->args.word_count - used;
	rc = check_usage(c, command);
	advise_options(&c->args);
	return rc == CTL_OK ? command->run(c) : rc;
}

int
main(int argc, char **argv)
{
	struct ctl c = { .format = FORMAT_TABLE };
	struct error err = { .line = 0 };
	int rc = CTL_USAGE;

	if (args_parse(argc, argv, &c.args, &err) == 0) {
		rc = run(&c);
		args_fini(&c.args);
	} else {
		complain("%s", err.message);
	}
	/* Data that did not arrive was not delivered: /dev/full, a quota. */
	if (fflush(stdout) != 0 || ferror(stdout)) {
		complain("cannot write to stdout: %m");
		rc = rc == CTL_OK ? CTL_FAILED : rc;
	}
	return rc;
}
