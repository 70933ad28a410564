/*
 * scoreboard - words in shared memory and the moves between them.
 */
#include "common/scoreboard.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)
#define PHASE_BITS 3U
#define PHASE_MASK ((UINT64_C(1) << PHASE_BITS) - 1)
/* A word that changes under every look is a worker that plays. */
#define LOOKS_MAX 4U

/* One cache line: two places never slow each other down. */
struct line {
	_Alignas(SCOREBOARD_PLACE_BYTES) _Atomic uint64_t word;
	_Atomic uint64_t began_us;
	_Atomic uint64_t instance[2];
	_Atomic uint64_t activation;
	_Atomic uint32_t attempt;
	_Atomic uint64_t number;
};

/* Never allocated: a pointer to one is a mapping. */
struct scoreboard {
	struct line lines[SCOREBOARD_PLACES];
};

_Static_assert(sizeof(struct line) == SCOREBOARD_PLACE_BYTES, "a place");
_Static_assert(sizeof(struct scoreboard) == SCOREBOARD_BYTES, "all places");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2 && ATOMIC_INT_LOCK_FREE == 2,
               "a lock would be ours alone");

static uint64_t
word_of(uint64_t token, enum place_phase phase)
{
	return token << PHASE_BITS | (uint64_t)phase;
}

int
scoreboard_make(void)
{
	int fd = memfd_create("rappel-scoreboard",
	                      MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int err;

	if (fd < 0)
		return -errno;
	if (ftruncate(fd, (off_t)SCOREBOARD_BYTES) == 0 &&
	    fcntl(fd, F_ADD_SEALS, SEALS) == 0)
		return fd;
	err = errno;
	close(fd);
	return -err;
}

struct scoreboard *
scoreboard_map(int fd)
{
	struct stat st;
	void *at;
	int seals;

	if (fstat(fd, &st) != 0)
		return NULL;
	seals = fcntl(fd, F_GET_SEALS);
	if (seals < 0)
		return NULL; /* not a memfd */
	/* Unsealed it could shrink under us: reading would be SIGBUS. */
	if (st.st_size != (off_t)SCOREBOARD_BYTES ||
	    (seals & SEALS) != SEALS) {
		errno = EINVAL;
		return NULL;
	}
	at = mmap(NULL, SCOREBOARD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
	          fd, 0);
	return at == MAP_FAILED ? NULL : at;
}

void
scoreboard_unmap(struct scoreboard **b)
{
	if (*b != NULL)
		ASSERT(munmap(*b, SCOREBOARD_BYTES) == 0);
	*b = NULL;
}

/* ---- the flusher ---- */

void
scoreboard_wait(struct scoreboard *b, uint32_t place, uint64_t token,
                const struct uuid *instance, uint64_t activation,
                uint32_t attempt)
{
	struct line *line = &b->lines[place];
	uint64_t halves[2];

	ASSERT(place < SCOREBOARD_PLACES && token <= SCOREBOARD_TOKEN_MAX);
	memcpy(halves, instance->bytes, sizeof(halves));
	atomic_store_explicit(&line->instance[0], halves[0],
	                      memory_order_relaxed);
	atomic_store_explicit(&line->instance[1], halves[1],
	                      memory_order_relaxed);
	atomic_store_explicit(&line->activation, activation,
	                      memory_order_relaxed);
	atomic_store_explicit(&line->attempt, attempt, memory_order_relaxed);
	/* Whoever sees the token sees whose it is. */
	atomic_store_explicit(&line->word, word_of(token, PLACE_WAITING),
	                      memory_order_release);
}

void
scoreboard_number(struct scoreboard *b, uint32_t place, uint64_t number)
{
	ASSERT(place < SCOREBOARD_PLACES);
	atomic_store_explicit(&b->lines[place].number, number,
	                      memory_order_relaxed);
}

static bool
line_move(struct line *line, uint64_t token, enum place_phase from,
          enum place_phase to)
{
	uint64_t expected = word_of(token, from);

	return atomic_compare_exchange_strong_explicit(
	    &line->word, &expected, word_of(token, to), memory_order_acq_rel,
	    memory_order_acquire);
}

bool
scoreboard_recall(struct scoreboard *b, uint32_t place, uint64_t token)
{
	ASSERT(place < SCOREBOARD_PLACES);
	return line_move(&b->lines[place], token, PLACE_WAITING,
	                 PLACE_RECALLED);
}

void
scoreboard_free(struct scoreboard *b, uint32_t place)
{
	ASSERT(place < SCOREBOARD_PLACES);
	atomic_store_explicit(&b->lines[place].word, PLACE_FREE,
	                      memory_order_release);
}

/* ---- the worker ---- */

bool
scoreboard_claim(struct scoreboard *b, uint32_t place, uint64_t token,
                 uint64_t now_us)
{
	struct line *line = &b->lines[place];

	ASSERT(place < SCOREBOARD_PLACES);
	/* Before the swap, so that who sees RUNNING sees since when. Refused,
	 * it means nothing: whoever claims the place next writes it again. */
	atomic_store_explicit(&line->began_us, now_us, memory_order_relaxed);
	return line_move(line, token, PLACE_WAITING, PLACE_RUNNING);
}

void
scoreboard_done(struct scoreboard *b, uint32_t place, uint64_t token)
{
	ASSERT(place < SCOREBOARD_PLACES);
	/* Settled from outside meanwhile: then it is not ours any more. */
	(void)line_move(&b->lines[place], token, PLACE_RUNNING, PLACE_DONE);
}

/* ---- whoever looks ---- */

static void
place_of_word(uint64_t word, struct scoreboard_place *out)
{
	uint64_t phase = word & PHASE_MASK;

	out->token = word >> PHASE_BITS;
	out->phase = phase <= PLACE_RECALLED ? (enum place_phase)phase
	                                     : PLACE_FREE;
}

struct scoreboard_place
scoreboard_glance(const struct scoreboard *b, uint32_t place)
{
	const struct line *line = &b->lines[place];
	struct scoreboard_place out = { .token = 0 };

	ASSERT(place < SCOREBOARD_PLACES);
	place_of_word(atomic_load_explicit(&line->word, memory_order_acquire),
	              &out);
	out.began_us =
	    atomic_load_explicit(&line->began_us, memory_order_relaxed);
	return out;
}

struct scoreboard_place
scoreboard_look(const struct scoreboard *b, uint32_t place)
{
	const struct line *line = &b->lines[place];
	struct scoreboard_place out = { .token = 0 };
	uint64_t halves[2];
	uint64_t word, after;

	ASSERT(place < SCOREBOARD_PLACES);
	after = atomic_load_explicit(&line->word, memory_order_acquire);
	for (unsigned i = 0; i < LOOKS_MAX; i++) {
		word = after;
		out.began_us = atomic_load_explicit(&line->began_us,
		                                    memory_order_relaxed);
		halves[0] = atomic_load_explicit(&line->instance[0],
		                                 memory_order_relaxed);
		halves[1] = atomic_load_explicit(&line->instance[1],
		                                 memory_order_relaxed);
		out.activation = atomic_load_explicit(&line->activation,
		                                      memory_order_relaxed);
		out.attempt = atomic_load_explicit(&line->attempt,
		                                   memory_order_relaxed);
		out.number = atomic_load_explicit(&line->number,
		                                  memory_order_relaxed);
		atomic_thread_fence(memory_order_acquire);
		after =
		    atomic_load_explicit(&line->word, memory_order_acquire);
		if (word == after)
			break; /* all of it is of the same attempt */
	}
	memcpy(out.instance.bytes, halves, sizeof(halves));
	place_of_word(word, &out);
	return out;
}

bool
scoreboard_running(const struct scoreboard *b, uint32_t *place,
                   struct scoreboard_place *out)
{
	struct scoreboard_place found;

	for (uint32_t i = *place; i < SCOREBOARD_PLACES; i++) {
		/* Most places were never used: one read tells. */
		if (scoreboard_glance(b, i).phase != PLACE_RUNNING)
			continue;
		found = scoreboard_look(b, i);
		if (found.phase != PLACE_RUNNING)
			continue;
		*out = found;
		*place = i + 1;
		return true;
	}
	return false;
}
