/*
 * command_dir - made with mkdtemp, removed without recursion.
 */
#include "worker/command_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "common/mem.h"
#include "common/strays.h"

#define PREFIX "rappel-"
#define READ_BYTES ((size_t)64 << 10)

static const char *
base(void)
{
	const char *tmp = getenv("TMPDIR");

	return tmp != NULL && tmp[0] == '/' ? tmp : "/tmp";
}

static const char *
variable(const char *name)
{
	const char *value = getenv(name);

	return value != NULL && strchr(value, '/') == NULL ? value : "0";
}

/* ---- making ---- */

static int
write_all(int fd, struct slice bytes)
{
	while (bytes.len > 0) {
		ssize_t n = write(fd, bytes.data, bytes.len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		bytes.data += n;
		bytes.len -= (size_t)n;
	}
	return 0;
}

static int
file_create(const struct command_dir *d, const struct command_file *f)
{
	int fd = openat(d->fd, f->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
			0600);
	int rc;

	if (fd < 0)
		return -errno;
	rc = write_all(fd, buf_slice(&f->content));
	if (close(fd) != 0 && rc == 0)
		rc = -errno;
	return rc;
}

int
command_dir_create(struct command_dir *d, const struct command_input *input)
{
	struct buf path = BUF_EMPTY;
	int rc = 0;

	buf_printf(&path, "%s/" PREFIX "%s-%s-%s.XXXXXX", base(),
		   variable(STRAYS_VARIABLE), variable("RAPPEL_SLOT"),
		   variable("RAPPEL_SPAWN"));
	*d = (struct command_dir){ .path = buf_text(&path), .fd = -1 };
	if (mkdtemp(d->path) == NULL) {
		rc = -errno;
		free(d->path);
		d->path = NULL;
		return rc;
	}
	d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->fd < 0)
		rc = -errno;
	for (uint32_t i = 0; i < input->file_count && rc == 0; i++)
		rc = file_create(d, &input->files[i]);
	if (rc < 0)
		command_dir_remove(d);
	return rc;
}

/* ---- reading ---- */

int
command_dir_read(const struct command_dir *d, const char *name, size_t max,
		 struct buf *out)
{
	/* Not through a link, and not waiting for whom a pipe belongs to. */
	int fd =
	    openat(d->fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;
	int rc = 0;

	if (fd < 0)
		return errno == ELOOP ? -EINVAL : -errno;
	if (fstat(fd, &st) != 0)
		rc = -errno;
	else if (!S_ISREG(st.st_mode))
		rc = -EINVAL;
	while (rc == 0) {
		ssize_t n;

		buf_reserve(out, READ_BYTES);
		n = read(fd, out->data + out->len, READ_BYTES);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			rc = n < 0 ? -errno : 0;
			break;
		}
		out->len += (size_t)n;
		if (out->len > max)
			rc = -EFBIG;
	}
	close(fd);
	return rc;
}

/* ---- removing ---- */

static bool
is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* A folder that its owner may not look into or change, too. */
static int
folder_open(int at, const char *name)
{
	const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
	int fd =
	    openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	char self[64];
	struct stat st;

	if (fd < 0)
		return -1;
	/* By way of what is open, so that no link is followed. */
	if (fstat(fd, &st) == 0 && (st.st_mode & 0700) != 0700) {
		snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
		(void)chmod(self, 0700);
	}
	close(fd);
	return openat(at, name, flags);
}

/* What is in the folder goes; folders in it move up into top, under new
 * names, so that no depth is too much for us. How many went or moved. */
static unsigned
folder_empty(int top, int at, const char *name, unsigned *serial)
{
	int fd = folder_open(at, name);
	DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	unsigned done = 0;
	struct dirent *e;

	if (dir == NULL) {
		if (fd >= 0)
			close(fd);
		return 0;
	}
	while ((e = readdir(dir)) != NULL) {
		char moved[32];
		int inner;

		if (is_dots(e->d_name))
			continue;
		if (unlinkat(fd, e->d_name, 0) == 0 ||
		    unlinkat(fd, e->d_name, AT_REMOVEDIR) == 0) {
			done++;
			continue;
		}
		/* Its ".." changes, for which it must be writable. */
		inner = folder_open(fd, e->d_name);
		if (inner >= 0)
			close(inner);
		snprintf(moved, sizeof(moved), ".rappel-%u", ++*serial);
		if (renameat(fd, e->d_name, top, moved) == 0)
			done++;
	}
	closedir(dir);
	return done;
}

/* Until it is empty, or nothing more goes. */
static void
top_empty(int top)
{
	unsigned serial = 0, done;

	do {
		int fd = dup(top);
		DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
		struct dirent *e;

		done = 0;
		if (dir == NULL) {
			if (fd >= 0)
				close(fd);
			return;
		}
		rewinddir(dir);
		while ((e = readdir(dir)) != NULL) {
			if (is_dots(e->d_name))
				continue;
			if (unlinkat(top, e->d_name, 0) == 0 ||
			    unlinkat(top, e->d_name, AT_REMOVEDIR) == 0) {
				done++;
				continue;
			}
			done += folder_empty(top, top, e->d_name, &serial);
			if (unlinkat(top, e->d_name, AT_REMOVEDIR) == 0)
				done++;
		}
		closedir(dir);
	} while (done > 0);
}

static void
path_remove(const char *path)
{
	int top = folder_open(AT_FDCWD, path);

	if (top >= 0) {
		top_empty(top);
		close(top);
	}
	if (rmdir(path) != 0 && errno != ENOENT)
		log_warning("a folder stays path=%s error=\"%s\"", path,
			    strerror(errno));
}

void
command_dir_remove(struct command_dir *d)
{
	if (d->path == NULL)
		return;
	if (d->fd >= 0)
		close(d->fd);
	path_remove(d->path);
	free(d->path);
	*d = (struct command_dir){ .path = NULL, .fd = -1 };
}

/* ---- what others left ---- */

/*
 * name is PREFIX KEY.RANDOM-SLOT-SPAWN.XXXXXX. Of another life of this pool,
 * or of an earlier spawn in our slot: nobody can be using it, since what they
 * ran was killed before we were started.
 */
static bool
is_left(const char *name, const char *life)
{
	const char *slot = variable("RAPPEL_SLOT");
	const char *spawn = variable("RAPPEL_SPAWN");
	size_t key_len = strcspn(life, ".") + 1, life_len = strlen(life);
	size_t slot_len = strlen(slot), spawn_len = strlen(spawn);

	if (strncmp(name, PREFIX, strlen(PREFIX)) != 0)
		return false;
	name += strlen(PREFIX);
	if (key_len > life_len || strncmp(name, life, key_len) != 0)
		return false;
	if (strncmp(name, life, life_len) != 0 || name[life_len] != '-')
		return true;
	name += life_len + 1;
	if (strncmp(name, slot, slot_len) != 0 || name[slot_len] != '-')
		return false;
	name += slot_len + 1;
	return strncmp(name, spawn, spawn_len) != 0 || name[spawn_len] != '.';
}

void
command_dir_sweep(void)
{
	const char *life = getenv(STRAYS_VARIABLE);
	DIR *dir = life != NULL ? opendir(base()) : NULL;
	struct dirent *e;

	if (dir == NULL)
		return;
	while ((e = readdir(dir)) != NULL) {
		struct buf path = BUF_EMPTY;
		struct stat st;

		if (!is_left(e->d_name, life) ||
		    fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) !=
			0 ||
		    !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
			continue;
		buf_printf(&path, "%s/%s", base(), e->d_name);
		log_info("removes what was left of an earlier worker path=%s",
			 buf_text(&path));
		path_remove(buf_text(&path));
		buf_fini(&path);
	}
	closedir(dir);
}
