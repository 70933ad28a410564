/*
 * config - rappel.conf, the environment and flags, into one checked struct.
 */
#include "common/config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/clock.h"
#include "common/config_parts.h"
#include "common/conninfo.h"
#include "common/mem.h"
#include "common/near.h"
#include "common/units.h"

#define FILE_BYTES_MAX ((size_t)1 << 20)
#define DURATION_US_MAX (UINT64_C(36525) * 86400 * CLOCK_SECOND_US)

/* ---- the table of keys ---- */

#define AT(member) offsetof(struct config, member)
#define MS CLOCK_MS_US
#define SECOND CLOCK_SECOND_US
#define KIB UINT64_C(1024)

const struct key config_keys[] = {
	[KEY_DATABASE] = { "database", "url", "RAPPEL_DATABASE_URL", TYPE_TEXT,
			   AT(database), 0, 0, NULL,
			   "libpq connection string or URI" },
	[KEY_DIR] = { "pool", "dir", "RAPPEL_DIR", TYPE_TEXT, AT(dir), 0, 0,
		      NULL, "the pool's directory" },
	[KEY_POOL_NAME] = { "pool", "pool_name", "RAPPEL_POOL_NAME", TYPE_TEXT,
			    AT(pool_name), 0, 0, NULL,
			    "label in status and views" },
	{ "pool", "workers", "RAPPEL_WORKERS", TYPE_COUNT, AT(workers), 0,
	  CONFIG_WORKERS_MAX, "4", "worker processes of the built-in group" },
	{ "pool", "workers_max", "RAPPEL_WORKERS_MAX", TYPE_COUNT,
	  AT(workers_max), 1, CONFIG_WORKERS_MAX, "64",
	  "to how many they can be scaled while it runs" },
	{ "pool", "shutdown_grace", "RAPPEL_SHUTDOWN_GRACE", TYPE_DURATION,
	  AT(shutdown_grace_us), 0, 86400 * SECOND, "30s",
	  "what running actions get at a stop" },
	{ "pool", "instances_max", "RAPPEL_INSTANCES_MAX", TYPE_COUNT,
	  AT(instances_max), 1, 1000000, "2000", "instances active in memory" },
	{ "pool", "window_max", "RAPPEL_WINDOW_MAX", TYPE_COUNT, AT(window_max),
	  1, 4096, "128", "actions that one worker may hold" },
	{ "pool", "value_bytes_max", "RAPPEL_VALUE_BYTES_MAX", TYPE_SIZE,
	  AT(value_bytes_max), KIB, 8192 * KIB, "1MB",
	  "size of an input or result" },
	{ "pool", "worker_user", "RAPPEL_WORKER_USER", TYPE_TEXT,
	  AT(worker_user), 0, 0, NULL,
	  "whom workers run as, when root runs rappeld" },
	{ "pool", "sandbox", "RAPPEL_SANDBOX", TYPE_SANDBOX, AT(sandbox), 0, 0,
	  "on", "on, off or log: system calls that nobody here needs" },
	{ "control", "control_group_ro", "RAPPEL_CONTROL_GROUP_RO", TYPE_TEXT,
	  AT(control_group_ro), 0, 0, NULL, "group that may look" },
	{ "control", "control_group_op", "RAPPEL_CONTROL_GROUP_OP", TYPE_TEXT,
	  AT(control_group_op), 0, 0, NULL,
	  "group that may also operate: drain and the like" },
	{ "control", "control_group_adm", "RAPPEL_CONTROL_GROUP_ADM",
	  TYPE_TEXT, AT(control_group_adm), 0, 0, NULL,
	  "group that may do everything, as root may" },
	{ "worker", "worker_hello", "RAPPEL_WORKER_HELLO", TYPE_DURATION,
	  AT(worker_hello_us), 100 * MS, 600 * SECOND, "5s",
	  "for a new worker to be ready" },
	{ "worker", "worker_stopped", "RAPPEL_WORKER_STOPPED", TYPE_DURATION,
	  AT(worker_stopped_us), 100 * MS, 3600 * SECOND, "15s",
	  "how long a worker may be stopped (SIGSTOP)" },
	{ "worker", "worker_drain", "RAPPEL_WORKER_DRAIN", TYPE_DURATION,
	  AT(worker_drain_us), 0, 86400 * SECOND, "10min",
	  "for a worker that is replaced to finish what it runs" },
	{ "worker", "worker_recycle_actions", "RAPPEL_WORKER_RECYCLE_ACTIONS",
	  TYPE_COUNT, AT(worker_recycle_actions), 0, UINT32_MAX, "0",
	  "actions after which a worker is replaced; 0: never" },
	{ "worker", "worker_recycle_age", "RAPPEL_WORKER_RECYCLE_AGE",
	  TYPE_DURATION, AT(worker_recycle_age_us), 0, 365 * 86400 * SECOND,
	  "0s", "age at which a worker is replaced; 0: never" },
	{ "worker", "worker_recycle_rss", "RAPPEL_WORKER_RECYCLE_RSS",
	  TYPE_SIZE, AT(worker_recycle_rss), 0, KIB << 40, "0",
	  "resident memory at which a worker is replaced; 0: never" },
	{ "worker", "worker_output_rate", "RAPPEL_WORKER_OUTPUT_RATE",
	  TYPE_SIZE, AT(worker_output_rate), KIB, KIB << 20, "256kB",
	  "bytes a second of a worker's output that are logged" },
	{ "flusher", "batch_actions_max", "RAPPEL_BATCH_ACTIONS_MAX",
	  TYPE_COUNT, AT(batch_actions_max), 1, 100000, "2000",
	  "journal entries in one commit" },
	{ "flusher", "batch_bytes_max", "RAPPEL_BATCH_BYTES_MAX", TYPE_SIZE,
	  AT(batch_bytes_max), 64 * KIB, KIB << 18, "4MB",
	  "bytes in one commit" },
	{ "flusher", "heartbeat", "RAPPEL_HEARTBEAT", TYPE_DURATION,
	  AT(heartbeat_us), 100 * MS, 600 * SECOND, "2s",
	  "between two signs of life in the database" },
	{ "flusher", "lease", "RAPPEL_LEASE", TYPE_DURATION, AT(lease_us),
	  SECOND, 3600 * SECOND, "10s",
	  "silence after which a pool counts as dead" },
	{ "flusher", "cancel_grace", "RAPPEL_CANCEL_GRACE", TYPE_DURATION,
	  AT(cancel_grace_us), 0, 3600 * SECOND, "1s",
	  "for an action to end that nobody wants any more" },
	{ "flusher", "db_deadline", "RAPPEL_DB_DEADLINE", TYPE_DURATION,
	  AT(db_deadline_us), 100 * MS, 600 * SECOND, "5s",
	  "for one database operation" },
	{ "log", "log_level", "RAPPEL_LOG_LEVEL", TYPE_LEVEL, AT(log_level), 0,
	  0, "info", "error, warning, info or debug" },
};

#define KEY_COUNT (sizeof(config_keys) / sizeof(config_keys[0]))

const size_t config_key_count = KEY_COUNT;

static void *
place(const struct key *key, const struct config *c)
{
	return config_place(key, c);
}

/* ---- setting one key ---- */

int
config_duration(const char *text, uint64_t *us_out)
{
	uint64_t us;
	int rc = units_parse(text, units_duration, &us);

	if (rc < 0)
		return rc;
	if (us > DURATION_US_MAX)
		return -ERANGE;
	*us_out = us;
	return 0;
}

const struct unit *
config_units(enum type type)
{
	switch (type) {
	case TYPE_SIZE:
		return units_size;
	case TYPE_DURATION:
		return units_duration;
	case TYPE_COUNT:
	case TYPE_TEXT:
	case TYPE_LEVEL:
	case TYPE_SANDBOX:
		return units_count;
	}
	return units_count;
}

int
config_number(const char *name, enum type type, uint64_t min, uint64_t max,
	      const char *text, const char *origin, uint64_t *out,
	      struct error *err)
{
	int rc = units_parse(text, config_units(type), out);

	if (rc < 0 || *out < min || *out > max) {
		char low[32], high[32];

		units_text(min, config_units(type), low, sizeof(low));
		units_text(max, config_units(type), high, sizeof(high));
		error_set(err, "%s: %s must be %s from %s to %s, not \"%.60s\"",
			  origin, name,
			  type == TYPE_DURATION ? "a duration"
			  : type == TYPE_SIZE   ? "a size"
						: "a whole number",
			  low, high, text);
		return -EINVAL;
	}
	return 0;
}

static int
set_number(struct config *c, const struct key *key, const char *text,
	   const char *origin, struct error *err)
{
	uint64_t n;
	int rc = config_number(key->name, key->type, key->min, key->max, text,
			       origin, &n, err);

	if (rc < 0)
		return rc;
	if (key->type == TYPE_COUNT)
		*(uint32_t *)place(key, c) = (uint32_t)n;
	else
		*(uint64_t *)place(key, c) = n;
	return 0;
}

const char *const config_sandbox_names[] = {
	[SANDBOX_OFF] = "off",
	[SANDBOX_LOG] = "log",
	[SANDBOX_ON] = "on",
};

static int
sandbox_parse(const char *text, enum sandbox_mode *out)
{
	for (size_t i = 0; i <= SANDBOX_ON; i++) {
		if (strcmp(text, config_sandbox_names[i]) == 0) {
			*out = (enum sandbox_mode)i;
			return 0;
		}
	}
	return -EINVAL;
}

/* Memory that may hold a password. */
static void
wipe(char *text)
{
	if (text != NULL)
		explicit_bzero(text, strlen(text));
	free(text);
}

/* origin: "FILE:LINE", "RAPPEL_WORKERS", "--workers". */
static int
set(struct config *c, const struct key *key, const char *text,
    const char *origin, struct error *err)
{
	int rc = 0;

	switch (key->type) {
	case TYPE_TEXT: {
		char **value = place(key, c);

		if (*text == '\0') {
			error_set(err, "%s: %s is empty", origin, key->name);
			return -EINVAL;
		}
		wipe(*value);
		*value = mem_strdup(text);
		break;
	}
	case TYPE_SANDBOX:
		rc = sandbox_parse(text, place(key, c));
		if (rc < 0)
			error_set(err,
				  "%s: %s must be on, off or log, not "
				  "\"%.60s\"",
				  origin, key->name, text);
		break;
	case TYPE_LEVEL:
		rc = log_level_parse(text, place(key, c));
		if (rc < 0)
			error_set(err, "%s: %s must be %s, not \"%.60s\"",
				  origin, key->name, key->help, text);
		break;
	case TYPE_COUNT:
	case TYPE_SIZE:
	case TYPE_DURATION:
		rc = set_number(c, key, text, origin, err);
		break;
	}
	if (rc == 0) {
		size_t i = (size_t)(key - config_keys);
		char *copy = mem_strdup(origin);

		free(c->origins[i]);
		c->origins[i] = copy;
	}
	return rc;
}

/* ---- the file ---- */

struct file {
	const char *name;
	bool world_readable;
	uint32_t line;
	const char *section; /* one of the table's, or NULL */
	bool in_group;       /* or the last group's */
	uint32_t seen[KEY_COUNT];
};

static int __attribute__((format(printf, 3, 4)))
refuse(const struct file *f, struct error *err, const char *format, ...)
{
	char text[300];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	error_set(err, "%s:%u: %s", f->name, f->line, text);
	return -EINVAL;
}

static char *
trim(char *s)
{
	size_t len;

	while (isspace((unsigned char)*s))
		s++;
	len = strlen(s);
	while (len > 0 && isspace((unsigned char)s[len - 1]))
		len--;
	s[len] = '\0';
	return s;
}

char *
config_value_clean(char *value)
{
	char quote = *value;

	if (quote == '"' || quote == '\'') {
		char *close = strchr(value + 1, quote);
		char *rest;

		if (close == NULL)
			return NULL;
		*close = '\0';
		rest = trim(close + 1);
		return *rest == '\0' || *rest == '#' ? value + 1 : NULL;
	}
	for (char *at = value; *at != '\0'; at++) {
		if (*at == '#' &&
		    (at == value || isspace((unsigned char)at[-1]))) {
			*at = '\0';
			return trim(value);
		}
	}
	return value;
}

/* "FILE:LINE". */
static void
place_text(const struct file *f, char *text, size_t size)
{
	snprintf(text, size, "%s:%u", f->name, f->line);
}

static int
section_line(struct file *f, struct config *c, char *line, struct error *err)
{
	char *close = strchr(line, ']');
	char origin[512];
	char *name, *rest;

	if (close == NULL)
		return refuse(f, err, "a section is written [name]");
	*close = '\0';
	name = trim(line + 1);
	rest = trim(close + 1);
	if (*rest != '\0' && *rest != '#')
		return refuse(f, err, "nothing may follow [%.60s]", name);
	f->in_group = false;
	for (size_t i = 0; i < KEY_COUNT; i++) {
		if (strcmp(config_keys[i].section, name) == 0) {
			f->section = config_keys[i].section;
			return 0;
		}
	}
	if (strncmp(name, "group", 5) == 0 &&
	    (name[5] == '\0' || isspace((unsigned char)name[5]))) {
		f->in_group = true;
		place_text(f, origin, sizeof(origin));
		return config_group_begin(c, trim(name + 5), origin, err);
	}
	return refuse(f, err,
		      "unknown section [%.60s]; there are [database], [pool], "
		      "[control], [worker], [flusher], [log] and [group NAME]",
		      name);
}

static int
key_unknown(const struct file *f, const char *name, struct error *err)
{
	const char *names[KEY_COUNT];
	const char *near;

	for (size_t i = 0; i < KEY_COUNT; i++)
		names[i] = config_keys[i].name;
	near = near_name(name, names, KEY_COUNT);
	if (near == NULL)
		return refuse(f, err, "unknown key \"%.60s\"", name);
	return refuse(f, err, "unknown key \"%.60s\"; did you mean \"%s\"?",
		      name, near);
}

static int
key_line(struct file *f, struct config *c, char *line, struct error *err)
{
	char *equals = strchr(line, '=');
	const struct key *key = NULL;
	char origin[512];
	char *name, *value;

	if (equals == NULL)
		return refuse(f, err, "expected \"key = value\"");
	*equals = '\0';
	name = trim(line);
	value = trim(equals + 1);
	place_text(f, origin, sizeof(origin));
	if (f->in_group)
		return config_group_set(c, name, value, origin, err);
	value = config_value_clean(value);
	for (size_t i = 0; i < KEY_COUNT && key == NULL; i++) {
		if (strcmp(config_keys[i].name, name) == 0)
			key = &config_keys[i];
	}
	if (key == NULL)
		return key_unknown(f, name, err);
	if (f->section == NULL || strcmp(f->section, key->section) != 0)
		return refuse(f, err, "\"%s\" belongs into section [%s]", name,
			      key->section);
	if (value == NULL)
		return refuse(f, err, "the quotes of \"%s\" do not match",
			      name);
	if (f->seen[key - config_keys] != 0)
		return refuse(f, err, "\"%s\" is already set in line %u", name,
			      f->seen[key - config_keys]);
	f->seen[key - config_keys] = f->line;
	if (key == &config_keys[KEY_DATABASE] && f->world_readable &&
	    conninfo_has_password(value))
		return refuse(
		    f, err,
		    "there is a password in a file that everybody can "
		    "read; run \"chmod 640 %.150s\" or less",
		    f->name);
	return set(c, key, value, origin, err);
}

/* text is changed. */
static int
file_parse(struct file *f, struct config *c, char *text, struct error *err)
{
	while (text != NULL) {
		char *newline = strchr(text, '\n');
		char *line = text;
		int rc = 0;

		f->line++;
		text = newline;
		if (newline != NULL) {
			*newline = '\0';
			text = newline + 1;
		}
		line = trim(line);
		if (*line == '[')
			rc = section_line(f, c, line, err);
		else if (*line != '\0' && *line != '#')
			rc = key_line(f, c, line, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

/* Reads what is in fd, up to the limit. */
static int
file_read(int fd, struct buf *out)
{
	for (;;) {
		ssize_t n;

		buf_reserve(out, 4096);
		n = read(fd, out->data + out->len, 4096);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n == 0 ? 0 : -errno;
		out->len += (size_t)n;
		if (out->len > FILE_BYTES_MAX)
			return -EFBIG;
	}
}

static int
file_load(const char *name, struct config *c, struct error *err)
{
	struct file f = { .name = name };
	struct buf text = BUF_EMPTY;
	struct stat st;
	int fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int rc = 0;

	if (fd < 0 || fstat(fd, &st) < 0)
		rc = -errno;
	else if (!S_ISREG(st.st_mode))
		rc = S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
	else {
		/* At once: what grows leaves copies of a password behind. */
		buf_reserve(&text, (size_t)(st.st_size < (off_t)FILE_BYTES_MAX
						? st.st_size
						: (off_t)FILE_BYTES_MAX) +
				       8192);
		rc = file_read(fd, &text);
	}
	if (rc < 0) {
		error_set(err, "cannot read %s: %s", name,
			  rc == -EINVAL ? "not a file" : strerror(-rc));
		goto out;
	}
	if ((st.st_mode & S_IWOTH) != 0) {
		error_set(err, "%s: everybody may write to this file; run "
			  "\"chmod o-w %.150s\"", name, name);
		rc = -EPERM;
		goto out;
	}
	f.world_readable = (st.st_mode & S_IROTH) != 0;
	if (text.len > 0 && memchr(text.data, '\0', text.len) != NULL) {
		error_set(err, "%s: not a text file", name);
		rc = -EINVAL;
		goto out;
	}
	rc = file_parse(&f, c, buf_text(&text), err);
out:
	if (text.data != NULL)
		explicit_bzero(text.data, text.cap);
	buf_fini(&text);
	if (fd >= 0)
		close(fd);
	return rc;
}

/* ---- built-in, environment, flags ---- */

/* base/tail, where base is $XDG_STATE_HOME or ~/.local/state. */
static char *
state_dir(const char *tail)
{
	const char *base = getenv("XDG_STATE_HOME");
	struct buf path = BUF_EMPTY;

	if (base != NULL && *base == '/') {
		buf_printf(&path, "%s/%s", base, tail);
	} else {
		const char *home = getenv("HOME");

		if (home == NULL || *home != '/') {
			const struct passwd *pw = getpwuid(getuid());

			home = pw != NULL ? pw->pw_dir : "/tmp";
		}
		buf_printf(&path, "%s/.local/state/%s", home, tail);
	}
	return buf_text(&path);
}

static char *
own_dir(const char *tail)
{
	struct buf path = BUF_EMPTY;

	if (geteuid() != 0)
		return state_dir(tail);
	buf_printf(&path, "/var/lib/%s", tail);
	return buf_text(&path);
}

char *
config_dev_dir(void)
{
	const char *given = getenv("RAPPEL_DEV_DIR");

	return given != NULL && given[0] != '\0' ? mem_strdup(given) :
	                                           own_dir("rappel-dev");
}

static int
load_presets(struct config *c, struct error *err)
{
	char host[256] = "";

	for (size_t i = 0; i < KEY_COUNT; i++) {
		int rc;

		if (config_keys[i].preset == NULL)
			continue;
		rc = set(c, &config_keys[i], config_keys[i].preset, "default",
			 err);
		ASSERT(rc == 0);
	}
	c->dir = own_dir("rappel");
	c->origins[KEY_DIR] = mem_strdup("default");
	if (gethostname(host, sizeof(host) - 1) < 0 || host[0] == '\0')
		snprintf(host, sizeof(host), "localhost");
	c->pool_name = mem_strdup(host);
	c->origins[KEY_POOL_NAME] = mem_strdup("host name");
	return 0;
}

static int
load_environment(struct config *c, struct error *err)
{
	for (size_t i = 0; i < KEY_COUNT; i++) {
		const char *text = getenv(config_keys[i].env);
		int rc;

		/* Set to nothing is how people unset one in a unit file. */
		if (text == NULL || *text == '\0')
			continue;
		rc = set(c, &config_keys[i], text, config_keys[i].env, err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static const struct key *
key_named(const char *name)
{
	for (size_t i = 0; i < KEY_COUNT; i++) {
		if (strcmp(config_keys[i].name, name) == 0)
			return &config_keys[i];
	}
	ASSERT(false); /* names are in this file */
	return NULL;
}

static int
load_flags(struct config *c, const struct config_flags *flags,
	   struct error *err)
{
	const struct {
		const char *text;
		const char *key;
		const char *flag;
	} list[] = {
		{ flags->database, "url", "--database" },
		{ flags->dir, "dir", "--dir" },
		{ flags->workers, "workers", "--workers" },
		{ flags->shutdown_grace, "shutdown_grace", "--shutdown-grace" },
		{ flags->log_level, "log_level", "--log-level" },
	};

	if (flags->database != NULL && conninfo_has_password(flags->database)) {
		error_set(err, "--database: a password on the command line can "
			       "be read by everybody on this host; put it into "
			       "RAPPEL_DATABASE_URL, the configuration file or "
			       "~/.pgpass");
		return -EINVAL;
	}
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		int rc;

		if (list[i].text == NULL)
			continue;
		rc = set(c, key_named(list[i].key), list[i].text, list[i].flag,
			 err);
		if (rc < 0)
			return rc;
	}
	return 0;
}

static int
refuse_relation(const struct config *c, const char *name, const char *must,
		const char *other, uint64_t bound, const struct unit *units,
		struct error *err)
{
	char text[32];

	units_text(bound, units, text, sizeof(text));
	error_set(err, "%s: %s must be %s %s, which is %s",
		  c->origins[key_named(name) - config_keys], name, must,
		  other, text);
	return -EINVAL;
}

/* What must hold between keys. */
static int
check(const struct config *c, struct error *err)
{
	/* So that one lost heartbeat is not a death. */
	if (c->heartbeat_us > c->lease_us / 4)
		return refuse_relation(c, "heartbeat", "at most a quarter of",
				       "lease", c->lease_us, units_duration,
				       err);
	if (c->db_deadline_us > c->lease_us)
		return refuse_relation(c, "db_deadline", "at most", "lease",
				       c->lease_us, units_duration, err);
	/* Or a value could never be written. */
	if (c->batch_bytes_max < c->value_bytes_max)
		return refuse_relation(c, "batch_bytes_max", "at least",
				       "value_bytes_max", c->value_bytes_max,
				       units_size, err);
	if (c->dir[0] != '/') {
		error_set(err, "%s: dir must begin with \"/\", not \"%.60s\"",
			  c->origins[KEY_DIR], c->dir);
		return -EINVAL;
	}
	return 0;
}

int
config_load(const struct config_flags *flags, struct config *out,
	    struct error *err)
{
	const char *file = flags->file;
	struct config c = { 0 };
	int rc;

	error_clear(err);
	c.origins = mem_calloc(KEY_COUNT, sizeof(*c.origins));
	config_groups_begin(&c);
	if (file == NULL)
		file = getenv("RAPPEL_CONFIG");
	rc = load_presets(&c, err);
	if (rc == 0 && file != NULL && *file != '\0')
		rc = file_load(file, &c, err);
	if (rc == 0)
		rc = load_environment(&c, err);
	if (rc == 0)
		rc = load_flags(&c, flags, err);
	if (rc == 0)
		rc = check(&c, err);
	if (rc == 0)
		rc = config_groups_check(&c, err);
	if (rc < 0)
		config_fini(&c);
	else
		*out = c;
	return rc;
}

void
config_fini(struct config *c)
{
	for (size_t i = 0; c->origins != NULL && i < KEY_COUNT; i++)
		free(c->origins[i]);
	free(c->origins);
	wipe(c->database);
	free(c->dir);
	free(c->pool_name);
	free(c->worker_user);
	free(c->control_group_ro);
	free(c->control_group_op);
	free(c->control_group_adm);
	config_groups_fini(c);
	*c = (struct config){ 0 };
}

const char *
config_origin(const struct config *c, const char *key)
{
	return c->origins[key_named(key) - config_keys];
}

/* FNV-1a. */
uint64_t
config_mark(const char *text)
{
	uint64_t hash = UINT64_C(14695981039346656037);

	if (text == NULL)
		return 0;
	for (; *text != '\0'; text++)
		hash = (hash ^ (uint8_t)*text) * UINT64_C(1099511628211);
	return hash;
}

void
config_forget_secrets(struct config *c)
{
	c->database_mark = config_mark(c->database);
	wipe(c->database);
	c->database = NULL;
}
