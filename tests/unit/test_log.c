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
	{ "keys are words", "late instance=a attempt=2",
	  "msg=\"late instance=a attempt=2\"\n" },
	{ "a remedy with a key", "must be words like nofile=1024 as=2GB",
	  "msg=\"must be words like nofile=1024 as=2GB\"\n" },
	{ "newline", "a\nb c\td", "msg=\"a\\nb c\\td\"\n" },
	{ "escape", "a\x1b[31m", "msg=\"a\\x1b[31m\"\n" },
	{ "quotes", "a \"b\" \\ k", "msg=\"a \\\"b\\\" \\\\ k\"\n" },
	{ "equals that is no key", "1 + 1 = 2, A=b",
	  "msg=\"1 + 1 = 2, A=b\"\n" },
	{ "UTF-8", "caf\xc3\xa9", "msg=\"caf\xc3\xa9\"\n" },
	{ "empty", "", "msg=\"\"\n" },
	{ "C1", "a\xc2\x9b" "31m", "msg=\"a\\xc2\\x9b31m\"\n" },
	{ "no UTF-8", "a\x9b \xff", "msg=\"a\\x9b \\xff\"\n" },
	{ "turned around", "k\xe2\x80\xae" "a",
	  "msg=\"k\\xe2\\x80\\xaea\"\n" },
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

/* The format has the keys; what is in an argument stays where it is. */
START_TEST(arguments)
{
	const char *evil = "a b=\"c\" d=1";

	unsetenv("JOURNAL_STREAM");
	stderr_to(false);
	log_init("x", LOG_LEVEL_INFO);
	log_info("late: %s slot=%d", "limits like nofile=1", 3);
	ck_assert_str_eq(logged(),
	                 "msg=\"late: limits like nofile=1\" slot=3\n");
	log_info("ended how=\"%s\" slot=%d", evil, 3);
	ck_assert_str_eq(
	    logged(),
	    "msg=\"ended\" how=\"a b=\\\"c\\\" d=1\" slot=3\n");
	log_info("made dir=%s file=%s count=%u", evil, "plain", 7U);
	ck_assert_str_eq(logged(), "msg=\"made\" dir=\"a b=\\\"c\\\" d=1\" "
	                           "file=plain count=7\n");
	log_info("first=%.3s last=%-4s", "abcd", "e");
	ck_assert_str_eq(logged(), "msg=\"\" first=abc last=\"e   \"\n");
	log_info("ended how=\"%s\", again in_ms=%u", "k=\t", 5U);
	ck_assert_str_eq(logged(),
	                 "msg=\"ended\" how=\"k=\\t\", again in_ms=5\n");
}
END_TEST

static void __attribute__((format(printf, 2, 3)))
write_with(const char *more, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_write(LOG_LEVEL_INFO, more, format, args);
	va_end(args);
}

START_TEST(keys_behind)
{
	char text[4000];

	unsetenv("JOURNAL_STREAM");
	stderr_to(false);
	log_init("x", LOG_LEVEL_INFO);
	write_with(" task=7", "copied files=%d", 3);
	ck_assert_str_eq(logged(), "msg=\"copied\" files=3 task=7\n");
	memset(text, 'x', sizeof(text));
	text[sizeof(text) - 1] = '\0';
	write_with(" task=7", "%s", text);
	ck_assert_ptr_nonnull(strstr(logged(), "xxx\" task=7\n"));
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

/* Everything that waits behind stderr. */
static size_t
read_all(char *text, size_t size)
{
	size_t len = 0;
	ssize_t n;

	while ((n = read(reader, text + len, size - 1 - len)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	return len;
}

static size_t
count_of(const char *text, const char *what)
{
	size_t count = 0;

	for (; (text = strstr(text, what)) != NULL; text++)
		count++;
	return count;
}

START_TEST(keeps_what_nobody_reads)
{
	static char text[1 << 20];
	char words[1500];
	uint64_t before = log_dropped(), kept = 0;

	unsetenv("JOURNAL_STREAM");
	stderr_to(_i == 1);
	log_init("x", LOG_LEVEL_INFO);
	log_keep(100000);
	memset(words, 'w', sizeof(words));
	words[sizeof(words) - 1] = '\0';
	for (int i = 0; i < 1000; i++) {
		log_info("%s", words);
		kept += log_dropped() == before;
	}
	/* The pipe or socket was full, then what is kept; no more. */
	ck_assert(log_flush());
	ck_assert_uint_gt(log_dropped(), before);
	ck_assert_uint_gt(kept, 100000 / 1600);
	text[0] = '\0';
	for (size_t len = 0; log_flush() || len == 0;)
		len += read_all(text + len, sizeof(text) - len);
	read_all(text + strlen(text), sizeof(text) - strlen(text));
	ck_assert_uint_eq(count_of(text, "\n"), kept);
	ck_assert_uint_eq(count_of(text, "wwww\"") , kept);
	ck_assert_uint_eq(count_of(text, "ts="), kept);
	/* And how many were not is told with the next. */
	log_info("next");
	read_all(text, sizeof(text));
	ck_assert_uint_eq(count_of(text, "log lines dropped"), 1);
	ck_assert_uint_eq(count_of(text, "\n"), 2);
	ck_assert(!log_flush());
	log_keep(0);
}
END_TEST

#define OWN "ts=2026-01-02T03:04:05.678Z level=warning comp=worker/3 msg=\"a\" k=1"

static const struct {
	const char *name;
	const char *text;
	const char *line; /* from where its beginning does not change */
} foreigners[] = {
	{ "words", "hello", "level=info comp=worker/3 msg=\"hello\" slot=3\n" },
	{ "keys are words", "a=1 b",
	  "level=info comp=worker/3 msg=\"a=1 b\" slot=3\n" },
	{ "quotes and controls", "a\"b\\\x1b[1m\r",
	  "level=info comp=worker/3 msg=\"a\\\"b\\\\\\x1b[1m\\x0d\" slot=3\n" },
	{ "UTF-8", "caf\xc3\xa9",
	  "level=info comp=worker/3 msg=\"caf\xc3\xa9\" slot=3\n" },
	{ "no UTF-8", "\xff\xfe",
	  "level=info comp=worker/3 msg=\"\\xff\\xfe\" slot=3\n" },
	{ "its own line", OWN, "level=warning comp=worker/3 msg=\"a\" k=1 slot=3\n" },
	{ "its own line with a key of these", OWN " slot=2",
	  "level=warning comp=worker/3 msg=\"a\" k=1 slot=2\n" },
	{ "its own line with such a word", OWN " of=\" slot=2\"",
	  "level=warning comp=worker/3 msg=\"a\" k=1 of=\" slot=2\" slot=3\n" },
	{ "another's line",
	  "ts=2026-01-02T03:04:05.678Z level=info comp=supervisor msg=\"a\"",
	  "msg=\\\"a\\\"\" slot=3\n" },
	{ "a line of worker 33",
	  "ts=2026-01-02T03:04:05.678Z level=info comp=worker/33 msg=\"a\"",
	  "msg=\\\"a\\\"\" slot=3\n" },
};

START_TEST(foreign)
{
	char text[1000];
	size_t len, tail = strlen(foreigners[_i].line);

	unsetenv("JOURNAL_STREAM");
	stderr_to(false);
	/* A level of ours does not concern it. */
	log_init("x", LOG_LEVEL_ERROR);
	len = log_foreign("worker/3", foreigners[_i].text,
			  strlen(foreigners[_i].text), " slot=3");
	ck_assert_uint_eq(read_all(text, sizeof(text)), len);
	ck_assert_uint_ge(len, tail);
	ck_assert_int_eq(strncmp(text, "ts=2", 4), 0);
	ck_assert_uint_eq(count_of(text, "\n"), 1);
	if (strncmp(foreigners[_i].line, "msg=", 4) == 0)
		/* The whole of it is words: one true comp, in front. */
		ck_assert_ptr_nonnull(strstr(text, "level=info comp=worker/3 "
						   "msg=\"ts="));
	ck_assert_str_eq(text + len - tail, foreigners[_i].line);
}
END_TEST

START_TEST(foreign_is_cut)
{
	static char text[20000], long_line[12000];
	size_t len;

	unsetenv("JOURNAL_STREAM");
	stderr_to(false);
	log_init("x", LOG_LEVEL_INFO);
	memset(long_line, '"', sizeof(long_line));
	len = log_foreign("w", long_line, sizeof(long_line), " slot=1");
	ck_assert_uint_eq(read_all(text, sizeof(text)), len);
	ck_assert_uint_le(len, LOG_FOREIGN_BYTES + 16);
	ck_assert_uint_ge(len, LOG_FOREIGN_BYTES);
	ck_assert_str_eq(text + len - 9, "\" slot=1\n");
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ line, 0 }, { priorities, 0 },   { levels, 0 },
		{ arguments, 0 }, { keys_behind, 0 },
		{ cut, 0 },  { nobody_reads, 2 }, { events, COUNT(cases) },
		{ keeps_what_nobody_reads, 2 },
		{ foreign, COUNT(foreigners) },
		{ foreign_is_cut, 0 },
	};

	return unit_run("log", tests, COUNT(tests));
}
