/*
 * target - which pool and which database a command means.
 *
 * Reads the same files and variables as rappeld, and in their absence those
 * of a development pool, so that "rappeld --dev" and "rappelctl status" find
 * each other without a word of configuration.
 */
#include "ctl/target.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/mem.h"

#define SYSTEM_CONFIG "/etc/rappel/rappel.conf"

static const char *
environment(const char *name)
{
	const char *text = getenv(name);

	return text != NULL && *text != '\0' ? text : NULL;
}

/* DIR/rappel.conf when it can be read, else NULL. */
static char *
file_in(const char *dir)
{
	struct buf path = BUF_EMPTY;

	buf_printf(&path, "%s/rappel.conf", dir);
	if (access(buf_text(&path), R_OK) == 0)
		return (char *)path.data;
	buf_fini(&path);
	return NULL;
}

/*
 * The file to read, or NULL. *dev_out: it is the development pool's, whose
 * directory goes with it.
 */
static char *
choose_file(const struct ctl *c, const char *dir, const char *dev_dir,
	    bool *dev_out)
{
	char *file;

	*dev_out = false;
	if (given(c, OPTION_CONFIG))
		return mem_strdup(option(c, OPTION_CONFIG));
	if (given(c, OPTION_DEV) && !given(c, OPTION_DIR)) {
		*dev_out = true;
		return file_in(dev_dir);
	}
	if (environment("RAPPEL_CONFIG") != NULL)
		return mem_strdup(environment("RAPPEL_CONFIG"));
	if (dir != NULL) {
		file = file_in(dir);
		if (file != NULL)
			return file;
	}
	if (access(SYSTEM_CONFIG, R_OK) == 0)
		return mem_strdup(SYSTEM_CONFIG);
	/* A pool that was named is not the development pool. */
	if (dir != NULL)
		return NULL;
	file = file_in(dev_dir);
	*dev_out = file != NULL;
	return file;
}

int
target_load(const struct ctl *c, struct config *out, struct target *t)
{
	char *dev_dir = config_dev_dir();
	const char *dir = given(c, OPTION_DIR) ? option(c, OPTION_DIR)
					       : environment("RAPPEL_DIR");
	struct config_flags flags = {
		.database = option(c, OPTION_DATABASE),
		.dir = option(c, OPTION_DIR),
	};
	struct error err = { .line = 0 };
	bool dev;
	int rc;

	*t = (struct target){ .dir_origin = "default" };
	t->config_file = choose_file(c, dir, dev_dir, &dev);
	/* An empty name keeps config_load() from looking for one itself. */
	flags.file = t->config_file != NULL ? t->config_file : "";
	if (dev && flags.dir == NULL &&
	    (given(c, OPTION_DEV) || environment("RAPPEL_DIR") == NULL))
		flags.dir = dev_dir;
	rc = config_load(&flags, out, &err);
	if (rc != 0) {
		complain("%s", err.message);
		free(dev_dir);
		target_fini(t);
		return rc == -EACCES || rc == -EPERM ? CTL_PERMISSION
						     : CTL_CONFIG;
	}
	t->dir = mem_strdup(out->dir);
	if (given(c, OPTION_DIR))
		t->dir_origin = "--dir";
	else if (given(c, OPTION_DEV))
		t->dir_origin = "--dev";
	else if (environment("RAPPEL_DIR") != NULL)
		t->dir_origin = "RAPPEL_DIR";
	else if (dev)
		t->dir_origin = "the development pool";
	if (out->database != NULL) {
		t->conninfo = mem_strdup(out->database);
		if (given(c, OPTION_DATABASE))
			t->conninfo_origin = "--database";
		else if (environment("RAPPEL_DATABASE_URL") != NULL)
			t->conninfo_origin = "RAPPEL_DATABASE_URL";
		else
			t->conninfo_origin = t->config_file;
	}
	free(dev_dir);
	return CTL_OK;
}

int
target_resolve(const struct ctl *c, struct target *out)
{
	struct config config;
	int rc = target_load(c, &config, out);

	if (rc == CTL_OK)
		config_fini(&config);
	return rc;
}

void
target_fini(struct target *t)
{
	free(t->dir);
	free(t->conninfo);
	free(t->config_file);
	*t = (struct target){ .dir = NULL };
}
