/*
 * ctl - messages, option values, files: the small things all commands need.
 */
#include "ctl/ctl.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/config.h"
#include "common/conninfo.h"
#include "common/mem.h"
#include "common/utf8.h"

volatile sig_atomic_t interrupted;

/* The options that a command in an advice must have, too. */
static struct buf found_by = BUF_EMPTY;

static void vsay(const char *prefix, const char *format, va_list list)
    __attribute__((format(printf, 2, 0)));

/*
 * What is said may quote what somebody stored: what a terminal would obey
 * becomes '?'.
 */
static void
vsay(const char *prefix, const char *format, va_list list)
{
	char *text;
	int len = vasprintf(&text, format, list);

	if (len < 0)
		mem_exhausted();
	utf8_tame(text, '?');
	/* Data that was printed before stands before it on a terminal. */
	fflush(stdout);
	fprintf(stderr, "%s%s\n", prefix, text);
	free(text);
}

static void say(const char *prefix, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void
say(const char *prefix, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsay(prefix, format, list);
	va_end(list);
}

/* As a shell reads it back. */
static void
shell_quote(const char *word, struct buf *out)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyz"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				    "0123456789_@%+=:,./-";

	if (*word != '\0' && word[strspn(word, plain)] == '\0') {
		buf_add_text(out, word);
		return;
	}
	buf_add_byte(out, '\'');
	for (; *word != '\0'; word++) {
		if (*word == '\'')
			buf_add_text(out, "'\\''");
		else
			buf_add_byte(out, (uint8_t)*word);
	}
	buf_add_byte(out, '\'');
}

void
advise_options(const struct args *a)
{
	static const enum option which[] = { OPTION_CONFIG, OPTION_DIR,
					     OPTION_DEV, OPTION_DATABASE };

	for (size_t i = 0; i < sizeof(which) / sizeof(which[0]); i++) {
		const char *value = a->value[which[i]];
		struct buf masked = BUF_EMPTY;

		if (value == NULL)
			continue;
		buf_printf(&found_by, "%s ", option_spelling(which[i]));
		if (which[i] == OPTION_DEV)
			continue;
		if (which[i] == OPTION_DATABASE) {
			conninfo_mask(value, &masked);
			value = buf_text(&masked);
		}
		shell_quote(value, &found_by);
		buf_add_byte(&found_by, ' ');
		buf_fini(&masked);
	}
}

/* An advice of which the command gets these options: "See: rappelctl …". */
static void
vadvise(const char *prefix, const char *format, va_list list)
    __attribute__((format(printf, 2, 0)));

static void
vadvise(const char *prefix, const char *format, va_list list)
{
	static const char command[] = ": rappelctl ";
	const char *at;
	char *text;

	if (vasprintf(&text, format, list) < 0)
		mem_exhausted();
	at = strstr(text, command);
	at = at != NULL ? at + strlen(command) : text;
	say(prefix, "%.*s%s%s", (int)(at - text), text,
	    at != text && strncmp(at, "help", 4) != 0 && found_by.len > 0
		? buf_text(&found_by)
		: "",
	    at);
	free(text);
}

void
complain(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vsay("rappelctl: ", format, list);
	va_end(list);
}

void
advise(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	vadvise("  ", format, list);
	va_end(list);
}

void
note(const struct ctl *c, const char *format, ...)
{
	va_list list;

	if (c->quiet)
		return;
	va_start(list, format);
	vadvise("", format, list);
	va_end(list);
}

void
detail(const struct ctl *c, const char *format, ...)
{
	va_list list;

	if (!c->verbose)
		return;
	va_start(list, format);
	vsay("", format, list);
	va_end(list);
}

int
option_number(const struct ctl *c, enum option o, int64_t min, int64_t max,
	      int64_t *out)
{
	const char *text = option(c, o);
	char *end;
	long long number;

	if (text == NULL)
		return CTL_OK;
	errno = 0;
	number = strtoll(text, &end, 10);
	if (errno != 0 || end == text || *end != '\0' || number < min ||
	    number > max) {
		complain("%s %s: expected a number from %" PRId64
			 " to %" PRId64,
			 option_spelling(o), text, min, max);
		return CTL_USAGE;
	}
	*out = number;
	return CTL_OK;
}

int
option_duration(const struct ctl *c, enum option o, uint64_t *us_out)
{
	const char *text = option(c, o);
	uint64_t us;

	if (text == NULL)
		return CTL_OK;
	if (config_duration(text, &us) != 0 || us == 0) {
		complain("%s %s: expected a duration above 0, such as 250ms, "
			 "30s, 5min or 2h",
			 option_spelling(o), text);
		return CTL_USAGE;
	}
	*us_out = us;
	return CTL_OK;
}

static void
interrupt_cb(int signal_number)
{
	(void)signal_number;
	interrupted = 1;
}

void
interrupt_watch(void)
{
	/* No SA_RESTART: whoever waits must see it. */
	struct sigaction action = { .sa_handler = interrupt_cb };

	sigemptyset(&action.sa_mask);
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

int
file_read(const char *path, size_t bytes_max, const char *what, struct buf *out)
{
	bool is_stdin = strcmp(path, "-") == 0;
	int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
	int rc = CTL_OK;

	if (fd < 0) {
		int reason = errno;

		complain("cannot read %s %s: %s", what, path, strerror(reason));
		return reason == EACCES ? CTL_PERMISSION : CTL_FAILED;
	}
	for (;;) {
		ssize_t got;

		buf_reserve(out, 65536);
		got = read(fd, out->data + out->len, 65536);
		if (got < 0 && errno == EINTR && !interrupted)
			continue;
		if (got < 0) {
			complain("cannot read %s %s: %s", what, path,
				 strerror(errno));
			rc = CTL_FAILED;
			break;
		}
		if (got == 0)
			break;
		out->len += (size_t)got;
		if (out->len > bytes_max) {
			complain("%s %s is too large: at most %zu bytes fit",
				 what, path, bytes_max);
			rc = CTL_FAILED;
			break;
		}
	}
	if (!is_stdin)
		close(fd);
	return rc;
}

/* Cuts ending off, unless nothing would be left. */
static void
cut_ending(char *name, const char *ending)
{
	size_t len = strlen(name), cut = strlen(ending);

	if (len > cut && strcmp(name + len - cut, ending) == 0)
		name[len - cut] = '\0';
}

char *
workflow_name_of(const char *path)
{
	const char *slash = strrchr(path, '/');
	char *name = mem_strdup(slash != NULL ? slash + 1 : path);

	cut_ending(name, ".json");
	cut_ending(name, ".asl");
	return name;
}
