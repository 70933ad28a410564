/*
 * orphans - our children that are none of the table.
 */
#include "supervisor/orphans.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/uuid.h"
#include "supervisor/proc.h"
#include "supervisor/supervisor.h"

#define FINISH_US (30 * CLOCK_MS_US)
/* More than that come with the next SIGCHLD. */
#define PIDS_MAX 1024U

void
orphans_adopt(void)
{
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0)
		log_warning("processes that workers leave behind cannot be "
		            "ended: %s",
		            strerror(errno));
}

void
orphans_begin(struct supervisor *s)
{
	struct stat st = { 0 };
	struct uuid random;
	char text[UUID_TEXT_SIZE];
	uint32_t count;

	(void)fstat(s->lock.dir_fd, &st);
	snprintf(s->life, sizeof(s->life), "%llx-%llx.",
	         (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
	/* A daemon that ended by itself has removed it. */
	if (faccessat(s->lock.dir_fd, "control.sock", F_OK,
	              AT_SYMLINK_NOFOLLOW) == 0) {
		count = strays_kill(s->life, true);
		if (count > 0)
			log_warning("an earlier daemon's workers left processes "
			            "behind, ended count=%u",
			            count);
	}
	uuid_random(&random);
	uuid_text(&random, text);
	strncat(s->life, text, sizeof(s->life) - strlen(s->life) - 1);
}

/* For a kernel without /proc/PID/task/TID/children. */
static uint32_t
children_by_scan(pid_t *pids)
{
	DIR *proc = opendir("/proc");
	uint32_t count = 0;
	struct dirent *e;

	while (proc != NULL && count < PIDS_MAX &&
	       (e = readdir(proc)) != NULL) {
		pid_t pid = (pid_t)atoi(e->d_name);

		if (pid > 0 && proc_parent(pid) == getpid())
			pids[count++] = pid;
	}
	if (proc != NULL)
		closedir(proc);
	return count;
}

static uint32_t
children(pid_t *pids)
{
	char path[64];
	FILE *list;
	uint32_t count = 0;
	int pid;

	snprintf(path, sizeof(path), "/proc/self/task/%d/children",
	         (int)getpid());
	list = fopen(path, "re");
	if (list == NULL)
		return children_by_scan(pids);
	while (count < PIDS_MAX && fscanf(list, "%d", &pid) == 1)
		pids[count++] = (pid_t)pid;
	fclose(list);
	return count;
}

uint32_t
orphans_kill(struct supervisor *s)
{
	pid_t pids[PIDS_MAX];
	uint32_t count = children(pids);
	uint32_t killed = 0;

	for (uint32_t i = 0; i < count; i++) {
		/* Our child until we reap it: the number is nobody else's. */
		if (child_by_pid(s, pids[i]) != NULL || kill(pids[i], SIGKILL) != 0)
			continue;
		log_debug("killing what a worker left behind pid=%d",
		          (int)pids[i]);
		killed++;
	}
	return killed;
}

void
orphans_finish(struct supervisor *s)
{
	uint64_t until_us = clock_mono_us() + FINISH_US;

	while (orphans_kill(s) > 0 && clock_mono_us() < until_us) {
		poll(NULL, 0, 1);
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	}
}
