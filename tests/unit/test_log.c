/* Tests of common/log.h, by what arrives behind stderr. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/log.h"
#include "tests/unit/unit.h"

static int reader; /* the other end of stderr */

static void
stderr_to(bool socket)
{
	int fds[2];

	if (socket)
		ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	else
		ck_assert_int_eq(pipe(fds), 0);
	reader = fds[0];
	ck_assert_int_eq(dup2(fds[1], STDERR_FILENO), STDERR_FILENO);
	close(fds[1]);
	fcntl(reader, F_SETFL, O_NONBLOCK);
}

/* What was logged, from msg on. */
static char *
logged(void)
{
	static char text[8192];
	ssize_t n = read(reader, text, sizeof(text) - 1);
	char *at;

	if (n < 0)
		return NULL;
	text[n] = '\0';
	at = strstr(text, "msg=");
	return at != NULL ? at : text;
}

START_TEST(line)
{
	char text[200] = "";
	int year, month, day, hour, minute, second, ms, used = 0;

	unsetenv("JOURNAL_STREAM");
	stderr_to(false);
	log_init("worker/3", LOG_LEVEL_INFO);
	log_info("child ready slot=%d", 3);
	ck_assert_int_gt(read(reader, text, sizeof(text) - 1), 0);
	ck_assert_int_eq(sscanf(text, "ts=%4d-%2d-%2dT%2d:%2d:%2d.%3dZ %n",
				&year, &month, &day, &hour, &minute, &second,
				&ms, &used),
			 7);
	ck_assert_str_eq(
	    text + used,
	    "level=info comp=worker/3 msg=\"child ready\" slot=3\n");
}
END_TEST

START_TEST(priorities)
{
	char text[200] = "";

	setenv("JOURNAL_STREAM", "8:1", 1);
	stderr_to(true);
	log_init("flusher", LOG_LEVEL_DEBUG);
	log_error("a");
	ck_assert_int_gt(read(reader, text, sizeof(text) - 1), 0);
	ck_assert_int_eq(strncmp(text, "<3>ts=", 6), 0);
	log_debug("a");
	ck_assert_int_gt(read(reader, text, sizeof(text) - 1), 0);
	ck_assert_int_eq(strncmp(text, "<7>ts=", 6), 0);
}
END_TEST

static const struct {
	const char *name;
	const char *event;
	const char *line;
} cases[] = {
	{ "words alone", "ready", "msg=\"ready\"\n" },
	{ "keys", "late instance=a attempt=2",
	  "msg=\"late\" instance=a attempt=2\n" },
	{ "key first", "slot=3 gone", "msg=\"\" slot=3 gone\n" },
	{ "newline", "a\nb k=c\td", "msg=\"a\\nb\" k=c\\td\n" },
	{ "escape", "a\x1b[31m", "msg=\"a\\x1b[31m\"\n" },
	{ "quotes", "a \"b\" \\ k=\"c d\"",
	  "msg=\"a \\\"b\\\" \\\\\" k=\"c d\"\n" },
	{ "equals that is no key", "1 + 1 = 2, A=b",
	  "msg=\"1 + 1 = 2, A=b\"\n" },
	{ "UTF-8", "caf\xc3\xa9", "msg=\"caf\xc3\xa9\"\n" },
	{ "empty", "", "msg=\"\"\n" },
	{ "C1", "a\xc2\x9b" "31m", "msg=\"a\\xc2\\x9b31m\"\n" },
	{ "no UTF-8", "a\x9b k=\xff", "msg=\"a\\x9b\" k=\\xff\n" },
	{ "turned around", "k=\xe2\x80\xae" "a",
	  "msg=\"\" k=\\xe2\\x80\\xaea\n" },
	{ "line separator", "a\xe2\x80\xa8" "b",
	  "msg=\"a\\xe2\\x80\\xa8b\"\n" },
	{ "long ones", "\xe2\x82\xac \xf0\x9f\x98\x80",
	  "msg=\"\xe2\x82\xac \xf0\x9f\x98\x80\"\n" },
};

START_TEST(events)
{
	unsetenv("JOURNAL_STREAM");
	stderr_to(false);
	log_init("x", LOG_LEVEL_INFO);
	log_warning("%s", cases[_i].event);
	ck_assert_str_eq(logged(), cases[_i].line);
}
END_TEST

START_TEST(levels)
{
	enum log_level level;

	stderr_to(false);
	log_init("x", LOG_LEVEL_WARNING);
	ck_assert(log_wants(LOG_LEVEL_ERROR) && log_wants(LOG_LEVEL_WARNING));
	ck_assert(!log_wants(LOG_LEVEL_INFO));
	log_info("no");
	log_debug("no");
	ck_assert_ptr_null(logged());
	log_warning("yes");
	ck_assert_str_eq(logged(), "msg=\"yes\"\n");
	ck_assert_int_eq(log_level_parse("debug", &level), 0);
	ck_assert_int_eq(level, LOG_LEVEL_DEBUG);
	ck_assert_int_eq(log_level_parse("error", &level), 0);
	ck_assert_int_eq(level, LOG_LEVEL_ERROR);
	ck_assert_int_eq(log_level_parse("Debug", &level), -EINVAL);
	ck_assert_int_eq(log_level_parse("", &level), -EINVAL);
}
END_TEST

START_TEST(cut)
{
	char text[5000];

	memset(text, 'x', sizeof(text));
	text[4999] = '\0';
	stderr_to(false);
	log_init("x", LOG_LEVEL_INFO);
	log_info("%s", text);
	ck_assert_int_eq(read(reader, text, sizeof(text)), 2048);
	ck_assert_int_eq(text[2047], '\n');
}
END_TEST

/* A full pipe or socket holds nobody up. */
START_TEST(nobody_reads)
{
	uint64_t lost;
	char *text;
	char drain[8192];

	stderr_to(_i == 1);
	log_init("x", LOG_LEVEL_INFO);
	for (int i = 0; i < 20000; i++)
		log_info("a line that nobody reads number=%d", i);
	lost = log_dropped();
	ck_assert_uint_gt(lost, 0);
	while (read(reader, drain, sizeof(drain)) > 0)
		;
	errno = 5;
	log_info("back");
	ck_assert_int_eq(errno, 5);
	text = logged();
	ck_assert_int_eq(strncmp(text, "msg=\"log lines dropped\" count=", 30),
			 0);
	ck_assert_uint_eq(strtoull(text + 30, NULL, 10), lost);
	if (_i == 0)
		ck_assert_ptr_nonnull(strstr(text, "msg=\"back\"\n"));
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ line, 0 }, { priorities, 0 },   { levels, 0 },
		{ cut, 0 },  { nobody_reads, 2 }, { events, COUNT(cases) },
	};

	return unit_run("log", tests, COUNT(tests));
}
