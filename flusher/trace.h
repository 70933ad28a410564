/*
 * trace - a Chrome trace of what the flusher spends its time on.
 *
 * Off unless $RAPPEL_TRACE_FILE names a file; then every span becomes one
 * event of a JSON array there, for chrome://tracing, Perfetto or
 * bench/queue-noop --trace. Meant for measuring: it writes through stdio.
 */
#ifndef FLUSHER_TRACE_H
#define FLUSHER_TRACE_H

#include <stdbool.h>
#include <stdint.h>

/* -errno when the file cannot be made. */
int trace_open(const char *path);
void trace_close(void);
/* A span from begun_us (clock_mono_us) until now; count is shown with it. */
void trace_span(const char *name, uint64_t begun_us, uint64_t count);

#endif
