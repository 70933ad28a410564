/*
 * spool - see spool.h.
 */
#include "supervisor/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"

#define SPOOL_NAME "spool"
#define SPOOL_NEW "spool.new"
#define SPOOL_BAD "spool.bad"
#define SPOOL_MAGIC "rappel spool 1\n"
#define MAGIC_BYTES (sizeof(SPOOL_MAGIC) - 1)
#define HEAD_BYTES (MAGIC_BYTES + 16 + SHA256_DIGEST_SIZE)
/* What the keep may hold: its bound, and the frames that pass it. */
#define SPOOL_BYTES_MAX (KEEP_BYTES_MAX + 2 * (size_t)FRAME_BYTES_MAX)

void
spool_init(struct spool *s, int dir_fd)
{
	s->dir_fd = dir_fd;
	s->fd = -1;
	s->there = false;
}

void
spool_fini(struct spool *s)
{
	spool_unprepare(s);
}

/* ---- the head ---- */

static void
put64(uint8_t *at, uint64_t value)
{
	for (int i = 0; i < 8; i++)
		at[i] = (uint8_t)(value >> (56 - 8 * i));
}

static uint64_t
get64(const uint8_t *at)
{
	uint64_t value = 0;

	for (int i = 0; i < 8; i++)
		value = value << 8 | at[i];
	return value;
}

static void
digest(struct slice frames, uint8_t out[SHA256_DIGEST_SIZE])
{
	struct sha256_ctx sha;

	sha256_init(&sha);
	sha256_update(&sha, frames.len, frames.data);
	sha256_digest(&sha, SHA256_DIGEST_SIZE, out);
}

/* ---- reading ---- */

/* The whole file, which has its size already. */
static bool
read_all(int fd, struct buf *into, size_t size)
{
	buf_reserve(into, size);
	while (into->len < size) {
		ssize_t n = read(fd, into->data + into->len, size - into->len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		into->len += (size_t)n;
	}
	return true;
}

/* How many whole COMPLETION frames; -1 when there is anything else. */
static int64_t
count_frames(struct slice frames)
{
	int64_t count = 0;

	while (frames.len > 0) {
		struct error err = { 0 };
		struct frame f;
		ssize_t n = frame_decode(frames, FRAME_BYTES_MAX, PEER_WORKER,
		                         &f, &err);

		if (n <= 0 || f.type != FRAME_COMPLETION)
			return -1;
		frames.data += n;
		frames.len -= (size_t)n;
		count++;
	}
	return count;
}

static const char *
spool_check(struct slice file, struct slice *frames, uint32_t *count)
{
	uint8_t sum[SHA256_DIGEST_SIZE];

	if (file.len < HEAD_BYTES ||
	    memcmp(file.data, SPOOL_MAGIC, MAGIC_BYTES) != 0)
		return "it is none";
	*frames = (struct slice){ file.data + HEAD_BYTES,
		                  file.len - HEAD_BYTES };
	if (get64(file.data + MAGIC_BYTES + 8) != frames->len)
		return "it is cut short";
	digest(*frames, sum);
	if (memcmp(file.data + MAGIC_BYTES + 16, sum, sizeof(sum)) != 0)
		return "its checksum is wrong";
	if (count_frames(*frames) < 0 ||
	    (uint64_t)count_frames(*frames) != get64(file.data + MAGIC_BYTES))
		return "it holds something else than completions";
	*count = (uint32_t)get64(file.data + MAGIC_BYTES);
	return NULL;
}

void
spool_read(struct spool *s, struct keep *k)
{
	struct buf file = BUF_EMPTY;
	const char *problem = NULL;
	struct slice frames;
	struct stat st;
	uint32_t count = 0;
	int fd;

	/* What a daemon that was killed meanwhile had begun. */
	(void)unlinkat(s->dir_fd, SPOOL_NEW, 0);
	fd = openat(s->dir_fd, SPOOL_NAME,
	            O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 && errno == ENOENT)
		return;
	if (fd < 0 || fstat(fd, &st) != 0)
		problem = strerror(errno);
	else if (!S_ISREG(st.st_mode) || st.st_uid != geteuid())
		problem = "it is not a file of ours";
	else if (st.st_size < 0 || (size_t)st.st_size > SPOOL_BYTES_MAX)
		problem = "it is too large";
	else if (!read_all(fd, &file, (size_t)st.st_size))
		problem = "it cannot be read to its end";
	else
		problem = spool_check(buf_slice(&file), &frames, &count);
	if (problem == NULL) {
		keep_add_encoded(k, frames, count);
		k->spooled = count;
		s->there = true;
		log_info("spool read frames=%u bytes=%zu", count, frames.len);
	} else {
		log_error("spool not usable, kept as " SPOOL_BAD
		          " reason=\"%s\"; the actions in it run again",
		          problem);
		(void)renameat(s->dir_fd, SPOOL_NAME, s->dir_fd, SPOOL_BAD);
	}
	if (fd >= 0)
		close(fd);
	buf_fini(&file);
}

/* ---- writing ---- */

void
spool_prepare(struct spool *s)
{
	if (s->fd >= 0)
		return;
	s->fd = openat(s->dir_fd, SPOOL_NEW,
	               O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
	               0600);
	if (s->fd < 0) {
		log_warning("no spool can be made: %s", strerror(errno));
		return;
	}
	/* Where the file system cannot, it is tried when it is written. */
	if (fallocate(s->fd, 0, 0, (off_t)SPOOL_BYTES_MAX) != 0 &&
	    errno == ENOSPC)
		log_warning("the disk has no room for a spool of %zu MiB",
		            SPOOL_BYTES_MAX >> 20);
}

void
spool_unprepare(struct spool *s)
{
	if (s->fd < 0)
		return;
	close(s->fd);
	s->fd = -1;
	(void)unlinkat(s->dir_fd, SPOOL_NEW, 0);
}

static bool
write_all(int fd, struct slice bytes)
{
	while (bytes.len > 0) {
		ssize_t n = write(fd, bytes.data, bytes.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		bytes.data += n;
		bytes.len -= (size_t)n;
	}
	return true;
}

bool
spool_write(struct spool *s, const struct keep *k)
{
	struct slice frames = keep_all(k);
	uint8_t head[HEAD_BYTES];

	if (k->frames == 0) {
		spool_settled(s);
		spool_unprepare(s);
		return true;
	}
	FAULT_POINT("spool.before_write");
	spool_prepare(s);
	memcpy(head, SPOOL_MAGIC, MAGIC_BYTES);
	put64(head + MAGIC_BYTES, k->frames);
	put64(head + MAGIC_BYTES + 8, frames.len);
	digest(frames, head + MAGIC_BYTES + 16);
	if (s->fd < 0 ||
	    !write_all(s->fd, (struct slice){ head, sizeof(head) }) ||
	    !write_all(s->fd, frames) ||
	    ftruncate(s->fd, (off_t)(sizeof(head) + frames.len)) != 0 ||
	    fsync(s->fd) != 0 ||
	    renameat(s->dir_fd, SPOOL_NEW, s->dir_fd, SPOOL_NAME) != 0 ||
	    fsync(s->dir_fd) != 0) {
		log_error("spool not written: %s; the actions of %u "
		          "completion frames run again",
		          strerror(errno), k->frames);
		spool_unprepare(s);
		return false;
	}
	close(s->fd);
	s->fd = -1;
	s->there = true;
	log_info("spool written frames=%u bytes=%zu", k->frames, frames.len);
	return true;
}

void
spool_settled(struct spool *s)
{
	if (!s->there)
		return;
	if (unlinkat(s->dir_fd, SPOOL_NAME, 0) != 0)
		log_warning("the spool cannot be removed: %s; it is judged "
		            "again at the next start",
		            strerror(errno));
	s->there = false;
}
