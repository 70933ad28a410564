/*
 * torture - makes the n-th fallible call of a process fail.
 *
 * A library for LD_PRELOAD. The file that TORTURE_FILE names is shared with
 * the test, which arms it at any time: calls of the chosen kinds are counted
 * from then on, and the n-th fails, once or with all that follow. Memory,
 * descriptors, sockets, files, processes. What the process forks counts
 * along until it execs.
 *
 * With TORTURE_PROGRAM set, other programs that inherit the environment are
 * left alone: its name must be that of the process.
 */
/* Names as they are, without what the headers would make of them. */
#undef _FILE_OFFSET_BITS
#undef _FORTIFY_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* Bits of plan.kinds, as in test_torture.py. */
enum kind {
	KIND_MEMORY = 1,
	KIND_SOCKET = 2, /* socket, connect, bind, listen, accept */
	KIND_IO = 4,     /* read, write, send, recv and their kin */
	KIND_FILE = 8,   /* open, rename, fsync, allocate */
	KIND_PROCESS = 16,
};

/* Its layout is known to test_torture.py: 32-bit numbers. */
struct plan {
	uint32_t armed;
	uint32_t kinds;
	uint32_t nth;     /* from 1; 0: only count */
	uint32_t forever; /* the later ones too */
	uint32_t counted;
	uint32_t failed;
	char name[40]; /* of the first that failed */
};

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *p, size_t size);

static struct plan none;
static struct plan *plan = &none;

static bool
fails(enum kind kind, const char *name)
{
	uint32_t n;

	if (!__atomic_load_n(&plan->armed, __ATOMIC_ACQUIRE) ||
	    (plan->kinds & kind) == 0)
		return false;
	n = __atomic_add_fetch(&plan->counted, 1, __ATOMIC_ACQ_REL);
	if (plan->nth == 0 || n < plan->nth ||
	    (n > plan->nth && !plan->forever))
		return false;
	if (__atomic_fetch_add(&plan->failed, 1, __ATOMIC_ACQ_REL) == 0)
		for (size_t i = 0; i + 1 < sizeof(plan->name) && name[i]; i++)
			plan->name[i] = name[i];
	return true;
}

static __attribute__((constructor)) void
torture_open(void)
{
	const char *path = getenv("TORTURE_FILE");
	const char *program = getenv("TORTURE_PROGRAM");
	void *mapped;
	int fd;

	if (path == NULL ||
	    (program != NULL &&
	     strcmp(program, program_invocation_short_name) != 0))
		return;
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return;
	mapped = mmap(NULL, sizeof(*plan), PROT_READ | PROT_WRITE, MAP_SHARED,
	              fd, 0);
	close(fd);
	if (mapped != MAP_FAILED)
		plan = mapped;
}

/* ---- memory ---- */

void *
malloc(size_t size)
{
	if (fails(KIND_MEMORY, "malloc")) {
		errno = ENOMEM;
		return NULL;
	}
	return __libc_malloc(size);
}

void *
calloc(size_t count, size_t size)
{
	if (fails(KIND_MEMORY, "calloc")) {
		errno = ENOMEM;
		return NULL;
	}
	return __libc_calloc(count, size);
}

void *
realloc(void *p, size_t size)
{
	if (size > 0 && fails(KIND_MEMORY, "realloc")) {
		errno = ENOMEM;
		return NULL;
	}
	return __libc_realloc(p, size);
}

/* libc's own would not come by here. */
char *
strdup(const char *s)
{
	size_t size = strlen(s) + 1;
	char *copy = malloc(size);

	return copy == NULL ? NULL : memcpy(copy, s, size);
}

/* ---- everything else: what it is, and as what it fails ---- */

#define REAL(name) ((__typeof__(name) *)real(#name))

static void *
real(const char *name)
{
	void *found = dlsym(RTLD_NEXT, name);

	if (found == NULL)
		abort();
	return found;
}

/* A socket that failed is dead, or the other side would wait for ever for
 * what is told here to be gone. */
static void
kill_socket(int fd)
{
	int saved = errno;

	(void)shutdown(fd, SHUT_RDWR); /* of a file it does nothing */
	errno = saved;
}

/* The pipe in which a process tells itself of its signals cannot fail. */
static bool
is_pipe(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISFIFO(st.st_mode);
}

#define WRAP(kind, error, type, name, parameters, ...)                         \
	WRAP_WITH(fails(kind, #name), error, (void)0, type, name, parameters,  \
	          __VA_ARGS__)
#define WRAP_IO(error, type, name, parameters, ...)                            \
	WRAP_WITH(!is_pipe(fd) && fails(KIND_IO, #name), error,                \
	          kill_socket(fd), type, name, parameters, __VA_ARGS__)
#define WRAP_WITH(fails_now, error, also, type, name, parameters, ...)              \
	type name parameters                                                   \
	{                                                                      \
		static __typeof__(name) *next;                                 \
                                                                               \
		if (next == NULL)                                              \
			next = REAL(name);                                     \
		if (fails_now) {                                               \
			also;                                                  \
			errno = error;                                         \
			return -1;                                             \
		}                                                              \
		return next(__VA_ARGS__);                                      \
	}

WRAP(KIND_SOCKET, EMFILE, int, socket, (int a, int b, int c), a, b, c)
WRAP(KIND_SOCKET, EMFILE, int, socketpair, (int a, int b, int c, int d[2]), a,
     b, c, d)
WRAP(KIND_SOCKET, EAGAIN, int, connect,
     (int fd, const struct sockaddr *to, socklen_t len), fd, to, len)
WRAP(KIND_SOCKET, EADDRINUSE, int, bind,
     (int fd, const struct sockaddr *to, socklen_t len), fd, to, len)
WRAP(KIND_SOCKET, EADDRINUSE, int, listen, (int fd, int backlog), fd, backlog)
WRAP(KIND_SOCKET, EMFILE, int, accept4,
     (int fd, struct sockaddr *from, socklen_t *len, int flags), fd, from, len,
     flags)
WRAP(KIND_SOCKET, ENOBUFS, int, getsockopt,
     (int fd, int level, int option, void *value, socklen_t *len), fd, level,
     option, value, len)

WRAP_IO(EIO, ssize_t, read, (int fd, void *to, size_t size), fd, to,
     size)
WRAP_IO(EIO, ssize_t, pread64,
     (int fd, void *to, size_t size, off64_t at), fd, to, size, at)
WRAP_IO(ENOSPC, ssize_t, pwrite64,
     (int fd, const void *from, size_t size, off64_t at), fd, from, size, at)
WRAP_IO(ENOSPC, ssize_t, write, (int fd, const void *from, size_t size),
     fd, from, size)
WRAP_IO(ECONNRESET, ssize_t, recv,
     (int fd, void *to, size_t size, int flags), fd, to, size, flags)
WRAP_IO(ECONNRESET, ssize_t, recvmsg,
     (int fd, struct msghdr *to, int flags), fd, to, flags)
WRAP_IO(EPIPE, ssize_t, send,
     (int fd, const void *from, size_t size, int flags), fd, from, size, flags)
WRAP_IO(EPIPE, ssize_t, sendmsg,
     (int fd, const struct msghdr *from, int flags), fd, from, flags)
WRAP_IO(EPIPE, ssize_t, writev,
     (int fd, const struct iovec *from, int count), fd, from, count)

WRAP(KIND_FILE, EIO, int, fsync, (int fd), fd)
WRAP(KIND_FILE, ENOSPC, int, ftruncate64, (int fd, off64_t size), fd, size)
WRAP(KIND_FILE, ENOSPC, int, fallocate64,
     (int fd, int mode, off64_t at, off64_t size), fd, mode, at, size)
WRAP(KIND_FILE, EIO, int, renameat,
     (int a, const char *from, int b, const char *to), a, from, b, to)
WRAP(KIND_FILE, EMFILE, int, memfd_create, (const char *name, unsigned flags),
     name, flags)

WRAP(KIND_PROCESS, EAGAIN, pid_t, fork, (void))
WRAP(KIND_PROCESS, ENOMEM, int, execve,
     (const char *path, char *const argv[], char *const envp[]), path, argv,
     envp)

/* With a mode only where a file may be made. */
#define WRAP_OPEN(name, before, ...)                                           \
	int name before                                                        \
	{                                                                      \
		static __typeof__(name) *next;                                 \
		mode_t mode = 0;                                               \
		va_list args;                                                  \
                                                                               \
		if (next == NULL)                                              \
			next = REAL(name);                                     \
		if ((flags & O_CREAT) != 0 || (flags & O_TMPFILE) == O_TMPFILE) {      \
			va_start(args, flags);                                 \
			mode = va_arg(args, mode_t);                           \
			va_end(args);                                          \
		}                                                              \
		if (fails(KIND_FILE, #name)) {                                 \
			errno = EMFILE;                                        \
			return -1;                                             \
		}                                                              \
		return next(__VA_ARGS__, flags, mode);                         \
	}

WRAP_OPEN(open, (const char *path, int flags, ...), path)
WRAP_OPEN(open64, (const char *path, int flags, ...), path)
WRAP_OPEN(openat64, (int at, const char *path, int flags, ...), at, path)
