/*
 * command_input_parts - what the files of command_input share.
 */
#ifndef WORKER_COMMAND_INPUT_PARTS_H
#define WORKER_COMMAND_INPUT_PARTS_H

#include "worker/command_input.h"
#include "worker/command_template.h"

/* One command on its way from its object to *out. */
struct command_reader {
	struct slice spec;
	struct slice input; /* an action of a file: its input */
	struct command_values values;
	struct command_input *out;
	struct error *err;
	bool of_file;
	bool shell;
};

/* The value of one of its keys. */
bool reader_has(const struct command_reader *r, const char *key,
		struct slice *value);

/* Says in err that the key is wrong, and returns -EINVAL. */
int reader_wrong(const struct command_reader *r, const char *key,
		 const char *format, ...) __attribute__((format(printf, 3, 4)));
/* The message that is there is of a part of that key. */
int reader_wrong_within(const struct command_reader *r, const char *key,
			const char *part);

bool slice_has_nul(struct slice text);

/* ---- command_input_result.c ---- */

/* files, output, output_from, result_file, limits, kill_after, heartbeat and
 * result. */
int reader_files(const struct command_reader *r) MUST_CHECK;
int reader_output(const struct command_reader *r) MUST_CHECK;

#endif
