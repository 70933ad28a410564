/*
 * control - the socket that rappelctl talks to.
 *
 * Runs in the supervisor, listens from the first moment to the last, so that
 * status answers in every phase. Never blocks: a client that does not send
 * its request in time, or does not read its reply, is dropped. Who may ask
 * what is in common/verbs.def and access.h; descriptors that somebody sends
 * along are never received.
 */
#ifndef SUPERVISOR_CONTROL_H
#define SUPERVISOR_CONTROL_H

#include "common/assert.h"
#include "common/error.h"

#define CONTROL_SOCKET "control.sock"
#define CONTROL_CLIENTS_MAX 64U
/* Root has no share of its own, and a few places that nobody else gets. */
#define CONTROL_CLIENTS_UID_MAX 8U
#define CONTROL_CLIENTS_ROOT 4U
/* With what one read brings beside it, a client costs 64 KiB at most. */
#define CONTROL_REQUEST_BYTES_MAX (32U << 10)
/* Replies that a client has not read; beyond it is dropped. */
#define CONTROL_UNREAD_BYTES_MAX (1U << 20)
#define CONTROL_REQUEST_US UINT64_C(5000000)

struct control;
struct supervisor;

/*
 * Listens on control.sock in the pool's directory, which must be locked: what
 * is there already is then nobody's and is removed. On failure fills err and
 * returns the exit status.
 */
int control_start(struct supervisor *s, struct control **out,
                  struct error *err) MUST_CHECK;
/* Sends what can be sent at once, closes, removes the socket. */
void control_stop(struct control **control);

#endif
