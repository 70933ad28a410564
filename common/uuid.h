/*
 * uuid - 128-bit identities: of instances (version 7, made by PostgreSQL)
 * and of incarnations (random).
 */
#ifndef COMMON_UUID_H
#define COMMON_UUID_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "common/assert.h"

#define UUID_TEXT_SIZE 37

struct uuid {
	uint8_t bytes[16];
};

static inline bool
uuid_equal(const struct uuid *a, const struct uuid *b)
{
	return memcmp(a->bytes, b->bytes, 16) == 0;
}

/* Fills with random bytes of the kernel, version 4. Ends the process when
 * there are none. */
void uuid_random(struct uuid *out);
/* Lower case with dashes, NUL-terminated. */
void uuid_text(const struct uuid *u, char text[UUID_TEXT_SIZE]);
/* 0, or -EINVAL when text is no UUID with dashes. */
int uuid_parse(const char *text, struct uuid *out) MUST_CHECK;
/* For hash tables. The time part alone would collide. */
uint64_t uuid_hash(const struct uuid *u);

#endif
