/*
 * intrinsic - the language's functions, as "States.Format('{}', $.a)".
 *
 * Pure. What looks random is derived from struct template_seed.
 */
#ifndef ENGINE_INTRINSIC_H
#define ENGINE_INTRINSIC_H

#include "engine/template.h"

struct intrinsic;

/* Release with intrinsic_destroy(). NULL with err when text is no call. */
struct intrinsic *intrinsic_compile(struct slice text,
                                    struct error *err) MUST_CHECK;
void intrinsic_destroy(struct intrinsic **i);
bool intrinsic_wants_context(const struct intrinsic *i);

/* What a call is evaluated against. context may be NULL when not wanted. */
struct scope {
	struct value *input;
	struct value *context;
	struct template_seed *seed;
};

/*
 * Appends the value of the call to out. -EINVAL with err when it has none,
 * out is then as it was.
 */
int intrinsic_eval(const struct intrinsic *i, const struct scope *scope,
                   struct buf *out, struct error *err) MUST_CHECK;

#endif
