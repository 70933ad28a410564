/*
 * fault - see fault.h. Not a part of what is released.
 */
#include "common/fault.h"

#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARMED_MAX 8U
#define NAME_SIZE 48U

static struct armed {
	char name[NAME_SIZE];
	char action[16];
	uint64_t nth;
	uint64_t passed;
} armed[ARMED_MAX];
static uint32_t armed_count;
static bool read_once;

/* One "name:action[:nth]"; what cannot be read is a mistake of the test. */
static void
arm(char *text)
{
	struct armed *a = &armed[armed_count];
	char *rest = text;
	const char *name = strsep(&rest, ":");
	const char *action = strsep(&rest, ":");

	if (armed_count == ARMED_MAX || action == NULL ||
	    strlen(name) >= sizeof(a->name) ||
	    strlen(action) >= sizeof(a->action))
		abort();
	strcpy(a->name, name);
	strcpy(a->action, action);
	a->nth = rest != NULL ? strtoull(rest, NULL, 10) : 1;
	armed_count++;
}

static void
arm_all(void)
{
	const char *given = getenv("RAPPEL_FAULT");
	char *text = given != NULL ? strdup(given) : NULL;
	char *rest = text;
	char *one;

	read_once = true;
	while (rest != NULL && (one = strsep(&rest, ",")) != NULL)
		if (*one != '\0')
			arm(one);
	free(text);
}

/* Whether it is our turn to fire. */
static bool
first(void)
{
	const char *path = getenv("RAPPEL_FAULT_ONCE");
	int fd;

	if (path == NULL)
		return true;
	fd = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
	if (fd < 0)
		return false;
	close(fd);
	return true;
}

void
fault_point(const char *name)
{
	if (!read_once)
		arm_all();
	for (uint32_t i = 0; i < armed_count; i++) {
		struct armed *a = &armed[i];

		if (strcmp(a->name, name) != 0 || ++a->passed < a->nth ||
		    !first())
			continue;
		a->passed = 0;
		if (strcmp(a->action, "kill") == 0)
			kill(getpid(), SIGKILL);
		else if (strcmp(a->action, "stop") == 0)
			kill(getpid(), SIGSTOP);
		else if (strcmp(a->action, "delay") == 0)
			sleep(1);
		else
			abort();
	}
}
