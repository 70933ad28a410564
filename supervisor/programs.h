/*
 * programs - where the other programs are, and what environment they get.
 *
 * $RAPPEL_FLUSHER, $RAPPEL_WORKER and $RAPPEL_CTL name them outright (tests);
 * otherwise they are beside this program in a build tree, or where they were
 * installed.
 */
#ifndef SUPERVISOR_PROGRAMS_H
#define SUPERVISOR_PROGRAMS_H

#include "common/assert.h"
#include "common/config.h"
#include "common/error.h"
#include "supervisor/spawn.h"

struct programs {
	char *flusher;
	char *worker;
	char *ctl; /* looked for with --dev only */
};

/* 0, or -ENOENT with err naming the one that is missing. */
int programs_find(struct programs *p, bool with_ctl,
                  struct error *err) MUST_CHECK;
void programs_fini(struct programs *p);

/* What a worker may know: nothing of the database. home: NULL for ours. */
void programs_worker_env(struct strings *env, const struct config *config,
                         const char *home);
/* Another log level for whoever is started next. */
void programs_set_level(struct strings *env, enum log_level level);
/*
 * What the flusher and rappelctl need. database, if not NULL, becomes
 * RAPPEL_DATABASE_URL, which otherwise is handed on as it is; isolated leaves out the PG* variables, which would
 * change what a private cluster's conninfo means.
 */
void programs_flusher_env(struct strings *env, const struct config *config,
                          const char *database, bool isolated);

#endif
