/*
 * config_parts - the table of keys, as config.c and config_print.c share it.
 * Nobody else includes it.
 */
#ifndef COMMON_CONFIG_PARTS_H
#define COMMON_CONFIG_PARTS_H

#include <stddef.h>
#include <stdint.h>

#include "common/config.h"
#include "common/units.h"

enum type {
	TYPE_TEXT,
	TYPE_COUNT,    /* uint32_t */
	TYPE_SIZE,     /* uint64_t, bytes */
	TYPE_DURATION, /* uint64_t, microseconds */
	TYPE_LEVEL,    /* enum log_level */
	TYPE_SANDBOX,  /* enum sandbox_mode */
};

struct key {
	const char *section;
	const char *name;
	const char *env;
	enum type type;
	size_t offset;      /* in struct config */
	uint64_t min, max;  /* of numbers */
	const char *preset; /* as somebody would write it, or NULL */
	const char *help;
};

/* The first of them; others are found by name. */
enum { KEY_DATABASE, KEY_DIR, KEY_POOL_NAME };

extern const struct key config_keys[];
extern const size_t config_key_count;
/* By enum sandbox_mode. */
extern const char *const config_sandbox_names[];

/* What tells one text from another without keeping it; 0 for NULL. */
uint64_t config_mark(const char *text);

const struct unit *config_units(enum type type);

/* Where the key's value lies. */
static inline void *
config_place(const struct key *key, const struct config *c)
{
	return (char *)(uintptr_t)c + key->offset;
}

#endif
