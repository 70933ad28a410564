/*
 * lock - flock on an open descriptor: it ends with the process that holds
 * it, however that ends, so no stale lock has to be told from a live one.
 */
#include "supervisor/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/mem.h"
#include "supervisor/reap.h"

/* Makes the parents of path as far as they are missing. */
static int
lock_parents(const char *path)
{
	char *copy = mem_strdup(path);
	int rc = 0;

	for (char *p = strchr(copy + 1, '/'); p != NULL && rc == 0;
	     p = strchr(p + 1, '/')) {
		*p = '\0';
		if (mkdir(copy, 0755) != 0 && errno != EEXIST)
			rc = -errno;
		*p = '/';
	}
	free(copy);
	return rc;
}

static int
lock_directory(const char *path, bool pass_through, struct error *err)
{
	mode_t mode = pass_through ? 0711 : 0700;
	struct stat st;
	int rc, fd;

	rc = lock_parents(path);
	if (rc < 0 || (mkdir(path, mode) != 0 && errno != EEXIST)) {
		if (rc == 0)
			rc = -errno;
		error_set(err, "directory %s cannot be made: %s", path,
		          strerror(-rc));
		errno = -rc;
		return -1;
	}
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0) {
		rc = errno;
		error_set(err, "directory %s: %s", path,
		          rc == ELOOP || rc == ENOTDIR
		              ? "is a symbolic link or no directory"
		              : strerror(rc));
		if (fd >= 0)
			close(fd);
		errno = EPERM;
		return -1;
	}
	if (st.st_uid != geteuid() || (st.st_mode & 022) != 0) {
		error_set(err,
		          "directory %s must belong to the user that runs "
		          "rappeld (uid %u) and be writable for no one else; "
		          "it belongs to uid %u with mode %04o",
		          path, (unsigned)geteuid(), (unsigned)st.st_uid,
		          (unsigned)st.st_mode & 07777);
		close(fd);
		errno = EPERM;
		return -1;
	}
	if (pass_through && (st.st_mode & 0111) != 0111 &&
	    fchmod(fd, (st.st_mode & 07777) | 0111) != 0) {
		error_set(err, "directory %s: chmod: %s", path,
		          strerror(errno));
		close(fd);
		errno = EPERM;
		return -1;
	}
	return fd;
}

int
lock_take(struct lock *l, const char *path, bool pass_through,
          struct error *err)
{
	char text[32] = "";
	struct stat st;
	ssize_t n;
	int len;

	l->lock_fd = -1;
	l->dir_fd = lock_directory(path, pass_through, err);
	if (l->dir_fd < 0)
		return errno == EPERM || errno == EACCES ? EXIT_PERMISSION
		                                         : EXIT_CONFIG;
	l->lock_fd = openat(l->dir_fd, "lock",
	                    O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW |
	                        O_NONBLOCK,
	                    0600);
	if (l->lock_fd < 0) {
		error_set(err, "%s/lock: %s", path, strerror(errno));
		lock_release(l);
		return EXIT_PERMISSION;
	}
	/* Whose it is matters: others could hold it, or have us write into a
	 * file of theirs. */
	if (fstat(l->lock_fd, &st) != 0 || !S_ISREG(st.st_mode) ||
	    st.st_nlink != 1 || st.st_uid != geteuid()) {
		error_set(err,
		          "%s/lock is no plain file of ours alone; look who "
		          "made it and remove it",
		          path);
		lock_release(l);
		return EXIT_PERMISSION;
	}
	if (flock(l->lock_fd, LOCK_EX | LOCK_NB) != 0) {
		n = pread(l->lock_fd, text, sizeof(text) - 1, 0);
		text[n > 0 ? n : 0] = '\0';
		text[strcspn(text, "\n")] = '\0';
		error_set(err,
		          "another rappeld (pid %s) runs on %s; stop it with "
		          "\"rappelctl --dir %s stop\" or choose another "
		          "directory",
		          text[0] != '\0' ? text : "unknown", path, path);
		lock_release(l);
		return EXIT_TRY_LATER;
	}
	/* For people and for the message above; nothing trusts it. */
	len = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	if (ftruncate(l->lock_fd, 0) != 0 ||
	    pwrite(l->lock_fd, text, (size_t)len, 0) != len) {
		error_set(err, "%s/lock cannot be written: %s", path,
		          strerror(errno));
		lock_release(l);
		return EXIT_CONFIG;
	}
	return 0;
}

void
lock_release(struct lock *l)
{
	if (l->lock_fd >= 0)
		close(l->lock_fd);
	if (l->dir_fd >= 0)
		close(l->dir_fd);
	l->lock_fd = l->dir_fd = -1;
}
