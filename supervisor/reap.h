/*
 * reap - how a process ended, as a verdict and in words. Pure.
 */
#ifndef SUPERVISOR_REAP_H
#define SUPERVISOR_REAP_H

#include <stdbool.h>
#include <stdint.h>

#define EXIT_BUG 70      /* an assertion of ours */
#define EXIT_TRY_LATER 75 /* somebody else has it: lock held, taken over */
#define EXIT_PERMISSION 77
#define EXIT_CONFIG 78 /* only a person can help */
#define EXIT_USAGE 64
#define EXIT_CANNOT_EXEC 127

enum verdict {
	VERDICT_CLEAN,   /* exit status 0 */
	VERDICT_AGAIN,   /* died: start another */
	VERDICT_FENCED,  /* its work was taken over: start another at once */
	VERDICT_REFUSED, /* cannot work until a person changes something */
};

/* Of a wait status. */
enum verdict reap_verdict(int status);

/* "exit status 3", "killed by signal 9"; always ended by NUL. */
void reap_text(int status, char *text, uint32_t size);

/* The exit status, or 128 + the signal. */
int reap_code(int status);

#endif
