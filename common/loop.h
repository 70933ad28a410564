/*
 * loop - the event loop of a process.
 *
 * No memory means that the process ends (common/mem.h), in libevent as well:
 * event_new() never fails.
 */
#ifndef COMMON_LOOP_H
#define COMMON_LOOP_H

struct event_base;

/* NULL with errno when the kernel gives no descriptors for it. Release with
 * event_base_free(). */
struct event_base *loop_create(void);

#endif
