/*
 * near - which of some names somebody may have meant.
 */
#include "common/near.h"

#include <string.h>

#define NAME_BYTES_MAX 64U

uint32_t
near_distance(const char *a, const char *b)
{
	size_t a_len = strlen(a), b_len = strlen(b);
	uint32_t row[NAME_BYTES_MAX + 1];

	if (a_len > NAME_BYTES_MAX || b_len > NAME_BYTES_MAX)
		return UINT32_MAX;
	for (uint32_t j = 0; j <= b_len; j++)
		row[j] = j;
	for (uint32_t i = 1; i <= a_len; i++) {
		uint32_t diagonal = row[0];

		row[0] = i;
		for (uint32_t j = 1; j <= b_len; j++) {
			uint32_t change =
			    diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);

			diagonal = row[j];
			if (row[j] + 1 < change)
				change = row[j] + 1;
			if (row[j - 1] + 1 < change)
				change = row[j - 1] + 1;
			row[j] = change;
		}
	}
	return row[b_len];
}

const char *
near_name(const char *typed, const char *const *names, uint32_t count)
{
	const char *best = NULL;
	uint32_t best_distance = (uint32_t)(strlen(typed) + 2) / 3 + 1;

	for (uint32_t n = 0; n < count; n++) {
		uint32_t d = near_distance(typed, names[n]);

		if (d < best_distance) {
			best = names[n];
			best_distance = d;
		}
	}
	return best;
}
