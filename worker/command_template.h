/*
 * command_template - "{key}" in the texts of a command, filled with values.
 * Pure.
 *
 * "{{" and "}}" stand for one brace each; every other brace is a mistake, so
 * that a typing error does not reach a program.
 */
#ifndef WORKER_COMMAND_TEMPLATE_H
#define WORKER_COMMAND_TEMPLATE_H

#include <stdbool.h>

#include "common/assert.h"
#include "common/buf.h"
#include "common/error.h"

enum command_fill {
	FILL_NOTHING, /* texts are what they are, braces too */
	FILL_CHECK,   /* the braces are looked at, and stay */
	FILL_VALUES,
};

struct command_values {
	enum command_fill fill;
	struct slice map;    /* a checked value; for FILL_VALUES */
	struct slice output; /* what {output} stands for; SLICE_NONE: a key */
};

/*
 * A scalar as a program would like to get it, appended: strings as they are,
 * numbers and booleans as in JSON. False for what has no such text.
 */
bool command_template_scalar(struct slice value, struct buf *out) MUST_CHECK;

/* The text is one "{key}" and nothing else. */
bool command_template_key(struct slice text, struct slice *key_out);

/* The value of a key: 0, or -EINVAL with err naming it. */
int command_template_get(const struct command_values *v, struct slice key,
			 struct slice *out, struct error *err) MUST_CHECK;

/* Appends the filled text. -EINVAL with err for a wrong brace, a missing key
 * and one without a text. */
int command_template_text(struct slice text, const struct command_values *v,
			  struct buf *out, struct error *err) MUST_CHECK;

/*
 * Appends the value with every string in it filled; a string that is one
 * "{key}" becomes what stands there, of any type. Names of members stay.
 */
int command_template_value(struct slice value, const struct command_values *v,
			   struct buf *out, struct error *err) MUST_CHECK;

#endif
