/*
 * assert - the last words of a process whose own logic failed.
 */
#include "common/assert.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static struct iovec
part(const char *s)
{
	return (struct iovec){ .iov_base = (void *)(uintptr_t)s,
			       .iov_len = strlen(s) };
}

void
assert_failed(const char *what, const char *file, int line)
{
	char digits[12];
	char *at = digits + sizeof(digits) - 1;
	unsigned n = line > 0 ? (unsigned)line : 0;

	/* By hand, because snprintf() is not async-signal-safe. */
	*at = '\0';
	do {
		*--at = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);

	struct iovec parts[] = {
		part(file), part(":"),  part(at), part(": assertion failed: "),
		part(what), part("\n"),
	};
	ssize_t written =
	    writev(STDERR_FILENO, parts, sizeof(parts) / sizeof(parts[0]));

	(void)written; /* nobody is left to be told */
	abort();
}
