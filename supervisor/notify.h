/*
 * notify - tells an init system how it goes, in the sd_notify protocol.
 *
 * Runs in the supervisor. Never blocks: a datagram that cannot be sent is
 * dropped, the next one says more. Does nothing when $NOTIFY_SOCKET is not
 * set.
 */
#ifndef SUPERVISOR_NOTIFY_H
#define SUPERVISOR_NOTIFY_H

#include <stdint.h>

struct notify {
	int fd; /* -1: nobody listens */
	uint64_t watchdog_us; /* feed it this often; 0 for never */
};

/* Reads $NOTIFY_SOCKET, $WATCHDOG_USEC and $WATCHDOG_PID and unsets them:
 * they are for this process only. */
void notify_init(struct notify *n);
void notify_fini(struct notify *n);
/* "READY=1", "STATUS=…"; several, a line each. */
void notify_send(const struct notify *n, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
