/*
 * worker_main - rappel-worker: the runtime for actions in C.
 *
 * Started by rappeld, which says in the environment who it is; by hand it
 * explains itself, or lists the actions that it would serve.
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "common/log.h"
#include "common/mem.h"
#include "worker/command_dir.h"
#include "worker/commands.h"
#include "worker/plugin.h"
#include "worker/registry.h"
#include "worker/runtime.h"

#define EXIT_USAGE 64
/* It cannot serve: starting it again changes nothing. */
#define EXIT_CONFIG 78
#define VALUE_BYTES_DEFAULT (1U << 20)

static const char usage[] =
    "usage: rappel-worker [--plugin FILE]... [--commands FILE]...\n"
    "                     [--no-builtin] [--list]\n"
    "  --plugin FILE  a shared module with actions; a name without a slash\n"
    "                 is one in " RAPPEL_PLUGIN_DIR "\n"
    "  --commands FILE  a JSON file with actions that are commands\n"
    "  --no-builtin   without noop, echo, sleep, fail and command\n"
    "  --list         check the files, list all actions and end\n"
    "  --version\n"
    "It is started by rappeld, which sets RAPPEL_FD, RAPPEL_SLOT and\n"
    "RAPPEL_SPAWN.\n";

struct options {
	const char **plugins; /* in the order in which they are named */
	uint32_t plugin_count;
	const char **commands; /* files, likewise */
	uint32_t commands_count;
	bool builtin;
	bool list;
};

/* The number in a variable, or -1. */
static long long
env_number(const char *name, long long max)
{
	const char *text = getenv(name);
	long long value;
	char *end;

	if (text == NULL || text[0] < '0' || text[0] > '9')
		return -1;
	errno = 0;
	value = strtoll(text, &end, 10);
	return errno != 0 || *end != '\0' || value > max ? -1 : value;
}

/* One line, since rappeld shows the last one. */
static _Noreturn void
option_refused(const char *word)
{
	fprintf(stderr,
	        "rappel-worker: \"%s\" is no option, or lacks its value; "
	        "rappel-worker --help lists them\n",
	        word);
	exit(getenv("RAPPEL_FD") != NULL ? EXIT_CONFIG : EXIT_USAGE);
}

/* Ends the process when that was all that was wanted. */
static void
options_read(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{ "plugin", required_argument, NULL, 'p' },
		{ "commands", required_argument, NULL, 'c' },
		{ "no-builtin", no_argument, NULL, 'n' },
		{ "list", no_argument, NULL, 'l' },
		{ "version", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	opterr = 0; /* it would say a line of its own */
	*o = (struct options){ .builtin = true };
	o->plugins = mem_calloc((size_t)argc, sizeof(*o->plugins));
	o->commands = mem_calloc((size_t)argc, sizeof(*o->commands));
	while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
		switch (c) {
		case 'p':
			o->plugins[o->plugin_count++] = optarg;
			break;
		case 'c':
			o->commands[o->commands_count++] = optarg;
			break;
		case 'n':
			o->builtin = false;
			break;
		case 'l':
			o->list = true;
			break;
		case 'v':
			puts("rappel-worker " RAPPEL_VERSION);
			exit(0);
		case 'h':
			fputs(usage, stdout);
			exit(0);
		default:
			option_refused(argv[optind - 1]);
		}
	}
	if (optind < argc)
		option_refused(argv[optind]);
}

/* One line, since the supervisor shows the last one. */
static int
plugin_bad(const char *name, const char *file, const struct error *err)
{
	bool sought = strcmp(name, file) != 0;

	fprintf(stderr, "rappel-worker: plugin \"%s\"%s%s%s: %s\n", name,
		sought ? " (" : "", sought ? file : "", sought ? ")" : "",
		err->message);
	return EXIT_CONFIG;
}

/* One line as well, whatever is quoted in it. */
static int
commands_bad(const char *file, struct error *err)
{
	char line[16] = "";

	for (char *c = err->message; *c != '\0'; c++) {
		if ((unsigned char)*c < ' ')
			*c = '?';
	}
	if (err->line > 0)
		snprintf(line, sizeof(line), ":%u", err->line);
	fprintf(stderr, "rappel-worker: %s%s: %s\n", file, line, err->message);
	return EXIT_CONFIG;
}

/* Everything that can be known before code of a plugin runs. 0, or how to
 * exit. */
static int
actions_gather(const struct options *o, struct plugins *plugins,
	       struct commands *commands, struct registry *registry)
{
	struct error err = { 0 };
	const char *file;

	if (o->builtin)
		registry_add_builtin(registry);
	for (uint32_t i = 0; i < o->plugin_count; i++) {
		if (plugins_load(plugins, o->plugins[i], registry, &file,
				 &err) < 0)
			return plugin_bad(o->plugins[i], file, &err);
	}
	for (uint32_t i = 0; i < o->commands_count; i++) {
		if (commands_load(commands, o->commands[i], registry, &err) < 0)
			return commands_bad(o->commands[i], &err);
	}
	if (registry->count == 0) {
		fputs("rappel-worker: it serves no action: --no-builtin "
		      "needs a --plugin or --commands\n",
		      stderr);
		return EXIT_CONFIG;
	}
	return 0;
}

static void
list(const struct registry *registry)
{
	for (uint32_t i = 0; i < registry->count; i++) {
		const struct action *a = registry->list[i];

		printf("%s\t%s\n", a->name,
		       a->file != NULL ? a->file : "built in");
	}
}

static int
serve(const struct registry *registry, struct plugins *plugins)
{
	long long fd = env_number("RAPPEL_FD", 1 << 20);
	long long slot = env_number("RAPPEL_SLOT", UINT16_MAX);
	long long spawn = env_number("RAPPEL_SPAWN", UINT32_MAX);
	long long bytes = env_number("RAPPEL_VALUE_BYTES_MAX", 1 << 30);
	const char *level_name = getenv("RAPPEL_LOG_LEVEL");
	enum log_level level = LOG_LEVEL_INFO;
	struct error err = { 0 };
	const char *file;
	char comp[32];
	int rc;

	if (fd < 0 || slot < 0 || spawn < 1) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	prctl(PR_SET_NAME, "rappel-worker");
	signal(SIGPIPE, SIG_IGN);
	if (level_name != NULL)
		(void)log_level_parse(level_name, &level);
	snprintf(comp, sizeof(comp), "worker/%lld", slot);
	log_init(comp, level);
	command_dir_sweep();
	if (plugins_set_up(plugins, &file, &err) < 0)
		return plugin_bad(file, file, &err);
	rc = runtime_run(&(struct runtime_config){
	    .fd = (int)fd,
	    .board_fd = (int)env_number("RAPPEL_SCOREBOARD_FD", 64),
	    .slot = (uint16_t)slot,
	    .spawn = (uint32_t)spawn,
	    .value_bytes_max = bytes > 0 ? (size_t)bytes : VALUE_BYTES_DEFAULT,
	    .registry = registry,
	});
	plugins_tear_down(plugins);
	return rc;
}

int
main(int argc, char **argv)
{
	struct registry registry = REGISTRY_EMPTY;
	struct plugins *plugins = plugins_create(RAPPEL_PLUGIN_DIR);
	struct commands *commands = commands_create();
	struct options options;
	int rc;

	options_read(argc, argv, &options);
	rc = actions_gather(&options, plugins, commands, &registry);
	if (rc == 0 && options.list)
		list(&registry);
	else if (rc == 0)
		rc = serve(&registry, plugins);
	plugins_destroy(&plugins);
	commands_destroy(&commands);
	registry_fini(&registry);
	free(options.plugins);
	free(options.commands);
	return rc;
}
