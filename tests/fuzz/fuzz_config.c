/*
 * fuzz_config - any bytes as a configuration file, a duration and a
 * connection string.
 *
 * A file that is accepted, printed and loaded again is accepted again, and no
 * secret is left after masking.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/config.h"
#include "common/conninfo.h"
#include "common/mem.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
must(bool condition)
{
	if (!condition)
		abort();
}

static int
load(const void *text, size_t size, struct config *c)
{
	struct config_flags flags = { .file = NULL };
	struct error err = { .line = 0 };
	char name[40];
	int fd = memfd_create("config", MFD_CLOEXEC);
	int rc;

	must(fd >= 0 && write(fd, text, size) == (ssize_t)size);
	must(fchmod(fd, 0600) == 0);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	flags.file = name;
	rc = config_load(&flags, c, &err);
	must((rc == 0) == (err.message[0] == '\0'));
	must(strchr(err.message, '\n') == NULL);
	close(fd);
	return rc;
}

static bool
text_same(const char *a, const char *b)
{
	return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static void
must_be_same(const struct config_group *a, const struct config_group *b)
{
	must(strcmp(a->name, b->name) == 0);
	must(words_equal(&a->program, &b->program));
	must(words_equal(&a->actions, &b->actions));
	/* Of the environment what may be secret is masked. */
	must(a->environment.count == b->environment.count);
	must(text_same(a->user, b->user));
	must(text_same(a->directory, b->directory));
	must(memcmp(a->limits, b->limits, sizeof(a->limits)) == 0);
	must(a->processes == b->processes &&
	     a->processes_max == b->processes_max &&
	     a->concurrency == b->concurrency && a->hello_us == b->hello_us &&
	     a->recycle_rss == b->recycle_rss &&
	     a->recycle_age_us == b->recycle_age_us);
	must(a->program.count > 0 && a->processes <= a->processes_max);
}

static void
print_and_load(const struct config *c)
{
	struct config again;
	char *text = NULL;
	size_t size = 0;
	FILE *to = open_memstream(&text, &size);
	bool both_quotes =
	    (strchr(c->dir, '"') != NULL && strchr(c->dir, '\'') != NULL) ||
	    (strchr(c->pool_name, '"') != NULL &&
	     strchr(c->pool_name, '\'') != NULL) ||
	    c->database != NULL;

	config_print(c, to);
	fclose(to);
	/* What holds both quotes cannot be written in one line. */
	if (!both_quotes) {
		must(load(text, size, &again) == 0);
		must(again.workers == c->workers);
		must(again.lease_us == c->lease_us);
		must(again.value_bytes_max == c->value_bytes_max);
		must(strcmp(again.dir, c->dir) == 0);
		must(strcmp(again.pool_name, c->pool_name) == 0);
		must(again.group_count == c->group_count);
		for (uint32_t i = 0; i < c->group_count; i++)
			must_be_same(&again.groups[i], &c->groups[i]);
		config_fini(&again);
	}
	free(text);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = mem_strndup(data, size);
	struct buf masked = BUF_EMPTY, twice = BUF_EMPTY;
	struct config c;
	uint64_t us;

	if (load(data, size, &c) == 0) {
		print_and_load(&c);
		config_fini(&c);
	}
	if (config_duration(text, &us) == 0)
		must(us <= UINT64_C(36525) * 86400 * 1000000);
	conninfo_mask(text, &masked);
	conninfo_mask(buf_text(&masked), &twice);
	must(strcmp(buf_text(&masked), buf_text(&twice)) == 0);
	must(conninfo_has_password(text) ==
	     conninfo_has_password(buf_text(&masked)));
	buf_fini(&masked);
	buf_fini(&twice);
	free(text);
	return 0;
}
