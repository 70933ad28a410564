/*
 * config_print - settings as somebody would write them, and how two of them
 * differ.
 */
#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "common/buf.h"
#include "common/config_parts.h"
#include "common/conninfo.h"

/* So that it reads back as it is. */
static void
print_text(const char *text, FILE *to)
{
	size_t len = strlen(text);
	bool plain = len > 0 && strchr("\"'", text[0]) == NULL &&
		     strchr(text, '#') == NULL &&
		     !isspace((unsigned char)text[0]) &&
		     !isspace((unsigned char)text[len - 1]);
	char quote = strchr(text, '"') == NULL ? '"' : '\'';

	if (plain)
		fputs(text, to);
	else
		fprintf(to, "%c%s%c", quote, text, quote);
}

static void
print_value(const struct key *key, const struct config *c, FILE *to)
{
	char text[32];

	switch (key->type) {
	case TYPE_TEXT: {
		struct buf masked = BUF_EMPTY;

		/* Masking leaves alone what is no connection string. */
		if (key == &config_keys[KEY_DATABASE])
			conninfo_mask(c->database, &masked);
		else
			buf_add_text(&masked, *(char **)config_place(key, c));
		print_text(buf_text(&masked), to);
		buf_fini(&masked);
		break;
	}
	case TYPE_COUNT:
		fprintf(to, "%u", *(uint32_t *)config_place(key, c));
		break;
	case TYPE_SIZE:
	case TYPE_DURATION:
		units_text(*(uint64_t *)config_place(key, c), config_units(key->type),
			   text, sizeof(text));
		fputs(text, to);
		break;
	case TYPE_LEVEL:
		fputs(log_level_name(c->log_level), to);
		break;
	case TYPE_SANDBOX:
		fputs(config_sandbox_names[c->sandbox], to);
		break;
	}
}

void
config_print(const struct config *c, FILE *to)
{
	const char *section = "";

	for (size_t i = 0; i < config_key_count; i++) {
		const struct key *key = &config_keys[i];

		if (strcmp(section, key->section) != 0) {
			fprintf(to, "%s[%s]\n", i > 0 ? "\n" : "",
				key->section);
			section = key->section;
		}
		fprintf(to, "# %s\n", key->help);
		if (key->type == TYPE_TEXT && *(char **)config_place(key, c) == NULL) {
			fprintf(to, "# %s is not set\n", key->name);
			continue;
		}
		fprintf(to, "%s = ", key->name);
		print_value(key, c, to);
		fprintf(to, " # %s\n", c->origins[i]);
	}
	config_groups_print(c, to);
}

/* ---- what is different ---- */

/* Numbers, which can change while the daemon runs. */
static const char *const live_keys[] = {
	"workers",
	"shutdown_grace",
	"worker_hello",
	"worker_stopped",
	"worker_drain",
	"worker_recycle_actions",
	"worker_recycle_age",
	"worker_recycle_rss",
	"worker_output_rate",
	"log_level",
};

static bool
is_live(const struct key *key)
{
	for (size_t i = 0; i < sizeof(live_keys) / sizeof(live_keys[0]); i++) {
		if (strcmp(key->name, live_keys[i]) == 0)
			return true;
	}
	return false;
}

static bool
same(const struct key *key, const struct config *a, const struct config *b)
{
	const char *x, *y;

	/* Of what was forgotten only the mark is left. */
	if (key == &config_keys[KEY_DATABASE] && a->database == NULL)
		return a->database_mark == config_mark(b->database);
	switch (key->type) {
	case TYPE_TEXT:
		x = *(char **)config_place(key, a);
		y = *(char **)config_place(key, b);
		return x == NULL || y == NULL ? x == y : strcmp(x, y) == 0;
	case TYPE_COUNT:
		return *(uint32_t *)config_place(key, a) ==
		       *(uint32_t *)config_place(key, b);
	case TYPE_SIZE:
	case TYPE_DURATION:
		return *(uint64_t *)config_place(key, a) ==
		       *(uint64_t *)config_place(key, b);
	case TYPE_LEVEL:
		return a->log_level == b->log_level;
	case TYPE_SANDBOX:
		return a->sandbox == b->sandbox;
	}
	return true;
}

void
config_take_live(struct config *c, const struct config *from,
		 void (*differs_cb)(void *arg, const char *key, bool taken),
		 void *arg)
{
	for (size_t i = 0; i < config_key_count; i++) {
		const struct key *key = &config_keys[i];
		size_t size = key->type == TYPE_COUNT ? sizeof(uint32_t)
						      : sizeof(uint64_t);

		if (key->type == TYPE_LEVEL)
			size = sizeof(c->log_level);
		if (same(key, c, from))
			continue;
		if (is_live(key))
			memcpy(config_place(key, c), config_place(key, from),
			       size);
		differs_cb(arg, key->name, is_live(key));
	}
	config_groups_take_live(c, from, differs_cb, arg);
}
