/*
 * group - workers that run the same program: who belongs to it, what it runs,
 * its replacements, its brake, and why it does not start.
 *
 * Runs in the supervisor. Each group has a range of slots of its own, as many
 * as it may ever have workers and a spare one, so that none disturbs another:
 * what one cannot start is its own trouble. Asks the policies (rotation,
 * group_policy) and does what they say with the children; forks nothing
 * itself: what is wanted and not there reconcile() starts.
 */
#ifndef SUPERVISOR_GROUP_H
#define SUPERVISOR_GROUP_H

#include <stdbool.h>
#include <stdint.h>

#include "common/assert.h"
#include "common/buf.h"
#include "common/config_group.h"
#include "common/error.h"
#include "supervisor/account.h"
#include "supervisor/group_policy.h"
#include "supervisor/output.h"
#include "supervisor/rotation.h"
#include "supervisor/spawn.h"

#define GROUP_MAGIC 0x47525550U

struct child;
struct seat;
struct supervisor;

/* Why processes do not start, for people. */
struct degraded {
	bool is;
	int64_t since_wall_us;
	int slot; /* whose output tells more, or -1 */
	char why[OUTPUT_LINE_BYTES + 160];
};

struct group {
	uint32_t magic;
	struct supervisor *supervisor;
	const struct config_group *config; /* of the supervisor's */
	struct child *workers; /* slots of them, members and spares */
	uint32_t first;        /* slot number of the first */
	uint32_t slots;
	uint32_t wanted;    /* as configured, or scaled since */
	struct seat *seats; /* slots of them, for the turn */
	struct rotation rotation;
	struct brake brake;
	struct degraded degraded;
	uint64_t failed; /* starts, ever */
	bool explained; /* why says it all: no line of its output is needed */
	bool misconfigured; /* and the section is where to look first */
	struct account account; /* of its own user; no name: as all others */
};

/* The user that its section names, or an empty account; 0 or the exit status
 * with err. */
int group_config_account(const struct config_group *c, struct account *out,
                         struct error *err) MUST_CHECK;
/* Who its workers become; 0 or the exit status with err. */
int group_open_account(struct group *g, struct error *err) MUST_CHECK;
/* config, first and slots are set; the slots are the supervisor's. */
void group_open(struct group *g, struct supervisor *s,
                const struct config_group *config, struct child *workers,
                uint32_t first, uint32_t slots);
void group_close(struct group *g);

/* As whom: NULL for nobody else than rappeld. */
const struct account *group_account(const struct group *g);
/* A path, or a name to look for in its PATH. */
const char *group_program(const struct group *g);
/* What the next life of that slot is started with. */
void group_command(const struct child *w, struct strings *argv,
                   struct strings *env);

/* From reconcile(): proofs, replacements, who has to go. */
void group_step(struct group *g, uint64_t now_us, uint64_t *wake_us);
/* The indexes in workers that shall be filled now, into slots_out (room for
 * slots). */
uint32_t group_missing(struct group *g, uint64_t now_us, uint32_t *slots_out,
                       uint64_t *wake_us);
/* A life begins; and after the settings changed: its limits. */
void group_limits(struct child *w);
/* A worker is dead; called before child_end(). */
void group_ended(struct child *w, const char *how, uint64_t now_us);
/* What it says before its HELLO was said by the first of them already. */
bool group_is_quiet(const struct group *g);

/* To how many it can be scaled, and to how few. */
uint32_t group_max(const struct group *g);
uint32_t group_min(const struct group *g);
/* -ERANGE for what is not between them. */
int group_scale(struct group *g, uint32_t count) MUST_CHECK;
/* Every worker is replaced, one after the other; how many. One that does not
 * start is tried at once. */
uint32_t group_restart(struct group *g);
/* How many of those are still there. */
uint32_t group_outdated(const struct group *g);
uint32_t group_ready(const struct group *g);

/* Why it does not start and what to do, as one line of about bytes_max at
 * most: what is to be done is never cut. */
void group_trouble(const struct group *g, size_t bytes_max, struct buf *out);
/* Says in the log when it becomes degraded, and when it is not. */
void group_tell(struct group *g);

#endif
