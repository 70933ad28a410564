/*
 * settings - loading, and what changes with a reload.
 */
#include "supervisor/settings.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/log.h"
#include "supervisor/dev.h"
#include "supervisor/supervisor.h"
#include "supervisor/workers.h"

/* With --dev and no directory named, it is the one for that: what is meant
 * for production is never taken by accident. */
static int
settings_read(const struct supervisor *s, struct config *out,
              struct error *err)
{
	struct config_flags with_dir = s->flags;
	char *dev_dir;
	int rc;

	rc = config_load(&s->flags, out, err);
	if (rc < 0 || !s->dev_wanted)
		return rc;
	if (strcmp(config_origin(out, "dir"), "default") != 0)
		return 0;
	dev_dir = config_dev_dir();
	config_fini(out);
	with_dir.dir = dev_dir;
	rc = config_load(&with_dir, out, err);
	free(dev_dir);
	return rc;
}

int
settings_load(struct supervisor *s, struct error *err)
{
	return settings_read(s, &s->config, err);
}

int
settings_worker_user(const struct config *c, struct account *out,
                     struct error *err)
{
	char where[512];
	int rc;

	*out = (struct account){ 0 };
	if (c->worker_user == NULL)
		return 0;
	snprintf(where, sizeof(where), "%s: worker_user",
	         config_origin(c, "worker_user"));
	rc = account_configured(out, c->worker_user, where, err);
	if (rc == 0 && out->uid == geteuid())
		account_fini(out);
	return rc;
}

int
settings_users(const struct config *c, struct error *err)
{
	struct account a;
	int rc = settings_worker_user(c, &a, err);

	account_fini(&a);
	for (uint32_t i = 0; i < c->group_count && rc == 0; i++) {
		rc = group_config_account(&c->groups[i], &a, err);
		account_fini(&a);
	}
	return rc;
}

static void
worker_environment(struct supervisor *s)
{
	strings_fini(&s->worker_env);
	programs_worker_env(&s->worker_env, &s->config,
	                    s->worker_account.home);
	strings_add(&s->worker_env, STRAYS_VARIABLE "=%s", s->life);
}

void
settings_environments(struct supervisor *s)
{
	const char *database = s->flags.database;
	bool isolated = false;

	/* What stands in a file the flusher reads there itself: a worker of
	 * the same user could read it in an environment. rappelctl, which
	 * migrates for --dev, is not given the file. */
	if (s->dev != NULL)
		database = s->config.database;
	if (s->dev != NULL && dev_database(s->dev) != NULL) {
		database = dev_database(s->dev);
		isolated = true;
	}
	worker_environment(s);
	programs_flusher_env(&s->flusher_env, &s->config, database, isolated);
	strings_add(&s->flusher_env, "RAPPEL_SWEEP=%s", s->life);
	/* From here on only the flusher knows. */
	config_forget_secrets(&s->config);
}

/* ---- again ---- */

static void
differs_cb(void *arg, const char *key, bool taken)
{
	struct settings_changes *c = arg;

	strings_add(taken ? &c->taken : &c->later, "%s", key);
}

/* The same group in another configuration, or NULL. */
static const struct config_group *
group_of(const struct config *c, const struct group *g)
{
	for (uint32_t i = 0; i < c->group_count; i++) {
		if (strcmp(c->groups[i].name, g->config->name) == 0)
			return &c->groups[i];
	}
	return NULL;
}

static int
settings_check(const struct supervisor *s, const struct config *c,
               struct error *err)
{
	for (uint32_t i = 0; i < s->group_count; i++) {
		const struct group *g = &s->groups[i];
		const struct config_group *other = group_of(c, g);
		bool native = config_group_is_native(g->config);

		if (other == NULL)
			continue;
		if (other->processes < group_min(g)) {
			error_set(err,
			          "%s: workers = 0 needs a group, and groups "
			          "that come begin with the next start: "
			          "restart it",
			          config_origin(c, "workers"));
			return -ERANGE;
		}
		if (other->processes <= group_max(g))
			continue;
		error_set(err,
		          "%s: %s = %u is more than the %u that this daemon "
		          "has room for; raise %s and restart it",
		          native ? config_origin(c, "workers")
		                 : config_group_origin(other, GROUP_PROCESSES),
		          native ? "workers" : "processes", other->processes,
		          group_max(g),
		          native ? "workers_max" : "processes_max");
		return -ERANGE;
	}
	return settings_users(c, err) == 0 ? 0 : -EINVAL;
}

static void
add_names(struct buf *b, const struct strings *l)
{
	for (uint32_t i = 0; i < l->count; i++)
		buf_printf(b, "%s%s", i > 0 ? "," : "", l->items[i]);
	if (l->count == 0)
		buf_add_text(b, "-");
}

static void
settings_tell(const struct settings_changes *c)
{
	struct buf taken = BUF_EMPTY, later = BUF_EMPTY;

	add_names(&taken, &c->taken);
	add_names(&later, &c->later);
	log_info("configuration read again changed=%s at_next_start=%s",
	         buf_text(&taken), buf_text(&later));
	buf_fini(&taken);
	buf_fini(&later);
}

int
settings_reload(struct supervisor *s, struct settings_changes *out,
                struct error *err)
{
	uint32_t processes[CONFIG_GROUPS_MAX];
	struct config c;
	int rc;

	notify_send(&s->notify, "RELOADING=1\nMONOTONIC_USEC=%" PRIu64,
	            clock_mono_us());
	memset(out, 0, sizeof(*out));
	for (uint32_t i = 0; i < s->group_count; i++)
		processes[i] = s->groups[i].config->processes;
	rc = settings_read(s, &c, err);
	if (rc == 0) {
		rc = settings_check(s, &c, err);
		if (rc == 0)
			config_take_live(&s->config, &c, differs_cb, out);
		config_fini(&c);
	}
	if (s->told_ready)
		notify_send(&s->notify, "READY=1");
	if (rc < 0) {
		log_error("configuration stays as it was: %s", err->message);
		return rc;
	}
	settings_tell(out);
	log_set_level(s->config.log_level);
	worker_environment(s);
	programs_set_level(&s->flusher_env, s->config.log_level);
	for (uint32_t i = 0; i < s->slots; i++)
		group_limits(&s->workers[i]);
	/* What was scaled by hand stays unless the file says otherwise now. */
	for (uint32_t i = 0; i < s->group_count; i++) {
		struct group *g = &s->groups[i];

		if (g->config->processes != processes[i] &&
		    group_scale(g, g->config->processes) < 0)
			ASSERT(false); /* it was checked */
	}
	supervisor_changed(s);
	return 0;
}

void
settings_changes_fini(struct settings_changes *c)
{
	strings_fini(&c->taken);
	strings_fini(&c->later);
}
