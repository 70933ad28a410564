/*
 * run_wait - waiting for a run to end, and showing how it ended.
 */
#ifndef CTL_RUN_WAIT_H
#define CTL_RUN_WAIT_H

#include "ctl/ctl.h"
#include "ctl/pg.h"

/* Polls until the run has ended, then shows it. timeout_us 0: for ever. */
int run_wait(const struct ctl *c, struct pg *pg, const char *id,
	     uint64_t timeout_us) MUST_CHECK;

/*
 * Shows output or error of a run that ended: CTL_OK when it succeeded, else
 * CTL_RUN_FAILED. CTL_REFUSED when it has not ended.
 */
int run_show_end(const struct ctl *c, struct pg *pg, const char *id) MUST_CHECK;

#endif
