/*
 * units - numbers as people write them in a configuration: "30s", "64kB", "4".
 */
#ifndef COMMON_UNITS_H
#define COMMON_UNITS_H

#include <stddef.h>
#include <stdint.h>

#include "common/assert.h"

struct unit {
	const char *name;
	uint64_t factor;
};

/* Of a bare number first, then rising; ended by a NULL name. */
extern const struct unit units_duration[]; /* in us; bare: seconds */
extern const struct unit units_size[];     /* in bytes, by 1024 */
extern const struct unit units_count[];    /* none */

/*
 * "250ms", "1.5 h": up to six decimals, as long as the result is whole.
 * -EINVAL for what is no such number, -ERANGE beyond 64 bits.
 */
int units_parse(const char *text, const struct unit *units,
                uint64_t *out) MUST_CHECK;

/* In the largest unit that says n exactly; cut at size. */
void units_text(uint64_t n, const struct unit *units, char *text, size_t size);

#endif
