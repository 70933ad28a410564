/* Tests of common/config.h and common/conninfo.h. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/config.h"
#include "common/conninfo.h"
#include "common/mem.h"
#include "tests/unit/unit.h"

/* Nothing of the environment that runs the tests. */
static void
clean_environment(void)
{
	static const char *const names[] = {
		"RAPPEL_CONFIG",    "RAPPEL_DATABASE_URL",
		"RAPPEL_DIR",       "RAPPEL_WORKERS",
		"RAPPEL_LEASE",     "RAPPEL_HEARTBEAT",
		"RAPPEL_POOL_NAME", "RAPPEL_LOG_LEVEL",
		"XDG_STATE_HOME",   "RAPPEL_SHUTDOWN_GRACE",
	};

	for (int i = 0; i < COUNT(names); i++)
		unsetenv(names[i]);
}

static void
write_file(char *name, const char *text, mode_t mode)
{
	int fd;

	strcpy(name, "/tmp/rappel-test-XXXXXX");
	fd = mkstemp(name);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (int)strlen(text));
	ck_assert_int_eq(fchmod(fd, mode), 0);
	close(fd);
}

/* ---- durations ---- */

static const struct {
	const char *name;
	const char *text;
	int rc;
	uint64_t us;
} durations[] = {
	{ "bare", "30", 0, 30000000 },
	{ "zero", "0", 0, 0 },
	{ "us", "5us", 0, 5 },
	{ "ms", "250ms", 0, 250000 },
	{ "s", "30s", 0, 30000000 },
	{ "min", "5min", 0, 300000000 },
	{ "h", "2h", 0, UINT64_C(7200000000) },
	{ "d", "1d", 0, UINT64_C(86400000000) },
	{ "with a blank", "30 s", 0, 30000000 },
	{ "half a second", "0.5", 0, 500000 },
	{ "one and a half hours", "1.5h", 0, UINT64_C(5400000000) },
	{ "empty", "", -EINVAL, 0 },
	{ "unit alone", "s", -EINVAL, 0 },
	{ "m is not clear", "5m", -EINVAL, 0 },
	{ "negative", "-1s", -EINVAL, 0 },
	{ "other unit", "5 weeks", -EINVAL, 0 },
	{ "large letters", "5S", -EINVAL, 0 },
	{ "dot alone", "5.", -EINVAL, 0 },
	{ "half a microsecond", "0.5us", -EINVAL, 0 },
	{ "hexadecimal", "0x10", -EINVAL, 0 },
	{ "blank before", " 5s", -EINVAL, 0 },
	{ "over 100 years", "40000d", -ERANGE, 0 },
	{ "beyond 64 bits", "99999999999999999999", -ERANGE, 0 },
	{ "beyond 64 bits with the unit", "99999999999999999d", -ERANGE, 0 },
};

START_TEST(duration)
{
	uint64_t us = 0;

	CASE(&durations[_i],
	     config_duration(durations[_i].text, &us) == durations[_i].rc);
	CASE(&durations[_i], us == durations[_i].us);
}
END_TEST

/* ---- files ---- */

static const struct {
	const char *name;
	const char *text;
	const char *message; /* behind "FILE"; NULL: accepted */
} files[] = {
	{ "empty", "", NULL },
	{ "comments and blanks", "# one\n\n   # two\n\t\n", NULL },
	{ "no newline at the end", "[pool]\nworkers = 2", NULL },
	{ "carriage returns", "[pool]\r\nworkers = 2\r\n", NULL },
	{ "comment behind a value", "[pool]\nworkers = 2 # two\n", NULL },
	{ "comment behind a section", "[pool] # ours\nworkers=2\n", NULL },
	{ "section twice", "[pool]\nworkers=2\n[log]\n[pool]\ndir=/x\n", NULL },
	{ "size", "[pool]\nvalue_bytes_max = 64kB\n", NULL },
	{ "lease and heartbeat", "[flusher]\nlease = 8s\nheartbeat = 2s\n",
	  NULL },
	{ "key without a section", "workers = 2\n",
	  ":1: \"workers\" belongs into section [pool]" },
	{ "key in another section", "[log]\nworkers = 2\n",
	  ":2: \"workers\" belongs into section [pool]" },
	{ "unknown key", "[pool]\n\nworker = 2\n",
	  ":3: unknown key \"worker\"; did you mean \"workers\"?" },
	{ "a key like no other", "[pool]\nelephants = 2\n",
	  ":2: unknown key \"elephants\"" },
	{ "unknown section", "[pools]\n", ":1: unknown section [pools]" },
	{ "section not closed", "[pool\n", ":1: a section is written [name]" },
	{ "text behind a section", "[pool] x\n",
	  ":1: nothing may follow [pool]" },
	{ "no equals sign", "[pool]\nworkers 2\n",
	  ":2: expected \"key = value\"" },
	{ "twice", "[pool]\nworkers=2\nworkers=3\n",
	  ":3: \"workers\" is already set in line 2" },
	{ "zero workers", "[pool]\nworkers = 0\n",
	  ":2: workers must be at least 1 where there is no [group NAME]" },
	{ "too many workers", "[pool]\nworkers = 1025\n",
	  ":2: workers must be" },
	{ "half a worker", "[pool]\nworkers = 1.5\n", ":2: workers must be" },
	{ "no number", "[pool]\nworkers = many\n",
	  ":2: workers must be a whole number from 0 to 1024, not \"many\"" },
	{ "empty value", "[pool]\ndir =\n", ":2: dir is empty" },
	{ "relative directory", "[pool]\ndir = run\n",
	  ":2: dir must begin with" },
	{ "duration out of range", "[flusher]\nlease = 1ms\n",
	  ":2: lease must be a duration from 1s to 1h, not \"1ms\"" },
	{ "size out of range", "[pool]\nvalue_bytes_max = 1GB\n",
	  ":2: value_bytes_max must be a size from 1kB to 8MB" },
	{ "unknown level", "[log]\nlog_level = loud\n",
	  ":2: log_level must be error, warning, info or debug" },
	{ "heartbeat too slow", "[flusher]\nheartbeat = 3s\n",
	  ":2: heartbeat must be at most a quarter of lease, which is 10s" },
	{ "deadline beyond the lease", "[flusher]\ndb_deadline = 11s\n",
	  ":2: db_deadline must be at most lease" },
	{ "batch smaller than a value", "[flusher]\nbatch_bytes_max = 64kB\n",
	  ":2: batch_bytes_max must be at least value_bytes_max" },
	{ "quote not closed", "[database]\nurl = \"dbname=x\n",
	  ":2: the quotes of \"url\" do not match" },
	{ "text behind the quote", "[database]\nurl = \"dbname=x\" y\n",
	  ":2: the quotes of \"url\" do not match" },
	{ "password for everybody", "[database]\nurl = password=x dbname=y\n",
	  ":2: there is a password in a file that everybody can read" },
};

START_TEST(file)
{
	char name[64];
	struct config_flags flags = { .file = name };
	struct error err = { .line = 0 };
	struct config c;
	int rc;

	clean_environment();
	write_file(name, files[_i].text, 0644);
	rc = config_load(&flags, &c, &err);
	unlink(name);
	if (files[_i].message == NULL) {
		ck_assert_msg(rc == 0, "%s: %s", files[_i].name, err.message);
		config_fini(&c);
		return;
	}
	CASE(&files[_i], rc == -EINVAL);
	ck_assert_msg(strncmp(err.message, name, strlen(name)) == 0 &&
			  strncmp(err.message + strlen(name), files[_i].message,
				  strlen(files[_i].message)) == 0,
		      "%s: %s", files[_i].name, err.message);
}
END_TEST

START_TEST(file_values)
{
	static const char text[] =
	    "[database]\n"
	    "url = \"host=/run dbname=a # b\" # comment\n"
	    "[pool]\n"
	    "dir=/srv/pool#1\n"
	    "pool_name = 'x \"y\"'\n"
	    "workers = 12\n"
	    "shutdown_grace = 1min\n"
	    "instances_max = 10\n"
	    "window_max = 7\n"
	    "value_bytes_max = 2MB\n"
	    "[flusher]\n"
	    "batch_actions_max = 100\n"
	    "batch_bytes_max = 8MB\n"
	    "heartbeat = 500ms\n"
	    "lease = 4s\n"
	    "cancel_grace = 2.5s\n"
	    "db_deadline = 3\n"
	    "[log]\n"
	    "log_level = debug\n";
	char name[64];
	struct config_flags flags = { .file = name };
	struct error err;
	struct config c;

	clean_environment();
	write_file(name, text, 0644);
	ck_assert_msg(config_load(&flags, &c, &err) == 0, "%s", err.message);
	unlink(name);
	ck_assert_str_eq(c.database, "host=/run dbname=a # b");
	ck_assert_str_eq(c.dir, "/srv/pool#1");
	ck_assert_str_eq(c.pool_name, "x \"y\"");
	ck_assert_uint_eq(c.workers, 12);
	ck_assert_uint_eq(c.shutdown_grace_us, 60000000);
	ck_assert_uint_eq(c.instances_max, 10);
	ck_assert_uint_eq(c.window_max, 7);
	ck_assert_uint_eq(c.value_bytes_max, 2 << 20);
	ck_assert_uint_eq(c.batch_actions_max, 100);
	ck_assert_uint_eq(c.batch_bytes_max, 8 << 20);
	ck_assert_uint_eq(c.heartbeat_us, 500000);
	ck_assert_uint_eq(c.lease_us, 4000000);
	ck_assert_uint_eq(c.cancel_grace_us, 2500000);
	ck_assert_uint_eq(c.db_deadline_us, 3000000);
	ck_assert_int_eq(c.log_level, LOG_LEVEL_DEBUG);
	config_fini(&c);
	config_fini(&c);
}
END_TEST

START_TEST(presets)
{
	struct config_flags flags = { .file = NULL };
	struct config c;

	clean_environment();
	ck_assert_int_eq(config_load(&flags, &c, NULL), 0);
	ck_assert_ptr_null(c.database);
	ck_assert_int_eq(c.dir[0], '/');
	ck_assert_uint_gt(strlen(c.pool_name), 0);
	ck_assert_uint_eq(c.workers, 4);
	ck_assert_uint_eq(c.shutdown_grace_us, 30000000);
	ck_assert_uint_eq(c.instances_max, 2000);
	ck_assert_uint_eq(c.batch_actions_max, 2000);
	ck_assert_uint_eq(c.batch_bytes_max, 4 << 20);
	ck_assert_uint_eq(c.window_max, 128);
	ck_assert_uint_eq(c.heartbeat_us, 2000000);
	ck_assert_uint_eq(c.lease_us, 10000000);
	ck_assert_uint_eq(c.cancel_grace_us, 1000000);
	ck_assert_uint_eq(c.db_deadline_us, 5000000);
	ck_assert_uint_eq(c.value_bytes_max, 1 << 20);
	ck_assert_int_eq(c.log_level, LOG_LEVEL_INFO);
	config_fini(&c);
}
END_TEST

START_TEST(precedence)
{
	char name[64];
	struct config_flags flags = { .file = NULL };
	struct error err;
	struct config c;

	clean_environment();
	write_file(name, "[pool]\nworkers=2\ndir=/file\npool_name=file\n",
		   0600);
	setenv("RAPPEL_CONFIG", name, 1);
	setenv("RAPPEL_DIR", "/environment", 1);
	setenv("RAPPEL_WORKERS", "3", 1);
	setenv("RAPPEL_LOG_LEVEL", "", 1); /* counts as not set */
	setenv("RAPPEL_DATABASE_URL", "postgresql://u:pw@h/db", 1);
	flags.workers = "5";
	ck_assert_msg(config_load(&flags, &c, &err) == 0, "%s", err.message);
	ck_assert_uint_eq(c.workers, 5);
	ck_assert_str_eq(c.dir, "/environment");
	ck_assert_str_eq(c.pool_name, "file");
	ck_assert_str_eq(c.database, "postgresql://u:pw@h/db");
	config_fini(&c);

	flags.workers = "none";
	ck_assert_int_eq(config_load(&flags, &c, &err), -EINVAL);
	ck_assert_int_eq(strncmp(err.message, "--workers: ", 11), 0);
	flags.workers = NULL;
	setenv("RAPPEL_WORKERS", "none", 1);
	ck_assert_int_eq(config_load(&flags, &c, &err), -EINVAL);
	ck_assert_int_eq(strncmp(err.message, "RAPPEL_WORKERS: ", 16), 0);
	unlink(name);
	ck_assert_int_eq(config_load(&flags, &c, &err), -ENOENT);
	ck_assert_ptr_nonnull(strstr(err.message, name));
	flags.file = "/";
	ck_assert_int_eq(config_load(&flags, &c, &err), -EISDIR);
	flags.file = "/dev/null";
	ck_assert_int_eq(config_load(&flags, &c, &err), -EINVAL);
}
END_TEST

START_TEST(password_places)
{
	char name[64];
	struct config_flags flags = { .database = "host=x password=secret" };
	struct error err;
	struct config c;

	clean_environment();
	ck_assert_int_eq(config_load(&flags, &c, &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.message, "--database"));
	ck_assert_ptr_null(strstr(err.message, "secret"));
	flags.database = "postgres://me:secret@host/db";
	ck_assert_int_eq(config_load(&flags, &c, &err), -EINVAL);
	ck_assert_ptr_null(strstr(err.message, "secret"));
	flags.database = "postgres://me@host/db";
	ck_assert_int_eq(config_load(&flags, &c, &err), 0);
	config_fini(&c);

	flags = (struct config_flags){ .file = name };
	write_file(name, "[database]\nurl = host=x password=secret\n", 0640);
	ck_assert_int_eq(config_load(&flags, &c, &err), 0);
	config_fini(&c);
	ck_assert_int_eq(chmod(name, 0644), 0);
	ck_assert_int_eq(config_load(&flags, &c, &err), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.message, "chmod 640"));
	ck_assert_ptr_null(strstr(err.message, "secret"));
	unlink(name);
}
END_TEST

/* What is printed reads back as the same, and says where it came from. */
START_TEST(prints)
{
	char name[64];
	struct config_flags flags = { .file = NULL, .workers = "7" };
	struct error err;
	struct config c, again;
	char *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	clean_environment();
	setenv("RAPPEL_DATABASE_URL", "host=h password=secret dbname=d", 1);
	setenv("RAPPEL_POOL_NAME", " a # \"b ", 1);
	setenv("RAPPEL_SHUTDOWN_GRACE", "1500ms", 1);
	ck_assert_int_eq(config_load(&flags, &c, &err), 0);
	config_print(&c, to);
	fclose(to);
	ck_assert_ptr_null(strstr(text, "secret"));
	ck_assert_ptr_nonnull(strstr(
	    text, "url = host=h password=*** dbname=d # RAPPEL_DATABASE_URL"));
	ck_assert_ptr_nonnull(strstr(text, "workers = 7 # --workers\n"));
	ck_assert_ptr_nonnull(strstr(text, "lease = 10s # default\n"));
	ck_assert_ptr_nonnull(strstr(text, "batch_bytes_max = 4MB # default"));
	ck_assert_ptr_nonnull(strstr(text, "shutdown_grace = 1500ms #"));
	clean_environment();
	write_file(name, text, 0600);
	flags = (struct config_flags){ .file = name };
	ck_assert_msg(config_load(&flags, &again, &err) == 0, "%s",
		      err.message);
	ck_assert_str_eq(again.pool_name, " a # \"b ");
	ck_assert_uint_eq(again.workers, 7);
	ck_assert_uint_eq(again.shutdown_grace_us, c.shutdown_grace_us);
	unlink(name);
	config_fini(&c);
	config_fini(&again);
	free(text);
}
END_TEST

START_TEST(dev_dir)
{
	char *dir;

	clean_environment();
	setenv("HOME", "/home/somebody", 1);
	dir = config_dev_dir();
	if (geteuid() == 0)
		ck_assert_str_eq(dir, "/var/lib/rappel-dev");
	else
		ck_assert_str_eq(dir, "/home/somebody/.local/state/rappel-dev");
	free(dir);
	setenv("XDG_STATE_HOME", "/state", 1);
	dir = config_dev_dir();
	if (geteuid() != 0)
		ck_assert_str_eq(dir, "/state/rappel-dev");
	free(dir);
}
END_TEST

/* ---- connection strings ---- */

static const struct {
	const char *name;
	const char *text;
	const char *masked; /* NULL: no secret, and the same */
} conninfos[] = {
	{ "empty", "", NULL },
	{ "pairs", "host=/run dbname=x", NULL },
	{ "password", "host=h password=x dbname=d",
	  "host=h password=*** dbname=d" },
	{ "at the end", "password=x", "password=***" },
	{ "blanks around", "password = x dbname=d", "password = *** dbname=d" },
	{ "quoted", "password='a b\\' c' dbname=d", "password=*** dbname=d" },
	{ "quote not closed", "password='a b", "password=***" },
	{ "quote in the middle", "password='a'b'c dbname=d",
	  "password=*** dbname=d" },
	{ "key behind a quote", "dbname='d'password=x",
	  "dbname='d'password=***" },
	{ "escaped blank", "password=a\\ b dbname=d", "password=*** dbname=d" },
	{ "empty password", "password= dbname=d", "password= ***" },
	{ "nothing behind it", "password=", NULL },
	{ "sslpassword", "sslpassword=x", "sslpassword=***" },
	{ "large letters", "PASSWORD=x", "PASSWORD=***" },
	{ "in another value", "dbname='password=x'", NULL },
	{ "passfile", "passfile=/x", NULL },
	{ "two", "password=a password=b", "password=*** password=***" },
	{ "no pairs", "just text", NULL },
	{ "equals alone", "=x = y", NULL },
	{ "URI", "postgresql://u@h/d", NULL },
	{ "URI with a port", "postgresql://h:5432/d", NULL },
	{ "URI with user and port", "postgresql://u@h:5432/d", NULL },
	{ "URI password", "postgresql://u:pw@h:5432/d",
	  "postgresql://u:***@h:5432/d" },
	{ "short scheme", "postgres://u:pw@h/d", "postgres://u:***@h/d" },
	{ "no user", "postgres://:pw@h/d", "postgres://:***@h/d" },
	{ "empty URI password", "postgres://u:@h/d", NULL },
	{ "at sign in it", "postgres://u:p@w@h/d", "postgres://u:***@h/d" },
	{ "slash in it", "postgres://u:p/w@h/d", "postgres://u:***@h/d" },
	{ "in the query", "postgres://h/d?sslmode=x&password=pw&a=b",
	  "postgres://h/d?sslmode=x&password=***&a=b" },
	{ "both", "postgres://u:p@h/d?password=pw",
	  "postgres://u:***@h/d?password=***" },
	{ "at sign and colon in the query",
	  "postgres://h/d?password=a:b@c&sslpassword=y",
	  "postgres://h/d:***@***" },
	{ "at sign in the query, with a port",
	  "postgres://h:5/d?password=a@b&sslpassword=y",
	  "postgres://h:***@***" },
	{ "at sign in the query alone",
	  "postgres://h/d?password=a@b&sslpassword=y",
	  "postgres://h/d?password=***&sslpassword=***" },
	{ "question mark in it", "postgres://u:p?w@h/d?password=x",
	  "postgres://u:***@***" },
	{ "question mark in the user's name",
	  "postgres://u?v@h/d?password=x", "postgres://u:***@***" },
	{ "two question marks before an at sign",
	  "postgres://?p@8?password=l@w", "postgres://:***@***" },
	{ "a query in what libpq takes for the host",
	  "postgres://u@[:b?password=x&a=b]:3/u?password=y?z&a=b",
	  "postgres://u@[:b?password=***&a=b]:3/u?password=***&a=b" },
	{ "its name in percents", "postgres://h/d?pass%77ord=x",
	  "postgres://h/d?pass%77ord=***" },
	{ "query without host", "postgresql://?host=/run&dbname=x", NULL },
	{ "empty in the query", "postgres://h/d?password=&a=b", NULL },
	{ "scheme alone", "postgresql://", NULL },
};

START_TEST(conninfo)
{
	struct buf out = BUF_EMPTY;
	const char *masked = conninfos[_i].masked;

	conninfo_mask(conninfos[_i].text, &out);
	ck_assert_str_eq(buf_text(&out),
			 masked != NULL ? masked : conninfos[_i].text);
	CASE(&conninfos[_i],
	     conninfo_has_password(conninfos[_i].text) == (masked != NULL));
	buf_fini(&out);
}
END_TEST

/* ---- what can change while the daemon runs ---- */

static void
note_cb(void *arg, const char *key, bool taken)
{
	char *text = arg;

	sprintf(text + strlen(text), "%s%s ", taken ? "+" : "-", key);
}

START_TEST(take_live)
{
	static const char one[] = "[database]\nurl = dbname=a\n"
				  "[pool]\nworkers = 3\n";
	static const char two[] = "[database]\nurl = dbname=b\n"
				  "[pool]\nworkers = 5\npool_name = x\n"
				  "[worker]\nworker_recycle_age = 1h\n"
				  "worker_recycle_actions = 7\n"
				  "[log]\nlog_level = debug\n";
	struct config_flags flags = { 0 };
	struct config a, b;
	struct error err;
	char name[64], differs[400] = "";

	clean_environment();
	flags.file = name;
	write_file(name, one, 0600);
	ck_assert_int_eq(config_load(&flags, &a, &err), 0);
	unlink(name);
	write_file(name, two, 0600);
	ck_assert_int_eq(config_load(&flags, &b, &err), 0);
	unlink(name);
	config_take_live(&a, &b, note_cb, differs);
	ck_assert_str_eq(differs, "-url -pool_name +workers "
				  "+worker_recycle_actions "
				  "+worker_recycle_age +log_level ");
	ck_assert_uint_eq(a.workers, 5);
	ck_assert_uint_eq(a.worker_recycle_actions, 7);
	ck_assert_uint_eq(a.worker_recycle_age_us, UINT64_C(3600000000));
	ck_assert_int_eq(a.log_level, LOG_LEVEL_DEBUG);
	ck_assert_str_eq(a.database, "dbname=a");
	/* Once taken they do not differ any more. */
	differs[0] = '\0';
	config_take_live(&a, &b, note_cb, differs);
	ck_assert_str_eq(differs, "-url -pool_name ");
	config_fini(&a);
	config_fini(&b);
}
END_TEST

START_TEST(world_writable)
{
	struct config_flags flags = { 0 };
	struct config c;
	struct error err;
	char name[64];

	clean_environment();
	flags.file = name;
	write_file(name, "[pool]\nworkers = 3\n", 0602);
	ck_assert_int_eq(config_load(&flags, &c, &err), -EPERM);
	ck_assert_ptr_nonnull(strstr(err.message, "everybody may write"));
	unlink(name);
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ duration, COUNT(durations) },
		{ file, COUNT(files) },
		{ file_values, 0 },
		{ presets, 0 },
		{ precedence, 0 },
		{ password_places, 0 },
		{ prints, 0 },
		{ take_live, 0 },
		{ world_writable, 0 },
		{ dev_dir, 0 },
		{ conninfo, COUNT(conninfos) },
	};

	return unit_run("config", tests, COUNT(tests));
}
