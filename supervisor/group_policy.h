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

struct slot_view {
	bool free;
	uint64_t not_before_us;
};

struct group_view {
	uint32_t size; /* slots wanted */
	bool draining; /* nobody new */
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
