/*
 * supervisor - what the modules of rappeld share: one pool and its children.
 *
 * One process, one loop, no threads. Nothing here blocks, knows SQL or looks
 * into what workers and flusher say to each other. Every table has its size
 * from the configuration.
 *
 * Event handlers record what happened and call supervisor_changed(); the
 * differences between what runs and what should run are resolved in one
 * place, reconcile(), at the end of the turn.
 */
#ifndef SUPERVISOR_SUPERVISOR_H
#define SUPERVISOR_SUPERVISOR_H

#include <event2/event.h>
#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/config.h"
#include "common/strays.h"
#include "supervisor/account.h"
#include "supervisor/child.h"
#include "supervisor/group.h"
#include "supervisor/keep.h"
#include "supervisor/lock.h"
#include "supervisor/notify.h"
#include "supervisor/programs.h"
#include "supervisor/spawn.h"
#include "supervisor/spool.h"

#define SUPERVISOR_MAGIC 0x53555056U

struct control;
struct dev;

enum pool_phase {
	POOL_STARTING,
	POOL_RUNNING,
	POOL_DATABASE_AWAY,
	POOL_DEGRADED, /* processes cannot start */
	POOL_DRAINING,
	POOL_DRAINED, /* everything is handed back; the daemon waits */
};

/* What the flusher says of itself in the header of STATUS. */
enum health {
	HEALTH_STARTING,
	HEALTH_WORKING,
	HEALTH_DATABASE_AWAY,
	HEALTH_DRAINING,
};

struct stop {
	bool wanted; /* no new work */
	bool exit;   /* and the daemon ends, not only drains */
	bool forced; /* no grace any more */
	bool immediate;         /* nor a last commit */
	bool hurried;           /* the flusher was told that time is up */
	uint64_t deadline_us;   /* mono: when the grace is over */
	uint64_t flusher_gone_us; /* mono, or 0 */
};

struct supervisor {
	uint32_t magic;
	struct event_base *base;
	struct config config;
	struct config_flags flags; /* for the next look at the file */
	const char *config_file; /* as given with -c, or NULL */
	char *dir;               /* absolute */
	char life[STRAYS_TEXT_MAX]; /* RAPPEL_LIFE of the workers */
	bool dev_wanted;         /* --dev */
	struct programs programs;
	struct lock lock;
	struct notify notify;
	struct control *control;
	struct dev *dev; /* NULL without --dev */

	struct group *groups; /* as many as in config, the built-in one first */
	uint32_t group_count;
	struct child *workers; /* slots of them, of all groups */
	uint32_t slots;
	struct fork_brake forks;
	char fork_error[128]; /* why no process can be started */
	struct degraded degraded; /* no group can start its workers, or the
	                           * flusher does not */
	uint32_t probe_next; /* slot whose memory is looked up next */
	struct child flusher;
	struct child postgres;
	struct child helper;
	struct strings worker_env; /* what all of them have */
	struct account worker_account;   /* no name: as ourselves */
	struct sock_fprog worker_filter; /* may be empty */
	struct strings flusher_env;

	struct keep keep;   /* completions without an ACK */
	struct spool spool; /* for what is left of them at the end */

	/* What the flusher last said of itself. */
	enum health health;
	struct buf status;
	uint32_t silent_ticks; /* seconds of our own since then */
	bool ever_worked;      /* some flusher reached its database */

	struct stop stop;
	enum pool_phase phase;
	int64_t phase_wall_us;
	bool told_ready;
	char told_status[128];
	int exit_code;
	bool done;

	bool changed; /* reconcile() at the end of this turn */
	bool pressed; /* something is not read, by back-pressure */
	uint64_t pressed_since_us;
	uint64_t pressed_unsent; /* bytes, when progress was last seen */
	struct event *wake;     /* for reconcile()'s next deadline */
	struct event *tick;     /* once a second */
	struct event *pressure; /* while pressed */
	struct event *log_later; /* while lines of the log are kept */
	struct event *feed;     /* the init system's watchdog */
};

const char *pool_phase_name(enum pool_phase phase);

/* Something about a process, a phase or a wish is different now. */
static inline void
supervisor_changed(struct supervisor *s)
{
	s->changed = true;
}

/* ---- reconcile.c ---- */

/* Compares what should run with what runs; starts and stops the rest. */
void reconcile(struct supervisor *s);
/* Whose process that is, or NULL: none of the table. */
struct child *child_by_pid(struct supervisor *s, pid_t pid);
/* Reaps whoever has died. */
void reconcile_reap(struct supervisor *s);
/* SIGKILL to the child and its process group. wanted: not its fault. */
void child_kill(struct child *c, bool wanted, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* SIGTERM to a worker, SIGKILL to what is left of it after grace_us. Wanted:
 * it gets nothing more, and its death is not its fault. */
void child_terminate(struct child *c, uint64_t grace_us, const char *reason);
/* After reaping or after the socket's end: finishes it when both are true. */
void child_maybe_ended(struct child *c);

/* Drain, with exit or without; a later call can only shorten the grace. */
void supervisor_stop(struct supervisor *s, uint64_t grace_us, bool leave);
/* The grace is over now. */
void supervisor_force(struct supervisor *s);
/* Everything is killed at once; the daemon ends with that exit status. */
void supervisor_abort(struct supervisor *s, int exit_code);

#endif
