/*
 * reap - wait statuses turned into verdicts.
 */
#include "supervisor/reap.h"

#include <stdio.h>
#include <sys/wait.h>

enum verdict
reap_verdict(int status)
{
	if (!WIFEXITED(status))
		return VERDICT_AGAIN;
	switch (WEXITSTATUS(status)) {
	case 0:
		return VERDICT_CLEAN;
	case EXIT_TRY_LATER:
		return VERDICT_FENCED;
	case EXIT_PERMISSION:
	case EXIT_CONFIG:
		return VERDICT_REFUSED;
	default:
		return VERDICT_AGAIN;
	}
}

void
reap_text(int status, char *text, uint32_t size)
{
	if (WIFSIGNALED(status))
		snprintf(text, size, "killed by signal %d%s", WTERMSIG(status),
		         WCOREDUMP(status) ? " (core dumped)" : "");
	else if (WEXITSTATUS(status) == EXIT_CANNOT_EXEC)
		snprintf(text, size, "program could not be executed");
	else
		snprintf(text, size, "exit status %d", WEXITSTATUS(status));
}

int
reap_code(int status)
{
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status)
	                           : WEXITSTATUS(status);
}
