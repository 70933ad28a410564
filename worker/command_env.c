/*
 * command_env - a list of NAME=value without duplicates.
 */
#include "worker/command_env.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/utf8.h"
#include "common/uuid.h"

#define ARENA_BYTES ((size_t)8 << 10)
#define CAP_FIRST 48U
#define PATH_DEFAULT "/usr/local/bin:/usr/bin:/bin"
#define PATH_SHOWN_BYTES 150U

/* What the worker was told and a program has no use for. */
static const char *const own[] = {
	"RAPPEL_FD",
	"RAPPEL_SLOT",
	"RAPPEL_SPAWN",
	"RAPPEL_LOG_LEVEL",
	"RAPPEL_VALUE_BYTES_MAX",
	"RAPPEL_SCOREBOARD_FD",
	"RAPPEL_CONCURRENCY",
	"JOURNAL_STREAM",
};

static char **
env_find(const struct command_env *e, const char *name, size_t len)
{
	for (uint32_t i = 0; i < e->count; i++) {
		if (strncmp(e->items[i], name, len) == 0 &&
		    e->items[i][len] == '=')
			return &e->items[i];
	}
	return NULL;
}

static void
env_append(struct command_env *e, char *entry)
{
	if (e->count + 1 >= e->cap) {
		char **more =
		    arena_alloc(e->arena, 2 * e->cap * sizeof(*e->items));

		memcpy(more, e->items, e->count * sizeof(*e->items));
		e->items = more;
		e->cap *= 2;
	}
	e->items[e->count++] = entry;
	e->items[e->count] = NULL;
}

/* entry is NAME=value and lives as long as e. */
static void
env_put(struct command_env *e, char *entry)
{
	char **there = env_find(e, entry, (size_t)(strchr(entry, '=') - entry));

	if (there != NULL)
		*there = entry;
	else
		env_append(e, entry);
}

static void
env_unset(struct command_env *e, const char *name)
{
	char **there = env_find(e, name, strlen(name));

	if (there == NULL)
		return;
	*there = e->items[--e->count];
	e->items[e->count] = NULL;
}

static void __attribute__((format(printf, 2, 3)))
env_set(struct command_env *e, const char *format, ...)
{
	char text[256];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	env_put(e, arena_strndup(e->arena, text, strlen(text)));
}

/* A path may be longer than what env_set() takes. */
static void
env_set_path(struct command_env *e, const char *name, const char *dir,
	     const char *file)
{
	size_t size =
	    strlen(name) + strlen(dir) + 3 + (file != NULL ? strlen(file) : 0);
	char *entry = arena_alloc(e->arena, size);

	snprintf(entry, size, "%s=%s%s%s", name, dir, file != NULL ? "/" : "",
		 file != NULL ? file : "");
	env_put(e, entry);
}

static void
env_of_task(struct command_env *e, const struct task *t)
{
	char text[UUID_TEXT_SIZE];
	struct uuid instance;

	memcpy(instance.bytes, t->instance.data, sizeof(instance.bytes));
	uuid_text(&instance, text);
	env_set(e, "RAPPEL_RUN_ID=%s", text);
	env_set(e, "RAPPEL_ACTION=%.*s",
		(int)(t->action.len < 200 ? t->action.len : 200),
		(const char *)t->action.data);
	env_set(e, "RAPPEL_ATTEMPT=%" PRIu64, t->attempt);
	env_set(e, "RAPPEL_TOKEN=%" PRIu64, t->token);
	env_set(e, "RAPPEL_ACTIVATION=%" PRIu64, t->activation);
	env_set(e, "RAPPEL_TASK_TOKEN=%s.%" PRIu64 ".%" PRIu64, text,
		t->activation, t->attempt);
	env_unset(e, "RAPPEL_DEADLINE");
	if (t->timeout_us > 0) {
		uint64_t at = (uint64_t)clock_wall_us() + t->timeout_us;

		env_set(e, "RAPPEL_DEADLINE=%" PRIu64, at / CLOCK_SECOND_US);
	}
}

void
command_env_init(struct command_env *e, const struct task *t,
		 const struct command_input *input, const char *dir)
{
	*e = (struct command_env){ .arena = arena_create(ARENA_BYTES),
				   .cap = CAP_FIRST };
	e->items = arena_zalloc(e->arena, CAP_FIRST * sizeof(*e->items));
	for (char **p = environ; *p != NULL; p++) {
		if (strchr(*p, '=') != NULL)
			env_append(e, *p);
	}
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		env_unset(e, own[i]);
	env_of_task(e, t);
	if (dir != NULL)
		env_set_path(e, "RAPPEL_DIR", dir, NULL);
	if (input->from == FROM_FD3)
		env_set(e, "RAPPEL_RESULT_FD=3");
	if (input->from == FROM_FILE)
		env_set_path(e, "RAPPEL_RESULT_FILE", dir, input->result_file);
	if (input->heartbeat_fd)
		env_set(e, "RAPPEL_HEARTBEAT_FD=4");
	for (uint32_t i = 0; i < input->env_count; i++) {
		if (strchr(input->env[i], '=') != NULL)
			env_put(e, input->env[i]);
		else
			env_unset(e, input->env[i]);
	}
}

void
command_env_fini(struct command_env *e)
{
	arena_destroy(&e->arena);
}

const char *
command_env_get(const struct command_env *e, const char *name)
{
	size_t len = strlen(name);
	char **there = env_find(e, name, len);

	return there != NULL ? *there + len + 1 : NULL;
}

static char **
program_paths(struct arena *a, const char *path, const char *program)
{
	size_t count = 2, program_len = strlen(program);
	char **list, **next;

	for (const char *p = path; *p != '\0'; p++)
		count += *p == ':';
	list = next = arena_zalloc(a, count * sizeof(*list));
	if (strchr(program, '/') != NULL) {
		*next = arena_strndup(a, program, program_len);
		return list;
	}
	while (*path != '\0') {
		size_t len = strcspn(path, ":");

		/* An empty one would mean the folder it runs in, which holds
		 * data and not programs. */
		if (len > 0) {
			char *full = arena_alloc(a, len + program_len + 2);

			memcpy(full, path, len);
			full[len] = '/';
			memcpy(full + len + 1, program, program_len + 1);
			*next++ = full;
		}
		path += len;
		path += *path == ':';
	}
	return list;
}

char **
command_env_paths(struct command_env *e, const char *program)
{
	const char *path = command_env_get(e, "PATH");

	return program_paths(e->arena, path != NULL ? path : PATH_DEFAULT,
			     program);
}

/* The PATH that the action sets, or else the worker's. */
static const char *
input_path(const struct command_input *input)
{
	const char *path = getenv("PATH");

	for (uint32_t i = 0; i < input->env_count; i++) {
		if (strncmp(input->env[i], "PATH=", 5) == 0)
			path = input->env[i] + 5;
		else if (strcmp(input->env[i], "PATH") == 0)
			path = NULL;
	}
	return path != NULL ? path : PATH_DEFAULT;
}

int
command_env_check(const struct command_input *input, struct error *err)
{
	const char *program = input->argv[0], *path = input_path(input);
	size_t path_len = strnlen(path, PATH_SHOWN_BYTES);
	int error = ENOENT;
	struct arena *a;
	char **list;

	/* Not known yet: what the input says, and where it will run. */
	if (strchr(program, '{') != NULL || strchr(path, '{') != NULL ||
	    (program[0] != '/' && strchr(program, '/') != NULL))
		return 0;
	a = arena_create(ARENA_BYTES);
	list = program_paths(a, path, program);
	for (; *list != NULL && error != 0; list++) {
		struct stat st;

		if (stat(*list, &st) != 0)
			continue;
		error = EACCES;
		if (S_ISREG(st.st_mode) && access(*list, X_OK) == 0)
			error = 0;
	}
	arena_destroy(&a);
	if (error == 0)
		return 0;
	snprintf(err->field, sizeof(err->field), "command");
	if (program[0] == '/')
		error_set(err, "program \"%.200s\": %s", program,
			  error == EACCES ? "it is not executable"
					  : strerror(error));
	else
		error_set(err,
			  "program \"%.100s\" %s PATH: install it, or name it "
			  "with its folder (PATH is %.*s%s)",
			  program,
			  error == EACCES ? "is not executable in"
					  : "is not in",
			  (int)utf8_cut(path, path_len), path,
			  path[path_len] != '\0' ? "…" : "");
	return -EINVAL;
}
