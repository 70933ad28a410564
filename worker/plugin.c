/*
 * plugin - dlopen(), and every check that can be made before code of it runs.
 */
#include "worker/plugin.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"
#include "common/utf8.h"
#include "worker/plugin_api.h"

#define SYMBOL "rappel_plugin_1"
#define NAME_BYTES_MAX 128U
#define ACTIONS_MAX 1024U
#define WHY_BYTES 256U

/* The structs as they were when ABI 1 began; a module may not have less. */
#define PLUGIN_BYTES_MIN                                                       \
	(offsetof(struct rappel_plugin, tear_down) + sizeof(void (*)(void)))
#define ACTION_BYTES_MIN                                                       \
	(offsetof(struct rappel_action, flags) + sizeof(uint32_t))

struct plugin {
	char *file;
	const struct rappel_plugin *desc; /* the module's, never unloaded */
	struct action *actions;
	uint32_t count;
};

struct plugins {
	char *folder;
	struct plugin *list;
	uint32_t count;
	uint32_t up; /* so many of them are set up */
};

struct plugins *
plugins_create(const char *folder)
{
	struct plugins *p = mem_zalloc(sizeof(*p));

	p->folder = mem_strdup(folder);
	return p;
}

void
plugins_destroy(struct plugins **p)
{
	struct plugins *gone = *p;

	if (gone == NULL)
		return;
	*p = NULL;
	for (uint32_t i = 0; i < gone->count; i++) {
		free(gone->list[i].file);
		free(gone->list[i].actions);
	}
	free(gone->list);
	free(gone->folder);
	free(gone);
	plugin_api_fini();
}

/* ---- checking ---- */

/* Of a module with entries of another size than ours. */
static const struct rappel_action *
entry_at(const struct rappel_plugin *d, uint32_t i)
{
	const char *table = (const char *)d->actions;

	return (const void *)(table + (size_t)i * d->action_size);
}

static bool
name_good(const char *name)
{
	size_t len = strlen(name), n;

	if (len == 0 || len > NAME_BYTES_MAX)
		return false;
	for (size_t at = 0; at < len; at += n) {
		if (!utf8_harmless(name + at, len - at, &n))
			return false;
	}
	return true;
}

static int
check_sizes(const struct rappel_plugin *d, struct error *err)
{
	if (d->abi != RAPPEL_ABI)
		error_set(err,
			  "built for plugin ABI %u, this rappel has %u: build "
			  "it again with this one's <rappel/action.h>",
			  d->abi, RAPPEL_ABI);
	else if (d->api_size > plugin_api.size)
		error_set(err,
			  "built with a newer <rappel/action.h> (%u bytes of "
			  "functions, this rappel has %u): install that "
			  "rappel, or build it again",
			  d->api_size, plugin_api.size);
	else if (d->size < PLUGIN_BYTES_MIN ||
		 d->action_size < ACTION_BYTES_MIN ||
		 d->action_size % _Alignof(struct rappel_action) != 0)
		error_set(err,
			  SYMBOL " has sizes that no version had (%u, %u): "
				 "make it with RAPPEL_PLUGIN()",
			  d->size, d->action_size);
	else
		return 0;
	return -EINVAL;
}

static int
check_action(const struct rappel_action *a, uint32_t i, struct error *err)
{
	if (a->name == NULL || !name_good(a->name))
		error_set(err,
			  "actions[%u] has no name of 1 to %u bytes without "
			  "control characters: correct its table",
			  i, NAME_BYTES_MAX);
	else if (a->run == NULL)
		error_set(err,
			  "action \"%s\" has no function: correct its table",
			  a->name);
	else if ((a->flags & ~RAPPEL_SLOW) != 0)
		error_set(err,
			  "action \"%s\" has flags that this rappel does not "
			  "know (0x%x): install a newer one",
			  a->name, a->flags);
	else
		return 0;
	return -EINVAL;
}

int
plugin_check(const struct rappel_plugin *d, struct error *err)
{
	if (check_sizes(d, err) < 0)
		return -EINVAL;
	if (d->actions == NULL || d->action_count == 0) {
		error_set(err, "no actions: put them into its table");
		return -EINVAL;
	}
	if (d->action_count > ACTIONS_MAX) {
		error_set(err, "%u actions, more than %u: split it",
			  d->action_count, ACTIONS_MAX);
		return -EINVAL;
	}
	for (uint32_t i = 0; i < d->action_count; i++) {
		if (check_action(entry_at(d, i), i, err) < 0)
			return -EINVAL;
	}
	return 0;
}

/* ---- loading ---- */

/* dlerror() begins with the file, which the caller says already. */
static const char *
load_error(const char *file)
{
	const char *text = dlerror();
	size_t len = strlen(file);

	if (text == NULL)
		return "not loadable";
	if (strncmp(text, file, len) == 0 && strncmp(text + len, ": ", 2) == 0)
		text += len + 2;
	return text;
}

static int
find(const char *file, const struct rappel_plugin **out, struct error *err)
{
	/* All at once, so that what is missing is known before HELLO. */
	void *module = dlopen(file, RTLD_NOW | RTLD_LOCAL);
	const void *symbol;

	if (module == NULL) {
		error_set(err, "%s: check its path and mode, and ldd",
			  load_error(file));
		return -EINVAL;
	}
	symbol = dlsym(module, SYMBOL);
	if (symbol == NULL) {
		error_set(err, "no symbol " SYMBOL ": end its source with "
			       "RAPPEL_PLUGIN() of <rappel/action.h>");
		dlclose(module);
		return -EINVAL;
	}
	*out = symbol;
	return 0;
}

static int
action_taken(const struct plugin *own, const struct action *a,
	     const struct action *other, struct error *err)
{
	if (other->file == NULL)
		error_set(err,
			  "action \"%s\" is built in, too: rename it, or use "
			  "--no-builtin",
			  a->name);
	else if (other->file == own->file)
		error_set(err, "action \"%s\" is there twice: rename one",
			  a->name);
	else if (strcmp(other->file, own->file) == 0)
		error_set(err, "named twice: remove one --plugin");
	else
		error_set(err,
			  "action \"%s\" is in %s, too: rename one, or use "
			  "two groups",
			  a->name, other->file);
	return -EINVAL;
}

static char *
file_of(const struct plugins *p, const char *name)
{
	size_t size = strlen(p->folder) + strlen(name) + 2;
	char *file;

	if (strchr(name, '/') != NULL)
		return mem_strdup(name);
	file = mem_alloc(size);
	snprintf(file, size, "%s/%s", p->folder, name);
	return file;
}

int
plugins_load(struct plugins *p, const char *name, struct registry *r,
	     const char **file_out, struct error *err)
{
	struct plugin *own;

	p->list = mem_realloc(p->list, (p->count + 1) * sizeof(struct plugin));
	own = &p->list[p->count++];
	*own = (struct plugin){ .file = file_of(p, name) };
	*file_out = own->file;
	if (find(own->file, &own->desc, err) < 0 ||
	    plugin_check(own->desc, err) < 0)
		return -EINVAL;
	own->count = own->desc->action_count;
	own->actions = mem_calloc(own->count, sizeof(*own->actions));
	for (uint32_t i = 0; i < own->count; i++) {
		const struct rappel_action *entry = entry_at(own->desc, i);
		const struct action *other;

		own->actions[i] = (struct action){
			.name = entry->name,
			.run = plugin_api_run,
			.slow = (entry->flags & RAPPEL_SLOW) != 0,
			.plugin_run = entry->run,
			.file = own->file,
		};
		other = registry_add(r, &own->actions[i]);
		if (other != NULL)
			return action_taken(own, &own->actions[i], other, err);
	}
	return 0;
}

/* ---- its life ---- */

/* What a plugin said, as a part of one line. */
static void
line_of(char *text)
{
	utf8_tame(text, '?');
	for (; *text != '\0'; text++) {
		if (*text == '\n' || *text == '\t')
			*text = ' ';
	}
}

int
plugins_set_up(struct plugins *p, const char **file_out, struct error *err)
{
	while (p->up < p->count) {
		const struct plugin *own = &p->list[p->up];
		char why[WHY_BYTES] = "";
		int rc = 0;

		if (own->desc->set_up != NULL)
			rc = own->desc->set_up(&plugin_api, why, sizeof(why));
		if (rc != 0) {
			why[sizeof(why) - 1] = '\0';
			line_of(why);
			error_set(err, "set-up failed: %s (%d)",
				  why[0] != '\0' ? why : "no reason given", rc);
			*file_out = own->file;
			plugins_tear_down(p);
			return -EINVAL;
		}
		p->up++;
	}
	return 0;
}

void
plugins_tear_down(struct plugins *p)
{
	while (p->up > 0) {
		const struct rappel_plugin *d = p->list[--p->up].desc;

		if (d->tear_down != NULL)
			d->tear_down();
	}
}
