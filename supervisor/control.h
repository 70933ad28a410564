/*
 * control - the socket that rappelctl talks to.
 *
 * Runs in the supervisor, listens from the first moment to the last, so that
 * status answers in every phase. Never blocks: a client that does not send
 * its request in time, or does not read its reply, is dropped.
 */
#ifndef SUPERVISOR_CONTROL_H
#define SUPERVISOR_CONTROL_H

#include "common/assert.h"
#include "common/error.h"

#define CONTROL_CLIENTS_MAX 64U
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
