/*
 * log - one event a line on stderr, logfmt, for journald and people.
 */
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/assert.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/utf8.h"

#define EVENT_BYTES 2048
/* A foreign line may double by its escapes; then it is cut here. */
#define LINE_BYTES (LOG_FOREIGN_BYTES + 512U)
/* What a pipe that polls writable takes without blocking. */
#define CHUNK_BYTES 4096U

/* The process's one log: the only thing in common/ that is global. */
static struct {
	char comp[32];
	enum log_level level;
	bool priorities;
	bool is_socket;
	int fd;
	bool fd_owned;
	uint64_t dropped;
	uint64_t dropped_told;
	struct buf kept; /* not written yet, from kept_at on */
	size_t kept_at;
	size_t kept_max; /* 0: nothing is kept */
} log_state = { .level = LOG_LEVEL_INFO, .fd = STDERR_FILENO };

static const char *const level_names[] = {
	[LOG_LEVEL_ERROR] = "error",
	[LOG_LEVEL_WARNING] = "warning",
	[LOG_LEVEL_INFO] = "info",
	[LOG_LEVEL_DEBUG] = "debug",
};

/* syslog's numbers, which journald reads. */
static const char level_priorities[] = {
	[LOG_LEVEL_ERROR] = '3',
	[LOG_LEVEL_WARNING] = '4',
	[LOG_LEVEL_INFO] = '6',
	[LOG_LEVEL_DEBUG] = '7',
};

void
log_init(const char *comp, enum log_level level)
{
	struct stat st;

	snprintf(log_state.comp, sizeof(log_state.comp), "%s", comp);
	log_state.level = level;
	log_state.priorities = getenv("JOURNAL_STREAM") != NULL;
	if (log_state.fd_owned)
		close(log_state.fd);
	log_state.fd = STDERR_FILENO;
	log_state.fd_owned = false;
	log_state.is_socket = false;
	if (fstat(STDERR_FILENO, &st) < 0)
		return;
	log_state.is_socket = S_ISSOCK(st.st_mode);
	if (S_ISFIFO(st.st_mode)) {
		/* O_NONBLOCK belongs to the open file, which we share with
		 * others, so we open the pipe once more for ourselves. */
		int fd = open("/proc/self/fd/2",
			      O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);

		if (fd >= 0) {
			log_state.fd = fd;
			log_state.fd_owned = true;
		}
	}
}

int
log_level_parse(const char *name, enum log_level *out)
{
	for (unsigned i = 0; i < sizeof(level_names) / sizeof(level_names[0]);
	     i++) {
		if (strcmp(name, level_names[i]) == 0) {
			*out = (enum log_level)i;
			return 0;
		}
	}
	return -EINVAL;
}

const char *
log_level_name(enum log_level level)
{
	return level_names[level];
}

void
log_set_level(enum log_level level)
{
	log_state.level = level;
}

bool
log_wants(enum log_level level)
{
	return level <= log_state.level;
}

uint64_t
log_dropped(void)
{
	return log_state.dropped;
}

/* A line that is being put together; what does not fit is cut. */
struct line {
	size_t len;
	size_t max;
	bool ascii; /* what is not is escaped */
	char text[LINE_BYTES];
};

static void
add(struct line *l, const char *text, size_t len)
{
	size_t room = l->max - 1 - l->len; /* 1 for the newline */

	if (len > room)
		len = room;
	memcpy(l->text + l->len, text, len);
	l->len += len;
}

/* What a terminal would obey as \n, \t or \xHH; in quotes also '"' and '\'. */
static void
add_escaped(struct line *l, const char *text, size_t len, bool quoted)
{
	size_t n;

	for (size_t i = 0; i < len; i += n) {
		bool harmless = utf8_harmless(text + i, len - i, &n) &&
				!(l->ascii && (text[i] & 0x80) != 0);
		char c = text[i];
		char escape[8];

		if (c == '\n')
			add(l, "\\n", 2);
		else if (c == '\t')
			add(l, "\\t", 2);
		else if (quoted && (c == '"' || c == '\\'))
			add(l, (char[]){ '\\', c }, 2);
		else if (harmless)
			add(l, &text[i], n);
		else
			for (size_t k = i; k < i + n; k++)
				add(l, escape,
				    (size_t)snprintf(escape, sizeof(escape),
						     "\\x%02x",
						     (unsigned char)text[k]));
	}
}

/* Is there a key at s, as "slot=" in "slot=3"? */
static bool
is_key(const char *s)
{
	size_t n = 0;

	while ((s[n] >= 'a' && s[n] <= 'z') || (n > 0 && s[n] == '_') ||
	       (n > 0 && s[n] >= '0' && s[n] <= '9'))
		n++;
	return n > 0 && s[n] == '=';
}

/* Length of the event's words, before the blank and the first key. */
static size_t
event_len(const char *text)
{
	const char *at = text;

	if (is_key(at))
		return 0;
	for (;;) {
		at = strchr(at, ' ');
		if (at == NULL)
			return strlen(text);
		if (is_key(at + 1))
			return (size_t)(at - text);
		at++;
	}
}

static void
add_time(struct line *l)
{
	int64_t now_us = clock_wall_us();
	time_t seconds = (time_t)(now_us / 1000000);
	struct tm tm;
	char text[64];
	int len;

	gmtime_r(&seconds, &tm);
	len = snprintf(text, sizeof(text),
		       "ts=%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
		       tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour,
		       tm.tm_min, tm.tm_sec, (int)(now_us / 1000 % 1000));
	add(l, text, (size_t)len);
}

/* Up to the event's words. */
static void
add_head(struct line *l, enum log_level level, const char *comp)
{
	if (log_state.priorities)
		add(l, (char[]){ '<', level_priorities[level], '>' }, 3);
	add_time(l);
	add(l, " level=", 7);
	add(l, level_names[level], strlen(level_names[level]));
	add(l, " comp=", 6);
	add(l, comp, strlen(comp));
	add(l, " msg=\"", 6);
}

static void
line_end(struct line *l)
{
	l->len = utf8_cut(l->text, l->len);
	l->text[l->len++] = '\n';
}

static void
compose(struct line *l, enum log_level level, const char *event)
{
	size_t words = event_len(event);

	l->len = 0;
	l->max = EVENT_BYTES;
	l->ascii = false;
	add_head(l, level, log_state.comp);
	add_escaped(l, event, words, true);
	add(l, "\" ", words == 0 && *event != '\0' ? 2 : 1);
	add_escaped(l, event + words, strlen(event + words), false);
	line_end(l);
}

/* ---- writing ---- */

/* One attempt, without waiting for whoever reads. How much was taken. */
static size_t
write_some(const char *text, size_t len)
{
	struct pollfd pfd = { .fd = log_state.fd, .events = POLLOUT };
	ssize_t n;

	if (log_state.is_socket) {
		n = send(log_state.fd, text, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	} else {
		/* For a pipe that could not be opened again and a terminal
		 * that is stopped. */
		if (poll(&pfd, 1, 0) != 1 || (pfd.revents & POLLOUT) == 0)
			return 0;
		n = write(log_state.fd, text,
			  len < CHUNK_BYTES ? len : CHUNK_BYTES);
	}
	return n > 0 ? (size_t)n : 0;
}

static size_t
write_all(const char *text, size_t len)
{
	size_t done = 0, n;

	do {
		n = write_some(text + done, len - done);
		done += n;
	} while (n > 0 && done < len);
	return done;
}

static bool
keep(const char *text, size_t len)
{
	struct buf *kept = &log_state.kept;

	if (kept->len - log_state.kept_at + len > log_state.kept_max)
		return false;
	if (log_state.kept_at > 0) {
		buf_drop(kept, log_state.kept_at);
		log_state.kept_at = 0;
	}
	buf_add(kept, text, len);
	return true;
}

bool
log_flush(void)
{
	struct buf *kept = &log_state.kept;

	if (kept->len == 0)
		return false;
	log_state.kept_at +=
	    write_all((const char *)kept->data + log_state.kept_at,
		      kept->len - log_state.kept_at);
	if (log_state.kept_at < kept->len)
		return true;
	buf_fini(kept);
	log_state.kept_at = 0;
	return false;
}

static bool
write_line(const struct line *l)
{
	size_t done;

	if (log_flush())
		return keep(l->text, l->len);
	done = write_all(l->text, l->len);
	if (done == l->len)
		return true;
	/* The rest of a line that was begun is kept in any case: what comes
	 * next must not become a part of it. */
	if (done > 0 && log_state.kept_max > 0) {
		buf_add(&log_state.kept, l->text + done, l->len - done);
		return true;
	}
	return keep(l->text, l->len);
}

static void
put(struct line *l)
{
	/* Told once the reader has caught up, not into what little is left. */
	if (log_state.dropped > log_state.dropped_told && !log_flush()) {
		struct line told;
		char lost[64];

		snprintf(lost, sizeof(lost), "log lines dropped count=%llu",
			 (unsigned long long)(log_state.dropped -
					      log_state.dropped_told));
		compose(&told, LOG_LEVEL_WARNING, lost);
		if (write_line(&told))
			log_state.dropped_told = log_state.dropped;
	}
	if (!write_line(l))
		log_state.dropped++;
}

static void
emit(enum log_level level, const char *event)
{
	int saved = errno; /* callers log first and look at errno after */
	struct line l;

	compose(&l, level, event);
	put(&l);
	errno = saved;
}

void
log_keep(size_t bytes_max)
{
	log_state.kept_max = bytes_max;
}

/* ---- lines of others ---- */

/* Is it a line as this module writes it, of exactly that component? */
static bool
is_own_line(const char *comp, const char *text, size_t len,
	    enum log_level *level_out)
{
	static const char time_like[] = "ts=0000-00-00T00:00:00.000Z level=";
	size_t at = sizeof(time_like) - 1;
	size_t comp_len = strlen(comp);
	size_t level_len;

	if (len < at)
		return false;
	for (size_t i = 0; i < at; i++) {
		if (time_like[i] == '0' ? text[i] < '0' || text[i] > '9'
					: text[i] != time_like[i])
			return false;
	}
	for (unsigned i = 0; i < sizeof(level_names) / sizeof(level_names[0]);
	     i++) {
		level_len = strlen(level_names[i]);
		if (len - at <= level_len + 6 + comp_len ||
		    memcmp(text + at, level_names[i], level_len) != 0 ||
		    memcmp(text + at + level_len, " comp=", 6) != 0 ||
		    memcmp(text + at + level_len + 6, comp, comp_len) != 0 ||
		    text[at + level_len + 6 + comp_len] != ' ')
			continue;
		*level_out = (enum log_level)i;
		return true;
	}
	return false;
}

size_t
log_foreign(const char *comp, const char *text, size_t len, const char *keys)
{
	enum log_level level = LOG_LEVEL_INFO;
	int saved = errno;
	struct line l;

	l.len = 0;
	l.max = LOG_FOREIGN_BYTES;
	l.ascii = !utf8_valid(text, len);
	if (is_own_line(comp, text, len, &level)) {
		if (log_state.priorities)
			add(&l, (char[]){ '<', level_priorities[level], '>' },
			    3);
		add_escaped(&l, text, len, false);
	} else {
		add_head(&l, level, comp);
		add_escaped(&l, text, len, true);
		l.len = utf8_cut(l.text, l.len);
		/* So that a line that was cut is closed nevertheless. */
		l.max = LINE_BYTES;
		add(&l, "\"", 1);
	}
	l.len = utf8_cut(l.text, l.len);
	l.max = LINE_BYTES;
	add(&l, keys, strlen(keys));
	l.text[l.len++] = '\n';
	put(&l);
	errno = saved;
	return l.len;
}

static void __attribute__((format(printf, 2, 0)))
vlog(enum log_level level, const char *format, va_list args)
{
	char event[EVENT_BYTES];

	if (!log_wants(level))
		return;
	vsnprintf(event, sizeof(event), format, args);
	emit(level, event);
}

void
log_error(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vlog(LOG_LEVEL_ERROR, format, args);
	va_end(args);
}

void
log_warning(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vlog(LOG_LEVEL_WARNING, format, args);
	va_end(args);
}

void
log_info(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vlog(LOG_LEVEL_INFO, format, args);
	va_end(args);
}

void
log_debug(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vlog(LOG_LEVEL_DEBUG, format, args);
	va_end(args);
}
