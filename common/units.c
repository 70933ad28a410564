/*
 * units - numbers as people write them in a configuration.
 */
#include "common/units.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "common/clock.h"

#define SECOND CLOCK_SECOND_US
#define KIB UINT64_C(1024)

const struct unit units_duration[] = {
	{ "", SECOND },          { "us", 1 },
	{ "ms", CLOCK_MS_US },   { "s", SECOND },
	{ "min", 60 * SECOND },  { "h", 3600 * SECOND },
	{ "d", 86400 * SECOND }, { NULL, 0 },
};

const struct unit units_size[] = {
	{ "", 1 },           { "B", 1 },          { "kB", KIB },
	{ "MB", KIB << 10 }, { "GB", KIB << 20 }, { NULL, 0 },
};

const struct unit units_count[] = {
	{ "", 1 },
	{ NULL, 0 },
};

static bool
is_digit(char c)
{
	return c >= '0' && c <= '9';
}

int
units_parse(const char *text, const struct unit *units, uint64_t *out)
{
	const struct unit *unit = units;
	uint64_t whole = 0, part = 0, part_scale = 1;

	if (!is_digit(*text))
		return -EINVAL;
	for (; is_digit(*text); text++) {
		if (__builtin_mul_overflow(whole, (uint64_t)10, &whole) ||
		    __builtin_add_overflow(whole, (uint64_t)(*text - '0'),
					   &whole))
			return -ERANGE;
	}
	if (*text == '.' && is_digit(text[1])) {
		for (text++; is_digit(*text); text++) {
			if (part_scale == 1000000)
				return -EINVAL;
			part = part * 10 + (uint64_t)(*text - '0');
			part_scale *= 10;
		}
	}
	while (*text == ' ')
		text++;
	while (unit->name != NULL && strcmp(unit->name, text) != 0)
		unit++;
	if (unit->name == NULL)
		return -EINVAL;
	/* Half a byte or half a worker is a mistake. */
	if (part * unit->factor % part_scale != 0)
		return -EINVAL;
	if (__builtin_mul_overflow(whole, unit->factor, &whole) ||
	    __builtin_add_overflow(whole, part * unit->factor / part_scale,
				   &whole))
		return -ERANGE;
	*out = whole;
	return 0;
}

void
units_text(uint64_t n, const struct unit *units, char *text, size_t size)
{
	const struct unit *best = units;

	for (const struct unit *u = units + 1; n > 0 && u->name != NULL; u++) {
		/* The bare number's factor may be larger than the first. */
		if (n % u->factor == 0)
			best = u;
	}
	snprintf(text, size, "%" PRIu64 "%s", n / best->factor, best->name);
}
