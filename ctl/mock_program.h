/*
 * mock_program - a program of the user's that answers for tasks.
 *
 * It is started with sh -c, gets one line of JSON a task on its stdin and
 * answers with one line on its stdout. One that ends after each answer is
 * started anew for the next. Blocks until it answers or somebody presses
 * Ctrl-C.
 */
#ifndef CTL_MOCK_PROGRAM_H
#define CTL_MOCK_PROGRAM_H

#include "ctl/ctl.h"
#include "ctl/mocks.h"

struct mock_program;

/* Starts nothing yet. */
struct mock_program *mock_program_create(const char *command);
/* Ends it: end of file first, then SIGTERM, then SIGKILL. */
void mock_program_destroy(struct mock_program **p);

/*
 * The answer, borrowed until the next question. Exit code: CTL_FAILED, said,
 * when it does not answer; CTL_INTERRUPTED, not said.
 */
int mock_program_ask(struct mock_program *p, const struct mock_question *q,
		     struct mock_answer *out) MUST_CHECK;

#endif
