/*
 * input - JSON from the command line: the input of a run (--input JSON, -i
 * FILE, or {}), what somebody says of a task.
 */
#ifndef CTL_INPUT_H
#define CTL_INPUT_H

#include "ctl/ctl.h"

/*
 * The text as it was given, checked to be JSON that a value can hold.
 * value_out, if not NULL, gets it as msgpack. Exit code.
 */
int input_read(const struct ctl *c, struct buf *text_out,
	       struct buf *value_out) MUST_CHECK;

/*
 * typed as it stands, or with "-" all of stdin: checked to be JSON that a
 * value can hold, of so many bytes at most. what: "the result". Exit code.
 */
int input_json(const char *typed, const char *what, size_t bytes_max,
	       struct buf *text_out) MUST_CHECK;

#endif
