/*
 * programs - paths and environments of the children.
 */
#include "supervisor/programs.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/mem.h"

#define DATABASE_URL "RAPPEL_DATABASE_URL="

static bool
programs_usable(const char *path)
{
	return access(path, X_OK) == 0;
}

/* The folder that this program lies in, or "". */
static void
programs_own_folder(char *folder, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", folder, size - 1);
	char *slash;

	folder[n > 0 ? n : 0] = '\0';
	slash = strrchr(folder, '/');
	if (slash != NULL)
		*slash = '\0';
}

static int
programs_one(char **out, const char *variable, const char *name,
             const char *build_folder, const char *installed_folder,
             struct error *err)
{
	const char *given = getenv(variable);
	char folder[PATH_MAX];
	char path[PATH_MAX + 128];

	if (given != NULL && given[0] != '\0') {
		if (!programs_usable(given)) {
			error_set(err, "%s=%s: %s", variable, given,
			          strerror(errno));
			return -ENOENT;
		}
		*out = mem_strdup(given);
		return 0;
	}
	programs_own_folder(folder, sizeof(folder));
	snprintf(path, sizeof(path), "%s/../%s/%s", folder, build_folder,
	         name);
	if (!programs_usable(path))
		snprintf(path, sizeof(path), "%s/%s", installed_folder, name);
	if (!programs_usable(path)) {
		error_set(err,
		          "program %s is neither beside this one nor in %s",
		          name, installed_folder);
		return -ENOENT;
	}
	*out = mem_strdup(path);
	return 0;
}

int
programs_find(struct programs *p, bool with_ctl, struct error *err)
{
	int rc;

	memset(p, 0, sizeof(*p));
	rc = programs_one(&p->flusher, "RAPPEL_FLUSHER", "rappel-flusher",
	                  "flusher", RAPPEL_LIBEXECDIR, err);
	if (rc == 0)
		rc = programs_one(&p->worker, "RAPPEL_WORKER", "rappel-worker",
		                  "worker", RAPPEL_LIBEXECDIR, err);
	if (rc == 0 && with_ctl)
		rc = programs_one(&p->ctl, "RAPPEL_CTL", "rappelctl", "ctl",
		                  RAPPEL_BINDIR, err);
	if (rc < 0)
		programs_fini(p);
	return rc;
}

void
programs_fini(struct programs *p)
{
	free(p->flusher);
	free(p->worker);
	free(p->ctl);
	memset(p, 0, sizeof(*p));
}

static void
programs_common_env(struct strings *env, const char *home)
{
	static const char *const names[] = { "PATH", "LANG", "TZ" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		strings_add_env(env, names[i]);
	if (home != NULL)
		strings_add(env, "HOME=%s", home);
	else
		strings_add_env(env, "HOME");
	if (strings_env(env, "PATH") == NULL)
		strings_add(env, "PATH=/usr/local/bin:/usr/bin:/bin");
}

void
programs_set_level(struct strings *env, enum log_level level)
{
	strings_put(env, "RAPPEL_LOG_LEVEL=%s", log_level_name(level));
}

void
programs_worker_env(struct strings *env, const struct config *config,
                    const char *home)
{
	programs_common_env(env, home);
	strings_add(env, "RAPPEL_LOG_LEVEL=%s",
	            log_level_name(config->log_level));
	strings_add(env, "RAPPEL_VALUE_BYTES_MAX=%llu",
	            (unsigned long long)config->value_bytes_max);
}

/* Ours that are set anew below, or that are not the flusher's business. */
static bool
programs_set_anew(const char *entry)
{
	static const char *const names[] = { "RAPPEL_LOG_LEVEL=",
		                             "RAPPEL_SWEEP=", "RAPPEL_LIFE=",
		                             "RAPPEL_FLUSHER=",
		                             "RAPPEL_WORKER=", "RAPPEL_CTL=" };

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strncmp(entry, names[i], strlen(names[i])) == 0)
			return true;
	}
	return false;
}

void
programs_flusher_env(struct strings *env, const struct config *config,
                     const char *database, bool isolated)
{
	struct strings own = { NULL, 0 };

	programs_common_env(env, NULL);
	/* Its stderr is ours; a worker's is a pipe to us. */
	strings_add_env(env, "JOURNAL_STREAM");
	strings_add_env(env, "CREDENTIALS_DIRECTORY");
	strings_add_env(env, "KRB5CCNAME");
	strings_add_env_prefix(&own, "RAPPEL_");
	for (uint32_t i = 0; i < own.count; i++) {
		if (!programs_set_anew(own.items[i]) &&
		    (database == NULL ||
		     strncmp(own.items[i], DATABASE_URL,
		             strlen(DATABASE_URL)) != 0))
			strings_add(env, "%s", own.items[i]);
	}
	strings_fini(&own);
	if (!isolated)
		strings_add_env_prefix(env, "PG");
	strings_add(env, "RAPPEL_LOG_LEVEL=%s",
	            log_level_name(config->log_level));
	if (database != NULL)
		strings_add(env, DATABASE_URL "%s", database);
}
