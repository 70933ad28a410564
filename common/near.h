/*
 * near - which of some names somebody may have meant. Pure.
 */
#ifndef COMMON_NEAR_H
#define COMMON_NEAR_H

#include <stdint.h>

/* Letters to change, add or drop to get from a to b; UINT32_MAX when one has
 * more than 64 bytes. */
uint32_t near_distance(const char *a, const char *b);

/* The nearest of the names, or NULL when none is near: about a third of the
 * letters may differ. */
const char *near_name(const char *typed, const char *const *names,
                      uint32_t count);

#endif
