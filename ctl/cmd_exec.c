/*
 * cmd_exec - a definition tried out here, without daemon and database.
 */
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "ctl/asl_file.h"
#include "ctl/ctl.h"
#include "ctl/exec.h"
#include "ctl/input.h"
#include "ctl/out.h"

#define MOCKS_BYTES_MAX ((size_t)64 << 20)

/* The words of AWS, as people compare with it. */
static const char *
status_text(enum instance_status status)
{
	switch (status) {
	case INSTANCE_RUNNING:
		return "RUNNING";
	case INSTANCE_SUCCEEDED:
		return "SUCCEEDED";
	case INSTANCE_FAILED:
		return "FAILED";
	case INSTANCE_TIMED_OUT:
		return "TIMED_OUT";
	case INSTANCE_CANCELLED:
		return "ABORTED";
	}
	return "?";
}

static int
load_mocks(const struct ctl *c, const char *workflow, struct mocks **out)
{
	const char *path = option(c, OPTION_MOCKS);
	struct buf text = BUF_EMPTY;
	struct error err = { .line = 0 };
	int rc;

	if (path == NULL && given(c, OPTION_TEST_CASE)) {
		complain("--test-case belongs to --mocks");
		return CTL_USAGE;
	}
	if (path == NULL)
		return CTL_OK;
	if (given(c, OPTION_MOCK_PROGRAM)) {
		complain("--mocks and --mock-program exclude each other");
		return CTL_USAGE;
	}
	rc = file_read(path, MOCKS_BYTES_MAX, "the mocks", &text);
	if (rc == CTL_OK) {
		*out = mocks_parse(buf_text(&text), text.len,
				   option(c, OPTION_TEST_CASE), workflow, &err);
		if (*out == NULL) {
			if (err.line != 0)
				complain("%s:%u: %s", path, err.line,
					 err.message);
			else
				complain("%s: %s", path, err.message);
			rc = CTL_FAILED;
		}
	}
	buf_fini(&text);
	return rc;
}

static void
slice_or_null(struct json_out *j, const char *key, struct slice text)
{
	if (text.len == 0)
		json_out_null(j, key);
	else
		json_out_slice(j, key, text);
}

static void
print_json(const struct exec *x, const struct definition *d)
{
	struct json_out j = JSON_OUT_EMPTY;
	const struct exec_task *tasks;
	const uint32_t *path;
	struct end_view end;
	uint32_t count;
	bool succeeded;

	exec_end(x, &end);
	succeeded = end.status == INSTANCE_SUCCEEDED;
	json_out_open(&j, NULL, '{');
	json_out_text(&j, "status", status_text(end.status));
	if (succeeded)
		json_out_value(&j, "output", end.output->s);
	else
		json_out_null(&j, "output");
	slice_or_null(&j, "error", succeeded ? SLICE_NONE : end.error);
	slice_or_null(&j, "cause", succeeded ? SLICE_NONE : end.cause);
	json_out_open(&j, "path", '[');
	path = exec_path(x, &count);
	for (uint32_t n = 0; n < count; n++)
		json_out_slice(&j, NULL, definition_state_name(d, path[n]));
	json_out_close(&j, ']');
	json_out_open(&j, "tasks", '[');
	tasks = exec_tasks(x, &count);
	for (uint32_t n = 0; n < count; n++) {
		json_out_open(&j, NULL, '{');
		json_out_slice(&j, "state",
			       definition_state_name(d, tasks[n].state_no));
		json_out_value(&j, "input", tasks[n].input->s);
		json_out_int(&j, "attempt", tasks[n].attempt);
		json_out_close(&j, '}');
	}
	json_out_close(&j, ']');
	json_out_close(&j, '}');
	out_json(&j);
}

static void
print_plain(const struct exec *x)
{
	struct end_view end;

	exec_end(x, &end);
	if (end.status == INSTANCE_SUCCEEDED) {
		out_value_pretty(end.output->s);
		return;
	}
	complain("%s%s%.*s%s%.*s", status_text(end.status),
		 end.error.len > 0 ? ": " : "", (int)end.error.len,
		 (const char *)end.error.data, end.cause.len > 0 ? ": " : "",
		 (int)end.cause.len, (const char *)end.cause.data);
}

/* What went wrong around the workflow, not in it. */
static void
say_failure(const struct ctl *c, const struct error *err)
{
	struct json_out j = JSON_OUT_EMPTY;

	if (err->state[0] != '\0')
		complain("state \"%s\": %s", err->state, err->message);
	else
		complain("%s", err->message);
	if (!out_is_json(c))
		return;
	json_out_open(&j, NULL, '{');
	json_out_open(&j, "errors", '[');
	json_out_open(&j, NULL, '{');
	json_out_text(&j, "state", err->state[0] != '\0' ? err->state : NULL);
	json_out_text(&j, "field", err->field[0] != '\0' ? err->field : NULL);
	json_out_null(&j, "line");
	json_out_text(&j, "message", err->message);
	json_out_close(&j, '}');
	json_out_close(&j, ']');
	json_out_close(&j, '}');
	out_json(&j);
}

static int
run(const struct ctl *c, const struct exec_options *options)
{
	struct error err = { .line = 0 };
	struct exec *x = exec_create(options);
	struct end_view end;
	int rc = exec_run(x, &err);

	if (rc == CTL_INTERRUPTED) {
		complain("interrupted");
	} else if (rc != CTL_OK) {
		if (err.message[0] != '\0')
			say_failure(c, &err);
	} else {
		if (out_is_json(c))
			print_json(x, options->definition);
		else
			print_plain(x);
		exec_end(x, &end);
		if (end.status != INSTANCE_SUCCEEDED)
			rc = CTL_RUN_FAILED;
	}
	exec_destroy(&x);
	return rc;
}

int
cmd_exec(struct ctl *c)
{
	struct exec_options options = { .is_fast = given(c, OPTION_FAST) };
	struct buf text = BUF_EMPTY, input = BUF_EMPTY;
	char *name = given(c, OPTION_NAME) ? mem_strdup(option(c, OPTION_NAME))
					   : workflow_name_of(c->words[0]);
	int rc = asl_file_load(c, c->words[0], &options.definition, NULL);

	if (rc == CTL_OK)
		rc = input_read(c, &text, &input);
	if (rc == CTL_OK)
		rc = load_mocks(c, name, &options.mocks);
	if (rc == CTL_OK) {
		options.workflow = name;
		options.input = buf_slice(&input);
		if (given(c, OPTION_MOCK_PROGRAM))
			options.program =
			    mock_program_create(option(c, OPTION_MOCK_PROGRAM));
		interrupt_watch();
		rc = run(c, &options);
	}
	mock_program_destroy(&options.program);
	mocks_destroy(&options.mocks);
	definition_unref(&options.definition);
	buf_fini(&text);
	buf_fini(&input);
	free(name);
	return rc;
}
