/*
 * mocks - what tasks answer when a definition is tried out.
 *
 * Pure. Reads Step Functions Local's mock configuration, or a plain map from
 * Resource to an answer; docs/rappelctl.md describes both. A mocks object
 * counts the calls of each state, so it serves one run.
 */
#ifndef CTL_MOCKS_H
#define CTL_MOCKS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/assert.h"
#include "common/buf.h"
#include "common/error.h"

struct mocks;

/* One attempt of a task, as it is about to run. Borrowed. */
struct mock_question {
	uint32_t state_no;
	struct slice state;
	struct slice resource; /* as the definition has it */
	struct slice action;   /* its last part */
	uint32_t attempt;      /* from 1 */
	bool is_inside;        /* of a Map or Parallel */
	struct slice input;    /* checked msgpack */
};

struct mock_answer {
	bool failed;
	struct slice value; /* checked msgpack, when it did not fail */
	struct slice error; /* text, when it did */
	struct slice cause;
};

/*
 * test_case, from --test-case, chooses in a Step Functions Local file:
 * "CASE" or "MACHINE/CASE"; NULL for the first. workflow is the definition's
 * name, the machine that is preferred then. NULL with err, line included.
 * Release with mocks_destroy().
 */
struct mocks *mocks_parse(const char *text, size_t len, const char *test_case,
			  const char *workflow, struct error *err) MUST_CHECK;
void mocks_destroy(struct mocks **m);

/*
 * The answer, borrowed until the next call; of an echo it is the question's
 * input. False when nothing is said about that task. Counts the call.
 */
bool mocks_ask(struct mocks *m, const struct mock_question *q,
	       struct mock_answer *out);

/*
 * One answer that stands alone: {"return": …}, {"throw": {"Error", "Cause"}},
 * {"error": …, "cause": …}, {"echo": true} or {"timeout": true}, as a checked
 * map; input is what an echo gives. -EINVAL with err. Borrows.
 */
int mock_answer_read(struct slice answer, struct slice input,
		     struct mock_answer *out, struct error *err) MUST_CHECK;

#endif
