/*
 * group_policy - how many children to start, and when. Pure.
 *
 * Runs in the supervisor, from reconcile(). Decides and does nothing: the
 * caller forks.
 */
#ifndef SUPERVISOR_GROUP_POLICY_H
#define SUPERVISOR_GROUP_POLICY_H

#include <stdbool.h>
#include <stdint.h>

#define BACKOFF_FIRST_US UINT64_C(100000)
#define BACKOFF_WORKED_MAX_US UINT64_C(1000000)
#define BACKOFF_MAX_US UINT64_C(30000000)
#define BACKOFF_LIFE_US UINT64_C(10000000) /* a life that long was fine */

/*
 * When a slot may be filled again. What never got to work backs off to half
 * a minute: a missing interpreter must not become a fork storm. What had
 * worked is back within a second, however often it is shot.
 */
struct backoff {
	uint64_t delay_us;      /* the last delay, 0 after a good life */
	uint64_t not_before_us; /* mono */
};

/*
 * Accounts for a death after life_us. worked: it had become useful. wanted:
 * we ended it for reasons of our own; such a death costs no delay and
 * changes none.
 */
void backoff_death(struct backoff *b, uint64_t life_us, bool worked,
                   bool wanted, uint64_t now_us);

/* fork() itself failed: no life at all. */
void backoff_failure(struct backoff *b, uint64_t now_us);

#define BRAKE_DEGRADED 3U /* failed starts in a row: something is wrong */
#define PROOF_US UINT64_C(1000000) /* READY that long, it can work */
#define FORK_DELAY_US UINT64_C(1000000)
#define FORK_PATIENCE_US UINT64_C(60000000)
#define FORK_TELL_US UINT64_C(10000000)

/*
 * What holds back the starts of a whole group. A *failed start* is a process
 * that died before it had proved itself: by being READY for PROOF_US, or by
 * having been given an action. From BRAKE_DEGRADED of them in a row on the
 * group is degraded: one start at a time, after a delay that doubles with each
 * failure, up to BACKOFF_MAX_US. One that proves itself ends that.
 */
struct brake {
	uint32_t failures;      /* in a row */
	uint64_t failed_us;     /* mono, the last of them */
	uint64_t not_before_us; /* mono, counts while degraded */
};

void brake_failed(struct brake *b, uint64_t now_us);
/* There is nothing to try a few times: the program is missing. Degraded at
 * once, with the delays of a group that has just become so. */
void brake_missing(struct brake *b, uint64_t now_us);
/* It said itself that it cannot serve: again after BACKOFF_MAX_US. */
void brake_refused(struct brake *b, uint64_t now_us);
/* A process that was started then has proved itself. */
void brake_proved(struct brake *b, uint64_t started_us);
/* Somebody says that it is mended: the next try may be made now. */
void brake_ease(struct brake *b, uint64_t now_us);
bool brake_degraded(const struct brake *b);

/*
 * A fork() that fails holds back everybody, of whatever group, for a second,
 * and once that has gone on for FORK_PATIENCE_US for longer and longer, up to
 * BACKOFF_MAX_US.
 */
struct fork_brake {
	uint64_t failing_us;    /* mono, since when; 0: it works */
	uint64_t not_before_us; /* mono */
	uint64_t delay_us;
	uint64_t told_us; /* mono */
	uint32_t untold;  /* failures that no line told */
};

/* True when it is time to say so, and how often it did. */
bool fork_brake_failed(struct fork_brake *b, uint64_t now_us,
                       uint32_t *count_out);
void fork_brake_worked(struct fork_brake *b);

struct slot_view {
	bool free; /* and wanted */
	uint64_t not_before_us;
};

struct group_view {
	uint32_t size; /* of the table of slots */
	bool draining; /* nobody new */
	uint32_t unproved; /* processes that live and have proved nothing */
	const struct brake *brake;
	const struct fork_brake *forks;
	const struct slot_view *slots; /* size of them */
};

/*
 * Writes the numbers of the slots to fill now to slots_out (room for size)
 * and returns how many; *wake_us_out is when to ask again, UINT64_MAX when
 * only an event can change the answer.
 */
uint32_t group_policy(const struct group_view *g, uint64_t now_us,
                      uint32_t *slots_out, uint64_t *wake_us_out);

#endif
