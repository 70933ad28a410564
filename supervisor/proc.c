/*
 * proc - see proc.h.
 */
#include "supervisor/proc.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TEXT_SIZE 512

static bool
proc_read(pid_t pid, const char *name, char text[TEXT_SIZE])
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, TEXT_SIZE - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return true;
}

/* State and parent, behind a name that may hold anything. */
static bool
proc_stat(pid_t pid, char *state, int *parent)
{
	char text[TEXT_SIZE];
	const char *at;

	if (!proc_read(pid, "stat", text))
		return false;
	at = strrchr(text, ')');
	return at != NULL && sscanf(at + 1, " %c %d", state, parent) == 2;
}

pid_t
proc_parent(pid_t pid)
{
	int parent;
	char state;

	return proc_stat(pid, &state, &parent) ? parent : 0;
}

bool
proc_stopped(pid_t pid)
{
	int parent;
	char state;

	return proc_stat(pid, &state, &parent) && state == 'T';
}

uint64_t
proc_rss(pid_t pid)
{
	unsigned long long size, resident;
	char text[TEXT_SIZE];

	if (!proc_read(pid, "statm", text) ||
	    sscanf(text, "%llu %llu", &size, &resident) != 2)
		return 0;
	return resident * (uint64_t)sysconf(_SC_PAGESIZE);
}
