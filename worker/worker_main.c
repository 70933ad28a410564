/*
 * worker_main - rappel-worker: the runtime for actions in C.
 *
 * Started by rappeld, which says in the environment who it is; by hand it
 * only explains itself.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "common/log.h"
#include "worker/command_dir.h"
#include "worker/runtime.h"

#define EXIT_USAGE 64
#define VALUE_BYTES_DEFAULT (1U << 20)

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

int
main(int argc, char **argv)
{
	long long fd = env_number("RAPPEL_FD", 1 << 20);
	long long slot = env_number("RAPPEL_SLOT", UINT16_MAX);
	long long spawn = env_number("RAPPEL_SPAWN", UINT32_MAX);
	long long bytes = env_number("RAPPEL_VALUE_BYTES_MAX", 1 << 30);
	const char *level_name = getenv("RAPPEL_LOG_LEVEL");
	enum log_level level = LOG_LEVEL_INFO;
	char comp[32];

	if (argc > 1 && strcmp(argv[1], "--version") == 0) {
		puts("rappel-worker " RAPPEL_VERSION);
		return 0;
	}
	if (argc > 1 || fd < 0 || slot < 0 || spawn < 1) {
		fputs("rappel-worker is started by rappeld, which sets "
		      "RAPPEL_FD, RAPPEL_SLOT and RAPPEL_SPAWN.\n",
		      stderr);
		return EXIT_USAGE;
	}
	prctl(PR_SET_NAME, "rappel-worker");
	signal(SIGPIPE, SIG_IGN);
	if (level_name != NULL)
		(void)log_level_parse(level_name, &level);
	snprintf(comp, sizeof(comp), "worker/%lld", slot);
	log_init(comp, level);
	command_dir_sweep();
	return runtime_run((int)fd, (int)env_number("RAPPEL_SCOREBOARD_FD", 64),
	                   (uint16_t)slot, (uint32_t)spawn,
	                   bytes > 0 ? (size_t)bytes : VALUE_BYTES_DEFAULT);
}
