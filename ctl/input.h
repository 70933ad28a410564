/*
 * input - the input of a run: --input JSON, -i FILE, or {}.
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

#endif
