/*
 * fuzz_spool - any bytes as the file that a daemon left, and as its frames
 * behind a head that is right.
 *
 * What is read can be acknowledged frame by frame, and is written again as it
 * was; what is not goes out of the way.
 */
#include <fcntl.h>
#include <nettle/sha2.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/spool.h"

#define MAGIC "rappel spool 1\n"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int dir_fd = -1;

static void
must(bool condition)
{
	if (!condition)
		abort();
}

static char path[] = "/tmp/rappel-fuzz-spool.XXXXXX";

static void
remove_dir(void)
{
	(void)rmdir(path);
}

static void
open_dir(void)
{

	must(mkdtemp(path) != NULL);
	dir_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	must(dir_fd >= 0);
	atexit(remove_dir);
}

static void
put64(struct buf *b, uint64_t n)
{
	for (int shift = 56; shift >= 0; shift -= 8)
		buf_add_byte(b, (uint8_t)(n >> shift));
}

/* The head for so many frames, and the frames. */
static void
wrap(struct buf *b, const uint8_t *frames, size_t size, uint64_t count)
{
	struct sha256_ctx sha;
	uint8_t sum[SHA256_DIGEST_SIZE];

	sha256_init(&sha);
	sha256_update(&sha, size, frames);
	sha256_digest(&sha, sizeof(sum), sum);
	buf_add_text(b, MAGIC);
	put64(b, count);
	put64(b, size);
	buf_add(b, sum, sizeof(sum));
	buf_add(b, frames, size);
}

/* With stderr elsewhere: it logs an error for what cannot be used. */
static void
quietly(struct spool *s, struct keep *k)
{
	int saved = dup(STDERR_FILENO);
	int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

	must(saved >= 0 && null >= 0 && dup2(null, STDERR_FILENO) >= 0);
	spool_read(s, k);
	must(dup2(saved, STDERR_FILENO) >= 0);
	close(saved);
	close(null);
}

static void
read_it(const uint8_t *bytes, size_t size)
{
	struct keep k = { 0 };
	struct spool s;
	int fd = openat(dir_fd, "spool",
	                O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	must(fd >= 0 && write(fd, bytes, size) == (ssize_t)size);
	close(fd);
	spool_init(&s, dir_fd);
	quietly(&s, &k);
	if (k.frames == 0) {
		must(keep_bytes(&k) == 0);
	} else {
		must(s.there && keep_bytes(&k) < size);
		must(keep_ack(&k, k.frames + 1) < 0);
		while (k.frames > 0)
			must(keep_ack(&k, 1) == 0);
		must(keep_bytes(&k) == 0);
	}
	spool_settled(&s);
	keep_fini(&k);
	spool_fini(&s);
	(void)unlinkat(dir_fd, "spool", 0);
	(void)unlinkat(dir_fd, "spool.bad", 0);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf b = BUF_EMPTY;

	if (dir_fd < 0)
		open_dir();
	if (size == 0)
		return 0;
	if ((data[0] & 1) == 0) {
		read_it(data + 1, size - 1);
		return 0;
	}
	wrap(&b, data + 1, size - 1, data[0] >> 1);
	read_it(b.data, b.len);
	buf_fini(&b);
	return 0;
}
