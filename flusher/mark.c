/*
 * mark - see mark.h.
 */
#include "flusher/mark.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"

#define MARK_NAME "mark"
#define MARK_BYTES 4096

struct mark {
	uint8_t instance[16];
	_Atomic uint32_t set;
};

static int
mark_file(const char *dir, int *dir_fd)
{
	int fd;

	*dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*dir_fd < 0)
		return -1;
	fd = openat(*dir_fd, MARK_NAME,
	            O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd >= 0 && ftruncate(fd, MARK_BYTES) != 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

bool
mark_open(struct mark **m, const char *dir, struct uuid *blamed)
{
	void *at = MAP_FAILED;
	bool found;
	int dir_fd;
	int fd = mark_file(dir, &dir_fd);

	*m = NULL;
	if (fd >= 0)
		at = mmap(NULL, MARK_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED,
		          fd, 0);
	if (at == MAP_FAILED)
		log_warning("no mark can be made, an instance that kills the "
		            "flusher will not be found: %s",
		            strerror(errno));
	if (fd >= 0)
		close(fd);
	if (dir_fd >= 0)
		close(dir_fd);
	if (at == MAP_FAILED)
		return false;
	*m = at;
	found = atomic_load_explicit(&(*m)->set, memory_order_relaxed) == 1;
	if (found)
		memcpy(blamed->bytes, (*m)->instance, 16);
	mark_clear(*m);
	return found;
}

void
mark_close(struct mark **m)
{
	if (*m != NULL)
		munmap(*m, MARK_BYTES);
	*m = NULL;
}

/* One thread, and whoever reads it comes after our end: the order of the
 * stores is all that matters. */
void
mark_set(struct mark *m, const struct uuid *instance)
{
	if (m == NULL)
		return;
	memcpy(m->instance, instance->bytes, 16);
	atomic_signal_fence(memory_order_seq_cst);
	atomic_store_explicit(&m->set, 1, memory_order_relaxed);
	atomic_signal_fence(memory_order_seq_cst);
}

void
mark_clear(struct mark *m)
{
	if (m == NULL)
		return;
	atomic_signal_fence(memory_order_seq_cst);
	atomic_store_explicit(&m->set, 0, memory_order_relaxed);
}
