/*
 * control - asking the daemon over its control socket.
 *
 * One connection, one request, one reply (docs/protocol.md, section 4). The
 * daemon never blocks; should it, or something else own the socket, the
 * deadline ends the waiting.
 */
#ifndef CTL_CONTROL_H
#define CTL_CONTROL_H

#include "common/value.h"
#include "ctl/ctl.h"

struct control;

/* Connects to the pool's socket. CTL_NO_DAEMON when nobody listens. */
int control_open(const struct ctl *c, struct control **out) MUST_CHECK;
void control_close(struct control **k);
const char *control_dir(const struct control *k);

/*
 * Sends a request, a checked map, and gets the reply, a checked map whose
 * "ok" is true. Otherwise the exit code that the daemon gave, its error
 * said.
 */
int control_request(struct control *k, struct slice request,
		    uint64_t deadline_us, struct buf *reply) MUST_CHECK;
/*
 * Waits for the daemon's process to end and its lock to be free.
 * CTL_TIMEOUT at until_us, CTL_INTERRUPTED; both without a word.
 */
int control_wait_gone(struct control *k, uint64_t until_us) MUST_CHECK;

/* All in one, for a verb without arguments. */
int control_ask(const struct ctl *c, const char *verb, uint64_t deadline_us,
		struct buf *reply) MUST_CHECK;
/* The same without a word on stderr. */
int control_ask_quietly(const struct ctl *c, const char *verb,
			uint64_t deadline_us, struct buf *reply) MUST_CHECK;

#endif
