/*
 * choice - the rules of a Choice state: every comparison operator of the
 * language with its …Path form, IsNull, IsPresent, IsNumeric, IsString,
 * IsBoolean, IsTimestamp, StringMatches, and And, Or, Not.
 *
 * Pure. Next is not a part of a rule here: the definition keeps it.
 */
#ifndef ENGINE_CHOICE_H
#define ENGINE_CHOICE_H

#include <stdbool.h>

#include "common/error.h"
#include "common/value.h"

struct choice;

/*
 * Compiles one rule, a checked msgpack map; unknown keys other than Next,
 * Comment, Assign and Output are errors. Borrows nothing. NULL with err
 * (field names the key); *wrong_out, unless NULL, is then the byte of rule at
 * which the value begins that is wrong. Release with choice_destroy().
 */
struct choice *choice_compile(struct slice rule, size_t *wrong_out,
                              struct error *err) MUST_CHECK;
void choice_destroy(struct choice **c);
bool choice_wants_context(const struct choice *c);

/*
 * 1 when the rule holds, 0 when not (values of another type than the
 * operator's do not hold), -EINVAL with err when Variable or a …Path (field
 * says which) finds nothing (States.Runtime) and the operator is not
 * IsPresent.
 */
int choice_holds(const struct choice *c, struct value *input,
                 struct value *context, struct error *err) MUST_CHECK;

#endif
