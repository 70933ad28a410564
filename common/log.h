/*
 * log - one event a line on stderr, logfmt, for journald and people.
 *
 * Programs log; common/ and engine/ return errors instead. Never blocks the
 * caller for long: stderr may be a pipe that nobody reads, so a line that
 * cannot be written at once is dropped and counted; with log_keep() it is kept
 * for a while first.
 */
#ifndef COMMON_LOG_H
#define COMMON_LOG_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level {
	LOG_LEVEL_ERROR,
	LOG_LEVEL_WARNING,
	LOG_LEVEL_INFO,
	LOG_LEVEL_DEBUG,
};

/*
 * comp names the process ("supervisor", "flusher", "worker/3"); with
 * priorities each line begins with "<n>" for journald (set when
 * $JOURNAL_STREAM is). Call once at start.
 */
void log_init(const char *comp, enum log_level level);
/* -EINVAL for a name that is not error, warning, info or debug. */
int log_level_parse(const char *name, enum log_level *out);
const char *log_level_name(enum log_level level);
void log_set_level(enum log_level level);
bool log_wants(enum log_level level);
uint64_t log_dropped(void);

/*
 * From now on up to bytes_max of lines that cannot be written at once are
 * kept, in order. Whoever calls this calls log_flush() from time to time
 * until it says false: nothing is kept.
 */
void log_keep(size_t bytes_max);
bool log_flush(void);

/*
 * A line is 'ts=… level=… comp=… msg="…" key=…': the format gives event and
 * keys, as "child ready slot=%u"; the words before the first key are msg. Only
 * the format's keys are keys: what is in an argument stays within msg or its
 * value, which gets quotes when it needs them. Control characters are escaped,
 * so that one event stays one line. Cut at 2 KiB.
 */
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...)
    __attribute__((format(printf, 1, 2)));
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same, with keys (" slot=3", or "") behind it that are never cut. */
void log_write(enum log_level level, const char *more, const char *format,
	       va_list args) __attribute__((format(printf, 3, 0)));

/*
 * A line that another process wrote, as an event of it, whatever our level:
 * comp names it, text is its words, whatever they are, and keys (" slot=3
 * spawn=1", or "") go behind. A text that already is such a line of exactly
 * that comp is taken as it is, and gets the keys that it has not. Bytes that are no UTF-8 are escaped. Cut at
 * LOG_FOREIGN_BYTES. Returns how long the line became.
 */
#define LOG_FOREIGN_BYTES 8192U
size_t log_foreign(const char *comp, const char *text, size_t len,
		   const char *keys);

#endif
