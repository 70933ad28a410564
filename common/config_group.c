/*
 * config_group - sections [group NAME]: their keys, and what must hold.
 */
#include "common/config_group.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "common/clock.h"
#include "common/config.h"
#include "common/config_parts.h"
#include "common/mem.h"
#include "common/near.h"
#include "common/utf8.h"

#define KIB UINT64_C(1024)
#define WORDS_MAX 256U

const struct config_limit_row config_limits[LIMITS] = {
	[LIMIT_AS] = { "as", RLIMIT_AS, units_size, 1, KIB << 12 },
	[LIMIT_CORE] = { "core", RLIMIT_CORE, units_size, 1, 0 },
	[LIMIT_CPU] = { "cpu", RLIMIT_CPU, units_duration, CLOCK_SECOND_US,
			CLOCK_SECOND_US },
	[LIMIT_DATA] = { "data", RLIMIT_DATA, units_size, 1, KIB << 12 },
	[LIMIT_FSIZE] = { "fsize", RLIMIT_FSIZE, units_size, 1, 0 },
	[LIMIT_MEMLOCK] = { "memlock", RLIMIT_MEMLOCK, units_size, 1, 0 },
	[LIMIT_NOFILE] = { "nofile", RLIMIT_NOFILE, units_count, 1, 16 },
	[LIMIT_NPROC] = { "nproc", RLIMIT_NPROC, units_count, 1, 1 },
	[LIMIT_STACK] = { "stack", RLIMIT_STACK, units_size, 1, KIB << 7 },
};

/* ---- the lists ---- */

static int
words_read(struct words *w, const char *name, const char *text, bool commas,
	   const char *origin, struct error *err)
{
	words_fini(w);
	if (words_split(w, text, commas) < 0) {
		error_set(err, "%s: the quotes of \"%s\" do not match", origin,
			  name);
		return -EINVAL;
	}
	if (w->count == 0) {
		error_set(err, "%s: %s is empty", origin, name);
		return -EINVAL;
	}
	if (w->count > WORDS_MAX) {
		error_set(err, "%s: %s has more than %u words", origin, name,
			  WORDS_MAX);
		return -EINVAL;
	}
	return 0;
}

static int
program_parse(struct config_group *g, const char *text, const char *origin,
	      struct error *err)
{
	int rc = words_read(&g->program, "program", text, false, origin, err);
	const char *first;

	if (rc < 0)
		return rc;
	first = g->program.items[0];
	if (*first != '/' && (*first == '\0' || strchr(first, '/') != NULL)) {
		error_set(err,
			  "%s: program must begin with an absolute path or a "
			  "name that is found in PATH, not \"%.60s\"",
			  origin, first);
		return -EINVAL;
	}
	return 0;
}

static int
actions_parse(struct config_group *g, const char *text, const char *origin,
	      struct error *err)
{
	int rc = words_read(&g->actions, "actions", text, true, origin, err);

	if (rc < 0)
		return rc;
	if (g->actions.count > GROUP_PATTERNS_MAX) {
		error_set(err, "%s: actions has more than %u patterns", origin,
			  GROUP_PATTERNS_MAX);
		return -EINVAL;
	}
	for (uint32_t i = 0; i < g->actions.count; i++) {
		size_t len = strlen(g->actions.items[i]);

		if (len > 0 && len <= GROUP_PATTERN_MAX)
			continue;
		error_set(err,
			  "%s: actions must be names or patterns of 1 to %u "
			  "bytes between commas, not \"%.60s\"",
			  origin, GROUP_PATTERN_MAX, g->actions.items[i]);
		return -EINVAL;
	}
	return 0;
}

/* What rappeld tells a worker is not for others to say; log_level is. */
static bool
environment_reserved(const char *name, size_t len)
{
	static const char *const names[] = {
		"RAPPEL_FD",    "RAPPEL_SCOREBOARD_FD",
		"RAPPEL_SLOT",  "RAPPEL_SPAWN",
		"RAPPEL_LIFE",  "RAPPEL_VALUE_BYTES_MAX",
		"RAPPEL_GROUP", "RAPPEL_CONCURRENCY",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strlen(names[i]) == len && memcmp(names[i], name, len) == 0)
			return true;
	}
	return false;
}

static bool
environment_named(const char *entry, size_t len)
{
	if (len == 0 || isdigit((unsigned char)entry[0]))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!isalnum((unsigned char)entry[i]) && entry[i] != '_')
			return false;
	}
	return entry[len] == '=';
}

static int
environment_parse(struct config_group *g, const char *text, const char *origin,
		  struct error *err)
{
	struct words *w = &g->environment;
	int rc = words_read(w, "environment", text, false, origin, err);

	for (uint32_t i = 0; rc == 0 && i < w->count; i++) {
		const char *entry = w->items[i];
		size_t len = strcspn(entry, "=");

		/* Of the value nothing is told: it may be a secret. */
		if (!environment_named(entry, len)) {
			error_set(err,
				  "%s: environment must be words like "
				  "NAME=value, not \"%.*s\"",
				  origin, (int)(len < 60 ? len : 60), entry);
			return -EINVAL;
		}
		if (environment_reserved(entry, len)) {
			error_set(err,
				  "%s: environment: %.*s is set by "
				  "rappeld itself",
				  origin, (int)len, entry);
			return -EINVAL;
		}
		for (uint32_t k = 0; k < i; k++) {
			if (strncmp(w->items[k], entry, len + 1) == 0) {
				error_set(err,
					  "%s: environment: %.*s is set "
					  "twice",
					  origin, (int)(len < 60 ? len : 60),
					  entry);
				return -EINVAL;
			}
		}
	}
	return rc;
}

static int
limit_parse(struct config_group *g, const char *entry, const char *origin,
	    struct error *err)
{
	size_t len = strcspn(entry, "=");
	const struct config_limit_row *row;
	char low[32];
	uint64_t n;

	for (uint32_t i = 0; i < LIMITS; i++) {
		row = &config_limits[i];
		if (strlen(row->name) != len ||
		    memcmp(row->name, entry, len) != 0 || entry[len] != '=')
			continue;
		if (g->limits[i] != LIMIT_NONE) {
			error_set(err, "%s: limits: %s is set twice", origin,
				  row->name);
			return -EINVAL;
		}
		if (units_parse(entry + len + 1, row->units, &n) < 0 ||
		    n < row->min || n >= (uint64_t)INT64_MAX) {
			units_text(row->min, row->units, low, sizeof(low));
			error_set(err,
				  "%s: limits: %s must be %s from %s up, not "
				  "\"%.60s\"",
				  origin, row->name,
				  row->units == units_duration ? "a duration"
				  : row->units == units_size   ? "a size"
							       : "a number",
				  low, entry + len + 1);
			return -EINVAL;
		}
		g->limits[i] = n;
		return 0;
	}
	error_set(err,
		  "%s: limits must be words like nofile=1024 of as, core, cpu, "
		  "data, fsize, memlock, nofile, nproc and stack, not "
		  "\"%.60s\"",
		  origin, entry);
	return -EINVAL;
}

static int
limits_parse(struct config_group *g, const char *text, const char *origin,
	     struct error *err)
{
	struct words w = WORDS_EMPTY;
	int rc = words_read(&w, "limits", text, false, origin, err);

	for (uint32_t i = 0; i < LIMITS; i++)
		g->limits[i] = LIMIT_NONE;
	for (uint32_t i = 0; rc == 0 && i < w.count; i++)
		rc = limit_parse(g, w.items[i], origin, err);
	words_fini(&w);
	return rc;
}

/* One word. */
static int
text_parse(char **to, const char *name, const char *text, const char *origin,
	   struct error *err)
{
	struct words w = WORDS_EMPTY;
	int rc = words_read(&w, name, text, false, origin, err);

	if (rc == 0 && (w.count > 1 || *w.items[0] == '\0')) {
		error_set(err,
			  "%s: %s must be one word, in quotes if it has "
			  "blanks",
			  origin, name);
		rc = -EINVAL;
	}
	if (rc == 0) {
		free(*to);
		*to = mem_strdup(w.items[0]);
	}
	words_fini(&w);
	return rc;
}

static int
user_parse(struct config_group *g, const char *text, const char *origin,
	   struct error *err)
{
	return text_parse(&g->user, "user", text, origin, err);
}

static int
directory_parse(struct config_group *g, const char *text, const char *origin,
		struct error *err)
{
	int rc = text_parse(&g->directory, "directory", text, origin, err);

	if (rc == 0 && *g->directory != '/') {
		error_set(err,
			  "%s: directory must begin with \"/\", not \"%.60s\"",
			  origin, g->directory);
		return -EINVAL;
	}
	return rc;
}

/* ---- the table of keys ---- */

#define AT(member) offsetof(struct config_group, member)

const struct group_key_row config_group_keys[GROUP_KEYS] = {
	[GROUP_PROGRAM] = { "program", TYPE_TEXT, 0, 0, 0, program_parse, true,
			    "what is run, without a shell" },
	[GROUP_PROCESSES] = { "processes", TYPE_COUNT, AT(processes), 1,
			      CONFIG_WORKERS_MAX, NULL, true,
			      "worker processes" },
	[GROUP_PROCESSES_MAX] = { "processes_max", TYPE_COUNT,
				  AT(processes_max), 1, CONFIG_WORKERS_MAX,
				  NULL, false,
				  "to how many they can be scaled while it "
				  "runs" },
	[GROUP_CONCURRENCY] = { "concurrency", TYPE_COUNT, AT(concurrency), 1,
				1024, NULL, true,
				"actions that one process is to run at once" },
	[GROUP_ACTIONS] = { "actions", TYPE_TEXT, 0, 0, 0, actions_parse, false,
			    "names or patterns of what it serves" },
	[GROUP_ENVIRONMENT] = { "environment", TYPE_TEXT, 0, 0, 0,
				environment_parse, true,
				"NAME=value words beside what all have" },
	[GROUP_USER] = { "user", TYPE_TEXT, AT(user), 0, 0, user_parse, false,
			 "whom its workers run as" },
	[GROUP_DIRECTORY] = { "directory", TYPE_TEXT, AT(directory), 0, 0,
			      directory_parse, true,
			      "where its workers start" },
	[GROUP_LIMITS] = { "limits", TYPE_TEXT, 0, 0, 0, limits_parse, true,
			   "resource limits of each process" },
	[GROUP_RECYCLE_ACTIONS] = { "recycle_actions", TYPE_COUNT,
				    AT(recycle_actions), 0, UINT32_MAX, NULL,
				    true,
				    "actions after which a worker is replaced; "
				    "0: never" },
	[GROUP_RECYCLE_AGE] = { "recycle_age", TYPE_DURATION,
				AT(recycle_age_us), 0,
				365 * 86400 * CLOCK_SECOND_US, NULL, true,
				"age at which a worker is replaced; 0: never" },
	[GROUP_RECYCLE_RSS] = { "recycle_rss", TYPE_SIZE, AT(recycle_rss), 0,
				KIB << 40, NULL, true,
				"resident memory at which a worker is "
				"replaced; 0: never" },
	[GROUP_HELLO] = { "hello", TYPE_DURATION, AT(hello_us),
			  100 * CLOCK_MS_US, 600 * CLOCK_SECOND_US, NULL, true,
			  "for a new worker to be ready" },
	[GROUP_OUTPUT_RATE] = { "output_rate", TYPE_SIZE, AT(output_rate), KIB,
				KIB << 20, NULL, true,
				"bytes a second of a worker's output that are "
				"logged" },
};

/* ---- a section of the file ---- */

static struct config_group *
group_add(struct config *c, const char *name, const char *origin)
{
	struct config_group *g;

	c->groups =
	    mem_realloc(c->groups, (c->group_count + 1) * sizeof(*c->groups));
	g = &c->groups[c->group_count++];
	memset(g, 0, sizeof(*g));
	memcpy(g->name, name, strlen(name) + 1);
	g->origin = mem_strdup(origin);
	for (uint32_t i = 0; i < LIMITS; i++)
		g->limits[i] = LIMIT_NONE;
	return g;
}

void
config_groups_begin(struct config *c)
{
	struct config_group *native = group_add(c, GROUP_NATIVE, "workers");

	words_add(&native->program, GROUP_OWN_PROGRAM,
		  strlen(GROUP_OWN_PROGRAM));
}

int
config_group_begin(struct config *c, const char *name, const char *origin,
		   struct error *err)
{
	size_t len = strlen(name);

	if (len == 0 || len > GROUP_NAME_MAX ||
	    strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") != len) {
		error_set(err,
			  "%s: a group is written [group NAME] with 1 to %u "
			  "of a-z, 0-9, _ and -, not \"%.60s\"",
			  origin, GROUP_NAME_MAX, name);
		return -EINVAL;
	}
	if (strcmp(name, GROUP_NATIVE) == 0) {
		error_set(err,
			  "%s: the group " GROUP_NATIVE " is the built-in one: "
			  "set it by workers and worker_…, or give another "
			  "name to one with program = " GROUP_OWN_PROGRAM,
			  origin);
		return -EINVAL;
	}
	for (uint32_t i = 0; i < c->group_count; i++) {
		if (strcmp(c->groups[i].name, name) == 0) {
			error_set(err, "%s: [group %s] is already there in %s",
				  origin, name, c->groups[i].origin);
			return -EINVAL;
		}
	}
	if (c->group_count == CONFIG_GROUPS_MAX) {
		error_set(err, "%s: more than %u groups", origin,
			  CONFIG_GROUPS_MAX - 1);
		return -EINVAL;
	}
	(void)group_add(c, name, origin);
	return 0;
}

static int
group_key_number(struct config_group *g, const struct group_key_row *row,
		 const char *text, const char *origin, struct error *err)
{
	char *at = (char *)g + row->offset;
	uint64_t n;
	int rc = config_number(row->name, row->type, row->min, row->max, text,
			       origin, &n, err);

	if (rc < 0)
		return rc;
	if (row->type == TYPE_COUNT)
		*(uint32_t *)at = (uint32_t)n;
	else
		*(uint64_t *)at = n;
	return 0;
}

static int
group_key_unknown(const struct config_group *g, const char *name,
		  const char *origin, struct error *err)
{
	const char *names[GROUP_KEYS];
	struct buf known = BUF_EMPTY;
	const char *near;

	for (uint32_t i = 0; i < GROUP_KEYS; i++)
		names[i] = config_group_keys[i].name;
	near = near_name(name, names, GROUP_KEYS);
	if (near != NULL)
		buf_printf(&known, "did you mean \"%s\"? There are ", near);
	else
		buf_add_text(&known, "there are ");
	for (uint32_t i = 0; i < GROUP_KEYS; i++)
		buf_printf(&known, "%s%s",
			   i == 0                ? ""
			   : i + 1 == GROUP_KEYS ? " and "
						 : ", ",
			   config_group_keys[i].name);
	error_set(err, "%s: unknown key \"%.60s\" in [group %s]; %s",
		  origin, name, g->name, buf_text(&known));
	buf_fini(&known);
	return -EINVAL;
}

int
config_group_set(struct config *c, const char *name, char *value,
		 const char *origin, struct error *err)
{
	struct config_group *g = &c->groups[c->group_count - 1];
	const struct group_key_row *row = NULL;
	uint32_t key = 0;
	int rc;

	while (key < GROUP_KEYS &&
	       strcmp(config_group_keys[key].name, name) != 0)
		key++;
	if (key == GROUP_KEYS)
		return group_key_unknown(g, name, origin, err);
	row = &config_group_keys[key];
	if (g->origins[key] != NULL) {
		error_set(err, "%s: \"%s\" is already set in %s", origin, name,
			  g->origins[key]);
		return -EINVAL;
	}
	if (!utf8_valid(value, strlen(value))) {
		error_set(err, "%s: %s is not UTF-8", origin, name);
		return -EINVAL;
	}
	/* In a list each word has quotes of its own. */
	if (row->parse == NULL)
		value = config_value_clean(value);
	if (value == NULL) {
		error_set(err, "%s: the quotes of \"%s\" do not match", origin,
			  name);
		return -EINVAL;
	}
	rc = row->parse != NULL ? row->parse(g, value, origin, err)
				: group_key_number(g, row, value, origin, err);
	if (rc == 0)
		g->origins[key] = mem_strdup(origin);
	return rc;
}

/* ---- all of them ---- */

/* What was not said is as for the built-in group. */
static void
group_inherit(const struct config *c, struct config_group *g)
{
	if (g->origins[GROUP_PROCESSES] == NULL)
		g->processes = 1;
	if (g->origins[GROUP_PROCESSES_MAX] == NULL)
		g->processes_max = g->processes > 8 ? g->processes : 8;
	if (g->origins[GROUP_RECYCLE_ACTIONS] == NULL)
		g->recycle_actions = c->worker_recycle_actions;
	if (g->origins[GROUP_RECYCLE_AGE] == NULL)
		g->recycle_age_us = c->worker_recycle_age_us;
	if (g->origins[GROUP_RECYCLE_RSS] == NULL)
		g->recycle_rss = c->worker_recycle_rss;
	if (g->origins[GROUP_HELLO] == NULL)
		g->hello_us = c->worker_hello_us;
	if (g->origins[GROUP_OUTPUT_RATE] == NULL)
		g->output_rate = c->worker_output_rate;
}

void
config_groups_inherit(struct config *c)
{
	struct config_group *native = &c->groups[0];

	for (uint32_t i = 0; i < c->group_count; i++)
		group_inherit(c, &c->groups[i]);
	native->processes = c->workers;
	native->processes_max =
	    c->workers > c->workers_max ? c->workers : c->workers_max;
}

int
config_groups_check(struct config *c, struct error *err)
{
	const char *last = config_origin(c, "workers_max");
	uint64_t room = 0;

	if (c->workers == 0 && c->group_count == 1) {
		error_set(err,
			  "%s: workers must be at least 1 where there is no "
			  "[group NAME]",
			  config_origin(c, "workers"));
		return -EINVAL;
	}
	config_groups_inherit(c);
	for (uint32_t i = 0; i < c->group_count; i++) {
		const struct config_group *g = &c->groups[i];

		if (g->program.count == 0) {
			error_set(err, "%s: [group %s] has no program",
				  g->origin, g->name);
			return -EINVAL;
		}
		if (g->processes > g->processes_max) {
			error_set(err,
				  "%s: processes_max = %u is less than "
				  "processes, which is %u",
				  g->origins[GROUP_PROCESSES_MAX],
				  g->processes_max, g->processes);
			return -EINVAL;
		}
		room += g->processes_max;
		if (i > 0)
			last = config_group_origin(g, GROUP_PROCESSES_MAX);
	}
	if (room > CONFIG_WORKERS_MAX) {
		error_set(err,
			  "%s: all groups together may have %u workers, and "
			  "workers_max and processes_max add up to %" PRIu64,
			  last, CONFIG_WORKERS_MAX, room);
		return -EINVAL;
	}
	return 0;
}

void
config_groups_fini(struct config *c)
{
	for (uint32_t i = 0; i < c->group_count; i++) {
		struct config_group *g = &c->groups[i];

		words_fini(&g->program);
		words_fini(&g->actions);
		words_fini(&g->environment);
		free(g->user);
		free(g->directory);
		free(g->origin);
		for (uint32_t k = 0; k < GROUP_KEYS; k++)
			free(g->origins[k]);
	}
	free(c->groups);
	c->groups = NULL;
	c->group_count = 0;
}

bool
config_group_is_native(const struct config_group *g)
{
	return strcmp(g->name, GROUP_NATIVE) == 0;
}

const char *
config_group_origin(const struct config_group *g, enum group_key key)
{
	return g->origins[key] != NULL ? g->origins[key] : g->origin;
}
