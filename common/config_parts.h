/*
 * config_parts - the tables of keys, as config.c, config_group.c and what
 * prints and compares share them. Nobody else includes it.
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

/* A number as type has it, from min to max; or -EINVAL with err. */
int config_number(const char *name, enum type type, uint64_t min, uint64_t max,
		  const char *text, const char *origin, uint64_t *out,
		  struct error *err) MUST_CHECK;
/*
 * The value in place: without its quotes, or without a comment that begins
 * behind a blank. NULL for a quote that is not closed.
 */
char *config_value_clean(char *value);

/* ---- groups ---- */

struct group_key_row {
	const char *name;
	enum type type;    /* of a number; TYPE_TEXT for what has parse */
	size_t offset;     /* in struct config_group, of numbers and texts */
	uint64_t min, max; /* of numbers */
	/* Of words. */
	int (*parse)(struct config_group *g, const char *text,
		     const char *origin, struct error *err);
	bool live; /* can change while the daemon runs */
	const char *help;
};

extern const struct group_key_row config_group_keys[GROUP_KEYS];

/* Before the file: the built-in group. */
void config_groups_begin(struct config *c);
/* A section begins; a key of the group that began last. value is changed. */
int config_group_begin(struct config *c, const char *name, const char *origin,
		       struct error *err) MUST_CHECK;
int config_group_set(struct config *c, const char *name, char *value,
		     const char *origin, struct error *err) MUST_CHECK;
/* When all is read: what was not said, and what must hold. */
int config_groups_check(struct config *c, struct error *err) MUST_CHECK;
/* What a group takes from the others' keys, again. */
void config_groups_inherit(struct config *c);
void config_groups_fini(struct config *c);
void config_groups_print(const struct config *c, FILE *to);
void config_groups_take_live(struct config *c, const struct config *from,
			     void (*differs_cb)(void *arg, const char *key,
						bool taken),
			     void *arg);

/* Where the key's value lies. */
static inline void *
config_place(const struct key *key, const struct config *c)
{
	return (char *)(uintptr_t)c + key->offset;
}

#endif
