/*
 * control_parts - what the two halves of control share: the socket and its
 * clients (control.c), and what the verbs do (control_verbs.c).
 */
#ifndef SUPERVISOR_CONTROL_PARTS_H
#define SUPERVISOR_CONTROL_PARTS_H

#include <event2/event.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/verb.h"
#include "supervisor/access.h"

/* rappelctl's exit statuses. */
#define CODE_FAILED 1
#define CODE_USAGE 2
#define CODE_PERMISSION 5
#define CODE_REFUSED 7

struct control;
struct link;
struct supervisor;

struct client {
	uint32_t magic;
	struct control *control;
	struct supervisor *supervisor;
	struct link *link; /* NULL: the place is free */
	struct event *deadline;
	struct access_peer peer;
};

/* One reply a request: a map that begins with "ok". */
void control_reply(struct client *c, struct slice payload);
void control_reply_error(struct client *c, uint64_t code, const char *text);
void control_pack_text(struct buf *b, const char *key, const char *text);
void control_pack_uint(struct buf *b, const char *key, uint64_t value);

/*
 * What a verb does: replies once, at once. request is a checked map; whether
 * the client may ask was looked up and, where something changes, audited.
 */
#define VERB(name, role, arguments, help)                                     \
	void verb_##name(struct client *c, struct slice request);
#include "common/verbs.def"
#undef VERB

#endif
