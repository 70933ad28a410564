/*
 * path - JSONPath as the Amazon States Language uses it.
 *
 * Pure. Two dialects: a Path may select many values (wildcards, slices,
 * unions, filters, recursive descent) and yields an array then; a Reference
 * Path names exactly one place ($.a.b[3]['c d']). "$$" begins at the context
 * object instead of the input.
 */
#ifndef ENGINE_PATH_H
#define ENGINE_PATH_H

#include <stdbool.h>

#include "common/error.h"
#include "common/value.h"

struct path;

enum path_kind {
	PATH_ANY,       /* InputPath, OutputPath, "x.$" fields, Variable … */
	PATH_REFERENCE, /* ResultPath, ItemsPath, SecondsPath … */
};

/* Release with path_destroy(). NULL with err when text is no such path. */
struct path *path_compile(struct slice text, enum path_kind kind,
                          struct error *err) MUST_CHECK;
void path_destroy(struct path **p);

/* True when it begins with "$$": the caller must give a context. */
bool path_wants_context(const struct path *p);

/*
 * What the path selects. A path that can select only one value and finds
 * none: NULL with err (States.ParameterPathFailure or as the caller says).
 * One that may select many yields an array of its own, perhaps empty.
 * The result shares the bytes of input or context where it can.
 */
struct value *path_eval(const struct path *p, struct value *input,
                        struct value *context, struct error *err) MUST_CHECK;

/*
 * ResultPath: input with the place that the reference path names set to
 * result; objects on the way are made as needed. "$" yields result. NULL with
 * err when a step goes through something that is no object or array element
 * (States.ResultPathMatchFailure).
 */
struct value *path_set(const struct path *p, struct value *input,
                       struct value *result, struct error *err) MUST_CHECK;

#endif
