/*
 * worker - what the modules of rappel-worker share.
 *
 * One process, one thread, blocking. It owns nothing but its socket: when
 * anything is wrong it ends, and the supervisor starts another.
 */
#ifndef WORKER_WORKER_H
#define WORKER_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"

struct action;

/* One item of a DISPATCH frame; everything is borrowed from the frame. */
struct task {
	uint64_t token;
	struct slice instance; /* 16 bytes */
	uint64_t activation;
	uint64_t attempt;
	struct slice action;
	uint64_t timeout_us; /* 0 for none */
	uint64_t place;      /* in the scoreboard, or SCOREBOARD_NO_PLACE */
	struct slice input;  /* a checked value */
	uint64_t heartbeat_us;   /* 0: none is demanded */
	const struct action *by; /* NULL when there is none of that name */
	uint64_t began_us;       /* clock_mono_us() */
};

#define OUTCOME_ERROR_MAX 128U
#define OUTCOME_CAUSE_MAX (32U << 10)
#define OUTCOME_KINDS_MAX 32U
#define OUTCOME_USAGE_MAX 16U
#define OUTCOME_USAGE_KEY_MAX 32U
/* With kinds and usage it stays below the 16 KiB that may be said more. */
#define OUTCOME_LOG_MAX (8U << 10)

/* How one action ended. Reused from action to action: no allocation on the
 * way of a short one. */
struct outcome {
	bool failed;
	bool pending; /* somebody else finishes it, under its task token */
	/* A result that is already packed; borrowed from the input or a
	 * constant, or from own. */
	struct slice result;
	struct buf own;
	char error[OUTCOME_ERROR_MAX + 1];
	struct buf cause; /* text, UTF-8 */
	/* What goes into the journal beside it. */
	struct {
		uint32_t kind_count;
		uint32_t usage_count;
		struct buf kinds; /* packed, one behind the other */
		struct buf usage; /* packed keys and values */
		struct buf log;   /* text, UTF-8 */
	} extra;
};

void outcome_reset(struct outcome *o);
/* Fails with a name and a text; bytes that are no UTF-8 become '?'. */
void outcome_fail(struct outcome *o, const char *error, const char *format,
                  ...) __attribute__((format(printf, 3, 4)));
/* Another name: cut at OUTCOME_ERROR_MAX, what is no UTF-8 becomes '?'. An empty
 * one changes nothing. */
void outcome_name(struct outcome *o, struct slice name);
/* The same with a text that may be cut off at the front: its end counts. */
void outcome_cause(struct outcome *o, struct slice text);

/* The error counts as this one, too; nearest first. Beyond OUTCOME_KINDS_MAX
 * and a name that no journal holds: dropped. */
void outcome_kind(struct outcome *o, struct slice name);
/* What it used. Beyond OUTCOME_USAGE_MAX: dropped. */
void outcome_usage(struct outcome *o, const char *key, uint64_t value);
/* The last lines that it printed: the end of them, cleaned. */
void outcome_log(struct outcome *o, struct slice text);
/* Frees what it grew to. */
void outcome_fini(struct outcome *o);

#endif
