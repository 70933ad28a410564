/*
 * proc - what the kernel says of a process, by its number.
 *
 * Runs in the supervisor. Reads a line of /proc, which does not block.
 */
#ifndef SUPERVISOR_PROC_H
#define SUPERVISOR_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Its parent, or 0 when there is no such process. */
pid_t proc_parent(pid_t pid);
/* Whether it is in state T: stopped by a signal. */
bool proc_stopped(pid_t pid);
/* Its resident memory in bytes, or 0. */
uint64_t proc_rss(pid_t pid);

#endif
