/*
 * check - what must hold in every history, looked at when it happens.
 *
 * Each instance has a witness: the engine's own instance, to which entries are
 * applied when, and only when, they are committed. Whatever a flusher
 * dispatches must be wanted by the witness; whatever is committed must fit it.
 */
#ifndef TESTS_SIMULATION_CHECK_H
#define TESTS_SIMULATION_CHECK_H

#include "common/value.h"
#include "tests/simulation/server.h"

struct flusher;
struct process;

/* A journal row is committed by that incarnation. */
void check_log(struct instance_row *row, const struct log_row *log,
               const struct uuid *incarnation);
/* row->next is about to become row->cur. */
void check_instance(struct instance_row *row, const struct uuid *incarnation);
/* The payload of a DISPATCH frame leaves that flusher. */
void check_dispatch(const struct process *p, struct slice payload);
/* What the flusher holds in memory, and nothing of it is on its way, is what
 * a replay of the journal gives. */
void check_memory(const struct process *p);
/* The flusher says that it is done with the completion of that attempt. known:
 * every flusher saw in a scoreboard that it ran. */
void check_settled(const struct process *p, const struct uuid *id,
                   uint32_t activation, uint32_t attempt, bool known);
/* One of the row's attempts that somebody could finish under its token, by
 * chance. False: there is none. */
struct check_task {
	uint32_t activation;
	uint32_t attempt;
	bool pending;        /* nobody else will */
	struct slice action; /* borrowed */
};
bool check_task(struct instance_row *row, struct check_task *out);
/* All have ended: as they would have without faults, where that is known. */
void check_ends(void);
/* True when nothing is left of what attempts said. */
bool check_progress(void);

/* The definition of a version; borrowed. */
struct definition *check_definition(const struct version_row *version);
/* Runs an instance by itself: what each Task gives comes from work_result().
 * Appends its output as JSON. */
void reference_output(const struct instance_row *row, struct buf *out);
/* Releases the witnesses. */
void check_reset(void);

#endif
