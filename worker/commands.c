/*
 * commands - a file of JSON, kept as the value that it is.
 */
#include "worker/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/json.h"
#include "common/mem.h"
#include "common/value.h"
#include "worker/command.h"
#include "worker/command_env.h"
#include "worker/command_result.h"
#include "worker/runtime.h"

#define FILE_BYTES_MAX ((size_t)4 << 20)
#define READ_BYTES ((size_t)64 << 10)
#define NAME_BYTES_MAX 128U

struct configured {
	struct action action; /* first: a task's "by" leads here */
	char *name;
	struct slice spec;
	struct slice result; /* a template, or SLICE_NONE */
};

struct commands_file {
	char *path;
	struct buf value; /* a map of names and specs */
	struct configured *list;
	uint32_t count;
	struct commands_file *next;
};

struct commands {
	struct commands_file *files;
};

struct commands *
commands_create(void)
{
	return mem_zalloc(sizeof(struct commands));
}

void
commands_destroy(struct commands **c)
{
	if (*c == NULL)
		return;
	while ((*c)->files != NULL) {
		struct commands_file *f = (*c)->files;

		(*c)->files = f->next;
		for (uint32_t i = 0; i < f->count; i++)
			free(f->list[i].name);
		free(f->list);
		free(f->path);
		buf_fini(&f->value);
		free(f);
	}
	free(*c);
	*c = NULL;
}

static void
configured_run(const struct task *t, struct outcome *o)
{
	const struct configured *c = (const struct configured *)t->by;
	struct command_input input;
	struct error err = { 0 };

	if (command_input_fill(c->spec, t->input, &input, &err) < 0) {
		outcome_fail(o, "Rappel.InputInvalid", "%s", err.message);
	} else {
		command_execute(t, &input, o);
		if (!o->failed && c->result.len > 0)
			command_result_fill(c->result, t->input,
					    runtime_value_bytes_max(), o);
	}
	command_input_fini(&input);
}

/* ---- loading ---- */

static int
file_read(const char *path, struct buf *out, struct error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;

	while (fd >= 0) {
		buf_reserve(out, READ_BYTES);
		n = read(fd, out->data + out->len, READ_BYTES);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		out->len += (size_t)n;
		if (out->len > FILE_BYTES_MAX) {
			close(fd);
			error_set(err, "it has more than %zu bytes",
				  FILE_BYTES_MAX);
			return -EINVAL;
		}
	}
	if (n < 0) {
		n = -errno;
		error_set(err, "%s", strerror(errno));
	}
	if (fd >= 0)
		close(fd);
	return (int)n;
}

/* The line of what err's field names, or else of the action. */
static void
place_set(const struct commands_file *f, const struct json_places *places,
	  struct slice spec, struct error *err)
{
	struct slice at = spec, value;

	if (err->field[0] != '\0' && value_type(spec) == VALUE_MAP &&
	    value_get(spec, slice_of(err->field), &value))
		at = value;
	err->line = json_places_line(places, (size_t)(at.data - f->value.data));
}

static int
name_check(struct slice name, struct error *err)
{
	bool fine = name.len > 0 && name.len <= NAME_BYTES_MAX;

	for (size_t i = 0; i < name.len && fine; i++)
		fine = name.data[i] > ' ' && name.data[i] != 0x7f;
	if (fine)
		return 0;
	error_set(err,
		  "the name \"%.*s\" must have 1 to %u bytes, and no blanks",
		  (int)(name.len < 64 ? name.len : 64), (const char *)name.data,
		  NAME_BYTES_MAX);
	return -EINVAL;
}

static int
registry_take(struct registry *r, const struct action *a, struct error *err)
{
	const struct action *other = registry_add(r, a);

	if (other == NULL)
		return 0;
	if (other->file == NULL)
		error_set(err, "it is built in: take another name, or start "
			       "with --no-builtin");
	else if (strcmp(other->file, a->file) == 0)
		error_set(err, "it is there twice: take away one");
	else
		error_set(err, "\"%s\" has one of that name already",
			  other->file);
	return -EINVAL;
}

static int
spec_take(struct commands_file *f, struct slice name, struct slice spec,
	  struct registry *r, struct error *err)
{
	struct configured *c = &f->list[f->count];
	struct command_input input;
	int rc;

	if (name_check(name, err) < 0)
		return -EINVAL;
	rc = command_input_check(spec, &input, err);
	if (rc == 0)
		rc = command_env_check(&input, err);
	command_input_fini(&input);
	if (rc < 0)
		return rc;
	*c = (struct configured){
		.action = { .run = configured_run,
			    .slow = true,
			    .file = f->path },
		.name = mem_strndup(name.data, name.len),
		.spec = spec,
	};
	c->action.name = c->name;
	f->count++;
	if (!value_get(spec, SLICE_LITERAL("result"), &c->result))
		c->result = SLICE_NONE;
	return registry_take(r, &c->action, err);
}

/* The map's names and specs become actions. */
static int
file_take(struct commands_file *f, const struct json_places *places,
	  struct registry *r, struct error *err)
{
	struct slice whole = buf_slice(&f->value);
	uint32_t count = value_count(whole);
	struct cursor c = cursor_of(whole);

	if (value_type(whole) != VALUE_MAP || count == 0) {
		err->line = 1;
		error_set(err, "it must hold an object of actions, like "
			       "{\"hello\": {\"command\": [\"echo\", "
			       "\"{name}\"]}}");
		return -EINVAL;
	}
	f->list = mem_calloc(count, sizeof(*f->list));
	(void)cursor_next(&c);
	for (uint32_t i = 0; i < count; i++) {
		struct slice name = cursor_next(&c).bytes;
		struct slice spec = cursor_value(&c);
		char text[sizeof(err->message)];

		if (slice_is(name, "comment") && value_type(spec) == VALUE_STR)
			continue;
		if (spec_take(f, name, spec, r, err) == 0)
			continue;
		place_set(f, places, spec, err);
		snprintf(text, sizeof(text), "%s", err->message);
		error_set(err, "action \"%.*s\": %s",
			  (int)(name.len < 64 ? name.len : 64),
			  (const char *)name.data, text);
		return -EINVAL;
	}
	return 0;
}

int
commands_load(struct commands *c, const char *path, struct registry *r,
	      struct error *err)
{
	struct commands_file *f = mem_zalloc(sizeof(*f));
	struct json_places places = { NULL, 0, 0 };
	struct buf text = BUF_EMPTY;
	int rc;

	f->path = mem_strdup(path);
	f->next = c->files;
	c->files = f;
	error_clear(err);
	rc = file_read(path, &text, err);
	if (rc == 0)
		rc = json_parse((const char *)text.data, text.len,
				VALUE_DEPTH_MAX, &f->value, &places, err);
	if (rc == 0)
		rc = file_take(f, &places, r, err);
	json_places_fini(&places);
	buf_fini(&text);
	return rc;
}
