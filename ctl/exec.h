/*
 * exec - one run of a definition in this process, driven to its end.
 *
 * The engine decides what happens; we are its clock and its workers. Tasks
 * are answered one after the other by mocks, a mock program or the built-in
 * actions. With a virtual clock nothing is waited for: when nothing can run
 * now, it is moved to the next moment at which something can.
 */
#ifndef CTL_EXEC_H
#define CTL_EXEC_H

#include "ctl/ctl.h"
#include "ctl/mock_program.h"
#include "ctl/mocks.h"
#include "engine/definition.h"
#include "engine/instance.h"

struct exec_options {
	struct definition *definition;
	const char *workflow;         /* its name */
	struct slice input;           /* checked msgpack */
	struct mocks *mocks;          /* or NULL */
	struct mock_program *program; /* or NULL; asked before mocks */
	bool is_fast;                 /* virtual clock */
};

/* A task that was called: one attempt. */
struct exec_task {
	uint32_t state_no;
	uint32_t attempt;
	struct value *input;
};

struct exec;

/* Release with exec_destroy(). */
struct exec *exec_create(const struct exec_options *options);
void exec_destroy(struct exec **x);

/*
 * Runs to the end: CTL_OK, whatever the workflow's own end. CTL_FAILED when
 * a task has no answer, with *err; its message is empty when the reason was
 * said. CTL_INTERRUPTED after Ctrl-C.
 */
int exec_run(struct exec *x, struct error *err) MUST_CHECK;

/* After CTL_OK; borrowed. */
void exec_end(const struct exec *x, struct end_view *out);
/* States in the order in which they were entered. */
const uint32_t *exec_path(const struct exec *x, uint32_t *count_out);
const struct exec_task *exec_tasks(const struct exec *x, uint32_t *count_out);

#endif
