/*
 * order - comparing numbers and strings, for Choice rules and path filters.
 *
 * Pure. Numbers compare as what they are, never rounded to a common type.
 */
#ifndef ENGINE_ORDER_H
#define ENGINE_ORDER_H

#include <stdbool.h>

#include "common/value.h"

bool order_is_number(enum value_type type);
/* -1, 0 or 1; both must be numbers. */
int order_numbers(const struct item *a, const struct item *b);
/* -1, 0 or 1, by code point: the order of UTF-8 bytes. */
int order_strings(struct slice a, struct slice b);
/*
 * The nearest integer, halves upwards; false when v is no number or is not
 * near any 64-bit integer.
 */
bool order_round(struct slice v, int64_t *out);

#endif
