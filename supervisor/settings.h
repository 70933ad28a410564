/*
 * settings - the configuration at the start, and again at SIGHUP.
 *
 * Runs in the supervisor. A reload reads and checks everything first; when
 * anything is wrong nothing changes. What can change while the daemon runs
 * does at once; the flusher's own keys and a worker's environment count from
 * their next life on.
 */
#ifndef SUPERVISOR_SETTINGS_H
#define SUPERVISOR_SETTINGS_H

#include "common/assert.h"
#include "common/error.h"
#include "supervisor/account.h"
#include "supervisor/spawn.h"

struct config;
struct supervisor;

/* Into s->config, by s->flags and s->dev_wanted. 0 or an error with err. */
int settings_load(struct supervisor *s, struct error *err) MUST_CHECK;

/* The user that worker_user names, or an empty account when it names none or
 * ourselves; 0, or the exit status with err. */
int settings_worker_user(const struct config *c, struct account *out,
                         struct error *err) MUST_CHECK;
/* Whether a start could use every user that is named: the same. */
int settings_users(const struct config *c, struct error *err) MUST_CHECK;

/* What children get of it: s->worker_env and s->flusher_env, made anew. */
void settings_environments(struct supervisor *s);

/* Names of keys; release with settings_changes_fini(). */
struct settings_changes {
	struct strings taken; /* in effect now */
	struct strings later; /* different, but only at the next start */
};

/* 0, or an error with err ("FILE:LINE: …") and everything as before. */
int settings_reload(struct supervisor *s, struct settings_changes *out,
                    struct error *err) MUST_CHECK;
void settings_changes_fini(struct settings_changes *c);

#endif
