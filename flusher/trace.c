/*
 * trace - see trace.h. The array is left open when the process is killed,
 * which the format allows.
 */
#include "flusher/trace.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"

static FILE *trace_file;
static bool trace_any;

int
trace_open(const char *path)
{
	trace_file = fopen(path, "we");
	if (trace_file == NULL)
		return -errno;
	fputs("[\n", trace_file);
	return 0;
}

void
trace_close(void)
{
	if (trace_file == NULL)
		return;
	fputs("\n]\n", trace_file);
	fclose(trace_file);
	trace_file = NULL;
}

void
trace_span(const char *name, uint64_t begun_us, uint64_t count)
{
	if (trace_file == NULL)
		return;
	fprintf(trace_file,
	        "%s{\"name\":\"%s\",\"ph\":\"X\",\"pid\":%d,\"tid\":1,"
	        "\"ts\":%llu,\"dur\":%llu,\"args\":{\"count\":%llu}}",
	        trace_any ? ",\n" : "", name, (int)getpid(),
	        (unsigned long long)begun_us,
	        (unsigned long long)(clock_mono_us() - begun_us),
	        (unsigned long long)count);
	trace_any = true;
}
