/*
 * pattern - names with * for any run of characters, an empty one too.
 */
#ifndef COMMON_PATTERN_H
#define COMMON_PATTERN_H

#include <stdbool.h>

#include "common/buf.h"

/* The whole name. In time proportional to both lengths' product at most. */
bool pattern_match(struct slice pattern, struct slice name);

#endif
