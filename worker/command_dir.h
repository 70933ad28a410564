/*
 * command_dir - the private folder of one attempt, and its end.
 *
 * Its name says which life of which pool and which worker made it, so that
 * the next worker in that place finds what one that was killed left behind.
 */
#ifndef WORKER_COMMAND_DIR_H
#define WORKER_COMMAND_DIR_H

#include "common/assert.h"
#include "common/buf.h"
#include "worker/command_input.h"

struct command_dir {
	char *path; /* NULL: none */
	int fd;
};

/* In $TMPDIR or /tmp, with the files of the input in it. 0 or -errno. */
int command_dir_create(struct command_dir *d,
		       const struct command_input *input) MUST_CHECK;

/*
 * Appends what the file of that name in it holds. 0; -EFBIG when that is more
 * than max bytes; -EINVAL when it is no plain file; or another -errno.
 */
int command_dir_read(const struct command_dir *d, const char *name, size_t max,
		     struct buf *out) MUST_CHECK;

/* With everything in it, however deep and whatever its modes. */
void command_dir_remove(struct command_dir *d);

/* Removes what earlier workers in our place, and those of earlier lives of
 * this pool, left behind. */
void command_dir_sweep(void);

#endif
