/*
 * fuzz_conninfo - any text as a connection string.
 *
 * Whatever libpq takes for the password is not in what is shown, and masking
 * twice is masking once.
 */
#include <libpq-fe.h>
#include <stdlib.h>
#include <string.h>

#include "common/conninfo.h"
#include "common/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool
is_secret(const char *keyword)
{
	return strcmp(keyword, "password") == 0 ||
	       strcmp(keyword, "sslpassword") == 0;
}

/* What libpq reads in the masked string as a secret. */
static void
expect_masked(const char *masked)
{
	PQconninfoOption *options = PQconninfoParse(masked, NULL);

	for (PQconninfoOption *o = options; o != NULL && o->keyword != NULL;
	     o++) {
		if (is_secret(o->keyword) && o->val != NULL &&
		    o->val[0] != '\0' && strcmp(o->val, "***") != 0)
			abort();
	}
	PQconninfoFree(options);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = mem_strndup(data, size);
	struct buf masked = BUF_EMPTY, twice = BUF_EMPTY;
	PQconninfoOption *options = PQconninfoParse(text, NULL);

	conninfo_mask(text, &masked);
	conninfo_mask(buf_text(&masked), &twice);
	if (strcmp(buf_text(&masked), buf_text(&twice)) != 0)
		abort();
	for (PQconninfoOption *o = options; o != NULL && o->keyword != NULL;
	     o++) {
		if (is_secret(o->keyword) && o->val != NULL &&
		    o->val[0] != '\0' && !conninfo_has_password(text))
			abort();
	}
	if (options != NULL)
		expect_masked(buf_text(&masked));
	PQconninfoFree(options);
	buf_fini(&masked);
	buf_fini(&twice);
	free(text);
	return 0;
}
