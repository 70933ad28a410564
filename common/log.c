/*
 * log - one event a line on stderr, logfmt, for journald and people.
 */
#include "common/log.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
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
#define FORMAT_BYTES 1024U /* each is a literal, or a plugin's */
#define SPANS_MAX 16U
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

/* Length of the words in a format, before the blank and the first key. */
static size_t
words_len(const char *format)
{
	const char *at = format;

	if (is_key(at))
		return 0;
	for (;;) {
		at = strchr(at, ' ');
		if (at == NULL)
			return strlen(format);
		if (is_key(at + 1))
			return (size_t)(at - format);
		at++;
	}
}

/* A value that is somebody's text: where it stands. */
struct span {
	size_t from, to;
	bool quoted; /* the format has its quotes */
};

/* An event, and what in it is whose. */
struct event {
	const char *text;
	size_t words; /* length of what becomes msg */
	struct span spans[SPANS_MAX];
	uint32_t span_count;
	const char *more; /* keys behind it, or "" */
};

/*
 * What is a key is said by the format alone. So each part of the text is told
 * apart by where its part of the format ends: what stands in an argument
 * remains a part of that word or value, whatever it looks like.
 */
static size_t __attribute__((format(printf, 1, 0)))
length_up_to(const char *format, size_t len, va_list args)
{
	char part[FORMAT_BYTES];
	va_list copy;
	int n;

	if (len >= sizeof(part))
		len = utf8_cut(format, sizeof(part) - 1);
	memcpy(part, format, len);
	part[len] = '\0';
	va_copy(copy, args);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	n = vsnprintf(NULL, 0, part, copy);
#pragma GCC diagnostic pop
	va_end(copy);
	return n > 0 ? (size_t)n : 0;
}

/* The value that begins at *at of a format, which moves behind it. */
static bool
value_next(const char *format, size_t *at, struct span *out)
{
	const char *from, *to;

	for (from = format + *at; *from != '\0'; from++) {
		if (is_key(from) && (from == format || from[-1] == ' '))
			break;
	}
	if (*from == '\0')
		return false;
	from = strchr(from, '=') + 1;
	out->quoted = *from == '"';
	from += out->quoted;
	to = strchr(from, out->quoted ? '"' : ' ');
	if (to == NULL)
		to = from + strlen(from);
	out->from = (size_t)(from - format);
	out->to = (size_t)(to - format);
	*at = out->to;
	return true;
}

static bool
has_text(const char *format, const struct span *s)
{
	for (size_t i = s->from; i < s->to; i++) {
		if (format[i] != '%')
			continue;
		i++;
		i += strspn(format + i, "-+ #0123456789.*hljztL");
		if (format[i] == 's')
			return true;
	}
	return false;
}

static void __attribute__((format(printf, 2, 0)))
event_split(struct event *e, const char *format, va_list args)
{
	size_t len = strlen(e->text), at = words_len(format);
	struct span s;

	e->words = format[at] == '\0' ? len : length_up_to(format, at, args);
	if (e->words > len)
		e->words = len;
	while (e->span_count < SPANS_MAX && value_next(format, &at, &s)) {
		if (!has_text(format, &s))
			continue;
		s.from = length_up_to(format, s.from, args);
		s.to = length_up_to(format, s.to, args);
		if (s.to > len)
			s.to = len;
		if (s.from < s.to)
			e->spans[e->span_count++] = s;
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

/* Quotes for what would be more than one value without. */
static void
add_value(struct line *l, const char *text, size_t len, bool quoted)
{
	bool quote = !quoted && (memchr(text, ' ', len) != NULL ||
				 memchr(text, '"', len) != NULL);

	add(l, "\"", quote ? 1 : 0);
	add_escaped(l, text, len, quote || quoted);
	add(l, "\"", quote ? 1 : 0);
}

static void
compose(struct line *l, enum log_level level, const struct event *e)
{
	size_t more = strlen(e->more), at = e->words;

	l->len = 0;
	l->max = EVENT_BYTES - (more < EVENT_BYTES / 4 ? more : 0);
	l->ascii = false;
	add_head(l, level, log_state.comp);
	/* Its end has room in any case. */
	l->max--;
	add_escaped(l, e->text, at, true);
	l->len = utf8_cut(l->text, l->len);
	l->max++;
	add(l, "\" ", at == 0 && *e->text != '\0' ? 2 : 1);
	for (uint32_t i = 0; i < e->span_count; i++) {
		const struct span *s = &e->spans[i];

		add_escaped(l, e->text + at, s->from - at, false);
		add_value(l, e->text + s->from, s->to - s->from, s->quoted);
		at = s->to;
	}
	add_escaped(l, e->text + at, strlen(e->text + at), false);
	l->len = utf8_cut(l->text, l->len);
	l->max = EVENT_BYTES;
	add(l, e->more, more);
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
		compose(&told, LOG_LEVEL_WARNING,
			&(struct event){ .text = lost,
					 .words = words_len(lost),
					 .more = "" });
		if (write_line(&told))
			log_state.dropped_told = log_state.dropped;
	}
	if (!write_line(l))
		log_state.dropped++;
}

static void
emit(enum log_level level, const struct event *event)
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

/* Has a line of ours that key ("slot=", len bytes), outside of quotes? */
static bool
line_has_key(const char *text, size_t len, const char *key, size_t key_len)
{
	bool quoted = false;

	for (size_t i = 0; i + key_len < len; i++) {
		if (quoted && text[i] == '\\')
			i++;
		else if (text[i] == '"')
			quoted = !quoted;
		else if (!quoted && text[i] == ' ' &&
			 memcmp(text + i + 1, key, key_len) == 0)
			return true;
	}
	return false;
}

/* Those of the keys (" a=1 b=2") that the line has not. */
static void
add_missing_keys(struct line *l, const char *text, size_t len,
		 const char *keys)
{
	while (*keys == ' ') {
		size_t n = 1 + strcspn(keys + 1, " ");

		if (!line_has_key(text, len, keys + 1, strcspn(keys, "=")))
			add(l, keys, n);
		keys += n;
	}
}

size_t
log_foreign(const char *comp, const char *text, size_t len, const char *keys)
{
	enum log_level level = LOG_LEVEL_INFO;
	int saved = errno;
	struct line l;
	bool own = is_own_line(comp, text, len, &level);

	l.len = 0;
	l.max = LOG_FOREIGN_BYTES;
	l.ascii = !utf8_valid(text, len);
	if (own) {
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
	add_missing_keys(&l, text, own ? len : 0, keys);
	l.text[l.len++] = '\n';
	put(&l);
	errno = saved;
	return l.len;
}

void
log_write(enum log_level level, const char *more, const char *format,
	  va_list args)
{
	char text[EVENT_BYTES];
	struct event event = { .text = text, .more = more };
	va_list copy;

	if (!log_wants(level))
		return;
	va_copy(copy, args);
	vsnprintf(text, sizeof(text), format, copy);
	va_end(copy);
	event_split(&event, format, args);
	emit(level, &event);
}

void
log_error(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_write(LOG_LEVEL_ERROR, "", format, args);
	va_end(args);
}

void
log_warning(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_write(LOG_LEVEL_WARNING, "", format, args);
	va_end(args);
}

void
log_info(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_write(LOG_LEVEL_INFO, "", format, args);
	va_end(args);
}

void
log_debug(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	log_write(LOG_LEVEL_DEBUG, "", format, args);
	va_end(args);
}
