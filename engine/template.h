/*
 * template - payload templates: Parameters, ItemSelector, ResultSelector.
 *
 * Pure. A template is a JSON value in which a key that ends in ".$" holds a
 * path or an intrinsic function (States.Format, States.Array, …; all of the
 * language's) whose value replaces it under the key without ".$".
 */
#ifndef ENGINE_TEMPLATE_H
#define ENGINE_TEMPLATE_H

#include <stdbool.h>

#include "common/error.h"
#include "common/value.h"

struct template;

/*
 * Compiles a checked msgpack value; borrows nothing. NULL with err (field
 * names the key) for a bad path, function, key that is there twice or a ".$"
 * value that is no string; *wrong_out, unless NULL, is then the byte of value
 * at which what is wrong begins. Release with template_destroy().
 */
struct template *template_compile(struct slice value, size_t *wrong_out,
                                  struct error *err) MUST_CHECK;
void template_destroy(struct template **t);
bool template_wants_context(const struct template *t);

/*
 * What States.UUID and States.MathRandom are derived from, so that a replay
 * gives the same: identity of the instance and of the activation. draws
 * starts at 0 and is counted up.
 */
struct template_seed {
	uint8_t instance[16];
	uint64_t activation;
	uint32_t draws;
};

/*
 * The filled template. On failure NULL, err, and *error_name_out is the ASL
 * error: "States.ParameterPathFailure" or "States.IntrinsicFailure".
 */
struct value *template_eval(const struct template *t, struct value *input,
                            struct value *context, struct template_seed *seed,
                            const char **error_name_out,
                            struct error *err) MUST_CHECK;

#endif
