/* Tests of common/config_group.h: sections [group NAME]. */
#include "common/config.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/mem.h"
#include "tests/unit/unit.h"

static int
load(const char *text, struct config *out, struct error *err, char *name)
{
	struct config_flags flags = { .file = name };
	int fd, rc;

	unsetenv("RAPPEL_CONFIG");
	unsetenv("RAPPEL_WORKERS");
	strcpy(name, "/tmp/rappel-test-XXXXXX");
	fd = mkstemp(name);
	ck_assert_int_ge(fd, 0);
	ck_assert_int_eq(write(fd, text, strlen(text)), (int)strlen(text));
	close(fd);
	rc = config_load(&flags, out, err);
	unlink(name);
	return rc;
}

/* ---- what is good and what is not ---- */

#define GROUP "[group a]\nprogram = x\n"

static const struct {
	const char *name;
	const char *text;
	const char *message; /* behind "FILE"; NULL: accepted */
} files[] = {
	{ "a group", GROUP, NULL },
	{ "none of the built-in one", "[pool]\nworkers = 0\n" GROUP, NULL },
	{ "blanks in the header", "[ group \t a ] # one\nprogram=x\n", NULL },
	{ "every kind of letter", "[group 0az9_-]\nprogram=x\n", NULL },
	{ "between other sections",
	  "[log]\nlog_level=info\n" GROUP "[pool]\nworkers=2\n", NULL },
	{ "as many words as it likes",
	  "[group a]\nprogram = /usr/bin/env -i 'a b' \"c\" # d\n", NULL },
	{ "limits of each kind",
	  GROUP "limits = as=1GB core=0 cpu=60s data=1GB fsize=1MB "
		"memlock=64kB nofile=64 nproc=64 stack=8MB\n",
	  NULL },
	{ "patterns", GROUP "actions = a,b.*,\"c, d\", *\n", NULL },
	{ "an empty value in the environment", GROUP "environment = A= B=b\n",
	  NULL },
	{ "none at all", "[pool]\nworkers = 0\n",
	  ":2: workers must be at least 1 where there is no [group NAME]" },
	{ "no name", "[group]\n", ":1: a group is written [group NAME]" },
	{ "an upper-case name", "[group Img]\n",
	  ":1: a group is written [group NAME] with 1 to 32 of a-z, 0-9, _ "
	  "and -, not \"Img\"" },
	{ "a name of two words", "[group a b]\n",
	  ":1: a group is written [group NAME]" },
	{ "a name that is too long",
	  "[group aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]\n",
	  ":1: a group is written [group NAME]" },
	{ "no such section", "[groups a]\n", ":1: unknown section [groups a]" },
	{ "the built-in one", "[group native]\n",
	  ":1: the group native is the built-in one" },
	{ "no program", "\n[group a]\nprocesses = 2\n",
	  ":2: [group a] has no program" },
	{ "unknown key", GROUP "process = 2\n",
	  ":3: unknown key \"process\" in [group a]; did you mean "
	  "\"processes\"? There are program, "
	  "processes, processes_max, concurrency, actions, environment, user, "
	  "directory, limits, recycle_actions, recycle_age, recycle_rss, hello "
	  "and output_rate" },
	{ "a key of elsewhere", GROUP "workers = 2\n",
	  ":3: unknown key \"workers\" in [group a]" },
	{ "a group's key elsewhere", "[pool]\nprogram = x\n",
	  ":2: unknown key \"program\"" },
	{ "no equals sign", GROUP "processes 2\n",
	  ":3: expected \"key = value\"" },
	{ "empty program", "[group a]\nprogram = # x\n",
	  ":2: program is empty" },
	{ "empty first word", "[group a]\nprogram = '' x\n",
	  ":2: program must begin with an absolute path or a name that is "
	  "found in PATH, not \"\"" },
	{ "relative path", "[group a]\nprogram = bin/x y\n",
	  ":2: program must begin with an absolute path or a name that is "
	  "found in PATH, not \"bin/x\"" },
	{ "quote not closed", "[group a]\nprogram = x 'y\n",
	  ":2: the quotes of \"program\" do not match" },
	{ "quote of a number", GROUP "processes = \"2\n",
	  ":3: the quotes of \"processes\" do not match" },
	{ "no processes", GROUP "processes = 0\n",
	  ":3: processes must be a whole number from 1 to 1024, not \"0\"" },
	{ "less room than processes", GROUP "processes=3\nprocesses_max=2\n",
	  ":4: processes_max = 2 is less than processes, which is 3" },
	{ "too much concurrency", GROUP "concurrency = 1025\n",
	  ":3: concurrency must be a whole number from 1 to 1024" },
	{ "no concurrency", GROUP "concurrency = 0\n",
	  ":3: concurrency must be a whole number from 1 to 1024" },
	{ "an empty pattern", GROUP "actions = a, ''\n",
	  ":3: actions must be names or patterns of 1 to 128 bytes between "
	  "commas, not \"\"" },
	{ "no pattern", GROUP "actions = ,\n", ":3: actions is empty" },
	{ "no variable", GROUP "environment = A=b C\n",
	  ":3: environment must be words like NAME=value, not \"C\"" },
	{ "a variable's name", GROUP "environment = 1A=secret\n",
	  ":3: environment must be words like NAME=value, not \"1A\"" },
	{ "a blank in its name", GROUP "environment = 'A B=c'\n",
	  ":3: environment must be words like NAME=value, not \"A B\"" },
	{ "a variable twice", GROUP "environment = A=b AB=c A=d\n",
	  ":3: environment: A is set twice" },
	{ "a variable of ours", GROUP "environment = RAPPEL_SLOT=1\n",
	  ":3: environment: RAPPEL_SLOT is set by rappeld itself" },
	{ "two users", GROUP "user = a b\n", ":3: user must be one word" },
	{ "relative directory", GROUP "directory = run\n",
	  ":3: directory must begin with \"/\", not \"run\"" },
	{ "unknown limit", GROUP "limits = rss=1GB\n",
	  ":3: limits must be words like nofile=1024 of as, core, cpu, data, "
	  "fsize, memlock, nofile, nproc and stack, not \"rss=1GB\"" },
	{ "a limit without a value", GROUP "limits = nofile\n",
	  ":3: limits must be words like nofile=1024" },
	{ "a limit twice", GROUP "limits = core=0 core=1\n",
	  ":3: limits: core is set twice" },
	{ "a limit that is no number", GROUP "limits = nofile=many\n",
	  ":3: limits: nofile must be a number from 16 up, not \"many\"" },
	{ "too few descriptors", GROUP "limits = nofile=5\n",
	  ":3: limits: nofile must be a number from 16 up, not \"5\"" },
	{ "half a second", GROUP "limits = cpu=500ms\n",
	  ":3: limits: cpu must be a duration from 1s up, not \"500ms\"" },
	{ "a size that is none", GROUP "limits = as=2G\n",
	  ":3: limits: as must be a size from 4MB up, not \"2G\"" },
	{ "hello out of range", GROUP "hello = 1h\n",
	  ":3: hello must be a duration from 100ms to 10min, not \"1h\"" },
	{ "not UTF-8", GROUP "user = \xff\n", ":3: user is not UTF-8" },
	{ "too many workers", GROUP "processes_max = 1000\n",
	  ":3: all groups together may have 1024 workers, and workers_max and "
	  "processes_max add up to 1064" },
};

START_TEST(file)
{
	char name[64];
	struct error err = { .line = 0 };
	struct config c;
	int rc = load(files[_i].text, &c, &err, name);

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

/* A message that names another line too. */
START_TEST(twice)
{
	char name[64], message[200];
	struct error err = { .line = 0 };
	struct config c;

	ck_assert_int_eq(load(GROUP "[group b]\nprogram=y\n" GROUP, &c, &err,
			      name),
			 -EINVAL);
	snprintf(message, sizeof(message),
		 "%s:5: [group a] is already there in %s:1", name, name);
	ck_assert_str_eq(err.message, message);
	ck_assert_int_eq(load(GROUP "program = y\n", &c, &err, name), -EINVAL);
	snprintf(message, sizeof(message),
		 "%s:3: \"program\" is already set in %s:2", name, name);
	ck_assert_str_eq(err.message, message);
}
END_TEST

static void
many(uint32_t count, struct buf *text)
{
	text->len = 0;
	for (uint32_t i = 0; i < count; i++)
		buf_printf(text, "[group g%u]\nprogram = x\n", i);
}

START_TEST(as_many_as_may_be)
{
	struct buf text = BUF_EMPTY;
	struct error err = { .line = 0 };
	struct config c;
	char name[64];

	many(32, &text);
	ck_assert_msg(load(buf_text(&text), &c, &err, name) == 0, "%s",
		      err.message);
	ck_assert_uint_eq(c.group_count, CONFIG_GROUPS_MAX);
	config_fini(&c);
	many(33, &text);
	ck_assert_int_eq(load(buf_text(&text), &c, &err, name), -EINVAL);
	ck_assert_ptr_nonnull(strstr(err.message, ":65: more than 32 groups"));
	buf_fini(&text);
}
END_TEST

/* ---- what it becomes ---- */

static const char whole[] =
    "[pool]\nworkers = 3\n"
    "[group a]\n"
    "program = /opt/x \"b c\" # comment\n"
    "processes = 2\n"
    "concurrency = 5\n"
    "actions = one, two.* # comment\n"
    "environment = \"A=b c\" API_KEY=hidden\n"
    "user = someone\n"
    "directory = '/a b'\n"
    "limits = nofile=64 cpu=1min\n"
    "recycle_actions = 7\n"
    "hello = 20s\n"
    "[worker]\nworker_recycle_age = 1h\nworker_hello = 9s\n"
    "worker_output_rate = 1MB\n"
    "[group b]\nprogram = rappel-worker\nprocesses = 12\n";

static void
check_whole(const struct config *c, const char *key)
{
	const struct config_group *native = &c->groups[0], *a = &c->groups[1],
				  *b = &c->groups[2];

	ck_assert_uint_eq(c->group_count, 3);
	ck_assert(config_group_is_native(native));
	ck_assert_str_eq(native->program.items[0], GROUP_OWN_PROGRAM);
	ck_assert_uint_eq(native->processes, 3);
	ck_assert_uint_eq(native->processes_max, 64);
	ck_assert_uint_eq(native->hello_us, 9000000);

	ck_assert(!config_group_is_native(a));
	ck_assert_str_eq(a->name, "a");
	ck_assert_uint_eq(a->program.count, 2);
	ck_assert_str_eq(a->program.items[1], "b c");
	ck_assert_uint_eq(a->processes, 2);
	ck_assert_uint_eq(a->processes_max, 8);
	ck_assert_uint_eq(a->concurrency, 5);
	ck_assert_uint_eq(a->actions.count, 2);
	ck_assert_str_eq(a->actions.items[1], "two.*");
	ck_assert_uint_eq(a->environment.count, 2);
	ck_assert_str_eq(a->environment.items[0], "A=b c");
	ck_assert_str_eq(a->environment.items[1], key);
	ck_assert_str_eq(a->user, "someone");
	ck_assert_str_eq(a->directory, "/a b");
	ck_assert_uint_eq(a->limits[LIMIT_NOFILE], 64);
	ck_assert_uint_eq(a->limits[LIMIT_CPU], 60000000);
	ck_assert_uint_eq(a->limits[LIMIT_AS], LIMIT_NONE);
	ck_assert_uint_eq(a->recycle_actions, 7);
	ck_assert_uint_eq(a->recycle_age_us, UINT64_C(3600000000));
	ck_assert_uint_eq(a->hello_us, 20000000);
	ck_assert_uint_eq(a->output_rate, 1 << 20);

	ck_assert_uint_eq(b->processes, 12);
	ck_assert_uint_eq(b->processes_max, 12);
	ck_assert_uint_eq(b->concurrency, 0);
	ck_assert_uint_eq(b->actions.count, 0);
	ck_assert_ptr_null(b->user);
	ck_assert_uint_eq(b->hello_us, 9000000);
}

/* What is printed reads back as the same, but for what is secret. */
START_TEST(prints)
{
	struct error err = { .line = 0 };
	struct config c;
	char name[64], *text = NULL;
	size_t size;
	FILE *to = open_memstream(&text, &size);

	ck_assert_msg(load(whole, &c, &err, name) == 0, "%s", err.message);
	check_whole(&c, "API_KEY=hidden");
	config_print(&c, to);
	fclose(to);
	ck_assert_ptr_null(strstr(text, "hidden"));
	ck_assert_ptr_nonnull(strstr(text, "hello = 9s # worker_hello\n"));
	ck_assert_ptr_nonnull(strstr(text, "\n# user is not set\n"));
	config_fini(&c);
	ck_assert_msg(load(text, &c, &err, name) == 0, "%s", err.message);
	check_whole(&c, "API_KEY=***");
	config_fini(&c);
	free(text);
}
END_TEST

static void
note_cb(void *arg, const char *key, bool taken)
{
	char *text = arg;

	sprintf(text + strlen(text), "%s%s ", taken ? "+" : "-", key);
}

START_TEST(take_live)
{
	static const char two[] =
	    "[pool]\nworkers = 4\n"
	    "[group b]\nprogram = rappel-worker\nprocesses = 12\n"
	    "processes_max = 20\n"
	    "[group new]\nprogram = x\n"
	    "[group a]\nprogram = /opt/y\nprocesses = 3\nactions = one\n"
	    "limits = core=0\nuser = other\n"
	    "[worker]\nworker_hello = 8s\n";
	struct error err = { .line = 0 };
	char name[64], differs[600] = "";
	struct config c, other;

	ck_assert_int_eq(load(whole, &c, &err, name), 0);
	ck_assert_msg(load(two, &other, &err, name) == 0, "%s", err.message);
	config_take_live(&c, &other, note_cb, differs);
	ck_assert_str_eq(
	    differs,
	    "+workers +worker_hello +worker_recycle_age +worker_output_rate "
	    "+group.a.program +group.a.processes +group.a.concurrency "
	    "-group.a.actions +group.a.environment -group.a.user "
	    "+group.a.directory +group.a.limits +group.a.recycle_actions "
	    "+group.a.hello -group.b.processes_max -group.new ");
	ck_assert_uint_eq(c.groups[0].processes, 4);
	ck_assert_uint_eq(c.groups[0].hello_us, 8000000);
	ck_assert_str_eq(c.groups[1].program.items[0], "/opt/y");
	ck_assert_uint_eq(c.groups[1].processes, 3);
	ck_assert_uint_eq(c.groups[1].processes_max, 8);
	ck_assert_uint_eq(c.groups[1].actions.count, 2);
	ck_assert_uint_eq(c.groups[1].environment.count, 0);
	ck_assert_str_eq(c.groups[1].user, "someone");
	ck_assert_uint_eq(c.groups[1].limits[LIMIT_NOFILE], LIMIT_NONE);
	ck_assert_uint_eq(c.groups[1].limits[LIMIT_CORE], 0);
	ck_assert_uint_eq(c.groups[1].recycle_actions, 0);
	/* Both follow worker_hello now. */
	ck_assert_uint_eq(c.groups[1].hello_us, 8000000);
	ck_assert_uint_eq(c.groups[2].hello_us, 8000000);
	ck_assert_uint_eq(c.groups[2].processes_max, 12);
	differs[0] = '\0';
	config_take_live(&c, &other, note_cb, differs);
	ck_assert_str_eq(differs, "-group.a.actions -group.a.user "
				  "-group.b.processes_max -group.new ");
	/* One that is gone. */
	differs[0] = '\0';
	config_take_live(&other, &c, note_cb, differs);
	ck_assert_ptr_nonnull(strstr(differs, "-group.new "));
	config_fini(&c);
	config_fini(&other);
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ file, COUNT(files) }, { twice, 0 },	  { as_many_as_may_be, 0 },
		{ prints, 0 },		{ take_live, 0 },
	};

	return unit_run("config_group", tests, COUNT(tests));
}
