/* Tests of common/sandbox.h: each thing that is given up, tried for real, and
 * what has to go on working. */
#include "common/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/unit.h"

#define FINE 0
#define ABSENT 77 /* there is no seccomp here */
#define NOT_APPLIED 78
#define KILLED 1000 /* more than any errno */

enum deed {
	EXEC,
	FORK,
	VFORK,
	CLONE3,
	PTRACE,
	READ_OTHER,
	MOUNT,
	BPF,
	PERF,
	USERFAULTFD,
	KEYCTL,
	IO_URING,
	UNSHARE,
	SETUID,
	LISTEN,
	ODD_SOCKET,
	OPEN_WRITE,
	CREATE,
	UNLINK,
	KILL_PARENT,
	KILL_PARENT_TGKILL,
	X32,
	I386,
	/* these must work */
	OPEN_READ,
	RESOLVE,
	THREAD,
	SOCKETS,
	ABORTS,
};

static void *
thread_main(void *arg)
{
	return arg;
}

static int
done(long rc)
{
	return rc >= 0 ? FINE : errno;
}

static int
resolve(void)
{
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *found;
	int rc = getaddrinfo("localhost", "5432", &hints, &found);

	if (rc != 0)
		return 1;
	freeaddrinfo(found);
	/* What has to be asked for fails or not, but it is survived. */
	if (getaddrinfo("rappel-test.invalid", NULL, &hints, &found) == 0)
		freeaddrinfo(found);
	return FINE;
}

static int
by_deed(enum deed deed, pid_t parent)
{
	char byte = 0;
	struct iovec local = { &byte, 1 }, remote = { &byte, 1 };
	char *const argv[] = { (char[]){ "/bin/true" }, NULL };
	pthread_t thread;
	void *back;
	pid_t pid;
	int fd;

	switch (deed) {
	case EXEC:
		return done(execv(argv[0], argv));
	case FORK:
		pid = fork();
		if (pid == 0)
			_exit(0);
		return done(pid);
	case VFORK:
		pid = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
		if (pid == 0)
			_exit(0);
		return done(pid);
	case CLONE3:
		return done(syscall(SYS_clone3, NULL, 0));
	case PTRACE:
		return done(ptrace(PTRACE_ATTACH, parent, 0, 0));
	case READ_OTHER:
		return done(process_vm_readv(parent, &local, 1, &remote, 1, 0));
	case MOUNT:
		return done(mount("none", "/nowhere", "tmpfs", 0, NULL));
	case BPF:
		return done(syscall(SYS_bpf, 9999, NULL, 0));
	case PERF:
		return done(syscall(SYS_perf_event_open, NULL, 0, -1, -1, 0));
	case USERFAULTFD:
		return done(syscall(SYS_userfaultfd, -1));
	case KEYCTL:
		return done(syscall(SYS_keyctl, 0, -3, 0));
	case IO_URING:
		return done(syscall(SYS_io_uring_setup, 0, NULL));
	case UNSHARE:
		return done(unshare(CLONE_NEWNS));
	case SETUID:
		return done(setuid(getuid()));
	case LISTEN:
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		return done(listen(fd, 1));
	case ODD_SOCKET:
		return done(socket(AF_PACKET, SOCK_RAW, 0));
	case OPEN_WRITE:
		return done(open("/dev/null", O_RDWR));
	case CREATE:
		return done(open("/tmp/rappel-sandbox-test",
		                 O_RDONLY | O_CREAT, 0600));
	case UNLINK:
		return done(unlink("/tmp/rappel-sandbox-test"));
	case KILL_PARENT:
		return done(kill(parent, 0));
	case KILL_PARENT_TGKILL:
		return done(syscall(SYS_tgkill, parent, parent, 0));
	case X32:
#ifdef __x86_64__
		return done(syscall(0x40000000 | SYS_getpid));
#else
		return 0;
#endif
	case I386:
#ifdef __x86_64__
	{
		long rc;

		/* getpid, by the door of 32-bit programs */
		__asm__ volatile("int $0x80" : "=a"(rc) : "a"(20L) : "memory");
		return rc > 0 ? FINE : (int)-rc;
	}
#else
		return 0;
#endif
	case OPEN_READ:
		return done(open("/etc/passwd", O_RDONLY));
	case RESOLVE:
		return resolve();
	case THREAD:
		if (pthread_create(&thread, NULL, thread_main, &byte) != 0)
			return errno;
		return pthread_join(thread, &back) == 0 && back == &byte ? FINE
		                                                         : 1;
	case SOCKETS:
		return done(socket(AF_INET, SOCK_STREAM, 0)) != FINE ||
		       done(socket(AF_UNIX, SOCK_STREAM, 0)) != FINE;
	case ABORTS:
		signal(SIGABRT, SIG_IGN);
		return done(raise(SIGABRT));
	}
	return -1;
}

/* What became of it in a process of its own. */
static int
outcome(pid_t pid)
{
	int status;

	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	if (WIFSIGNALED(status))
		return WTERMSIG(status) == SIGSYS ? KILLED : -WTERMSIG(status);
	return WEXITSTATUS(status);
}

static const struct {
	const char *name;
	enum deed deed;
	int database; /* FINE, an errno, or KILLED */
	int worker;   /* FINE, EPERM, or -1: as the kernel likes */
} cases[] = {
	{ "exec", EXEC, KILLED, FINE },
	{ "fork", FORK, KILLED, FINE },
	{ "clone", VFORK, KILLED, FINE },
	{ "clone3", CLONE3, ENOSYS, -1 },
	{ "ptrace", PTRACE, KILLED, EPERM },
	{ "process_vm_readv", READ_OTHER, KILLED, EPERM },
	{ "mount", MOUNT, KILLED, EPERM },
	{ "bpf", BPF, KILLED, EPERM },
	{ "perf", PERF, KILLED, EPERM },
	{ "userfaultfd", USERFAULTFD, KILLED, EPERM },
	{ "keyctl", KEYCTL, EPERM, EPERM },
	{ "io_uring", IO_URING, KILLED, EPERM },
	{ "unshare", UNSHARE, KILLED, -1 },
	{ "setuid", SETUID, KILLED, FINE },
	{ "listen", LISTEN, KILLED, -1 },
	{ "packet socket", ODD_SOCKET, KILLED, -1 },
	{ "open for writing", OPEN_WRITE, EACCES, FINE },
	{ "create", CREATE, EACCES, FINE },
	{ "unlink", UNLINK, EACCES, -1 },
	{ "kill", KILL_PARENT, EPERM, FINE },
	{ "tgkill", KILL_PARENT_TGKILL, EPERM, FINE },
#ifdef __x86_64__
	{ "x32", X32, KILLED, EPERM },
	{ "32-bit entry", I386, KILLED, -1 },
#endif
	{ "open for reading", OPEN_READ, FINE, FINE },
	{ "host names", RESOLVE, FINE, FINE },
	{ "a thread", THREAD, FINE, FINE },
	{ "sockets", SOCKETS, FINE, FINE },
	{ "its own signals", ABORTS, FINE, FINE },
};

START_TEST(database)
{
	pid_t parent = getpid();
	pid_t pid = fork();
	int got;

	if (pid == 0) {
		int rc = sandbox_database(SANDBOX_ON);

		if (rc == -ENOSYS)
			_exit(ABSENT);
		_exit(rc < 0 ? NOT_APPLIED : by_deed(cases[_i].deed, parent));
	}
	got = outcome(pid);
	if (got == ABSENT)
		return;
	ck_assert_msg(got == cases[_i].database, "%s: %d instead of %d",
	              cases[_i].name, got, cases[_i].database);
}
END_TEST

START_TEST(worker)
{
	struct sock_fprog program;
	int rc = sandbox_compile(SANDBOX_ON, &program);
	pid_t parent = getpid();
	pid_t pid;
	int got;

	if (rc == -ENOSYS) {
		ck_assert_uint_eq(program.len, 0);
		return;
	}
	ck_assert_int_eq(rc, 0);
	pid = fork();
	if (pid == 0) {
		if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
		    sandbox_apply(&program) != 0)
			_exit(NOT_APPLIED);
		_exit(by_deed(cases[_i].deed, parent));
	}
	got = outcome(pid);
	ck_assert_int_ne(got, NOT_APPLIED);
	if (cases[_i].worker >= 0)
		ck_assert_msg(got == cases[_i].worker, "%s: %d instead of %d",
		              cases[_i].name, got, cases[_i].worker);
	else
		ck_assert_int_ne(got, KILLED);
	sandbox_free(&program);
	ck_assert_uint_eq(program.len, 0);
}
END_TEST

/* Switched off it does nothing; log lets everything happen. */
START_TEST(modes)
{
	struct sock_fprog program;
	pid_t pid = fork();

	if (pid == 0) {
		int rc = sandbox_database(_i == 0 ? SANDBOX_OFF : SANDBOX_LOG);

		if (rc == -ENOSYS && _i == 1)
			_exit(0);
		_exit(rc < 0 ? NOT_APPLIED : by_deed(OPEN_WRITE, 0));
	}
	ck_assert_int_eq(outcome(pid), FINE);
	if (_i == 0) {
		ck_assert_int_eq(sandbox_compile(SANDBOX_OFF, &program), 0);
		ck_assert_uint_eq(program.len, 0);
		ck_assert_int_eq(sandbox_apply(&program), 0);
	}
}
END_TEST

START_TEST(no_dumps)
{
	pid_t pid = fork();
	struct rlimit core;

	if (pid == 0) {
		sandbox_no_dumps();
		_exit(prctl(PR_GET_DUMPABLE) == 0 &&
		              getrlimit(RLIMIT_CORE, &core) == 0 &&
		              core.rlim_cur == 0
		          ? 0
		          : 1);
	}
	ck_assert_int_eq(outcome(pid), 0);
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ database, COUNT(cases) },
		{ worker, COUNT(cases) },
		{ modes, 2 },
		{ no_dumps, 0 },
	};

	return unit_run("sandbox", tests, COUNT(tests));
}
