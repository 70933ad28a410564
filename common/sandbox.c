/*
 * sandbox - two lists of system calls, and libseccomp that makes filters of
 * them.
 */
#include "common/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/mem.h"

/* Its leak checker traces the process from a clone of it. */
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

#if defined(HAVE_SECCOMP) && !defined(SANITIZED)
#include <seccomp.h>


/* What neither a worker nor the flusher has any business with. Names, as not
 * every architecture and library knows each. */
static const char *const alien[] = {
	/* other processes */
	"ptrace", "process_vm_readv", "process_vm_writev", "process_madvise",
	"pidfd_getfd", "kcmp",
	/* mounts and other views of files */
	"mount", "umount", "umount2", "pivot_root", "chroot", "open_tree",
	"move_mount", "fsopen", "fsconfig", "fsmount", "fspick",
	"mount_setattr", "open_by_handle_at", "quotactl",
	"quotactl_fd", "setns", "swapon", "swapoff",
	/* the kernel and the machine */
	"bpf", "perf_event_open", "userfaultfd", "kexec_load",
	"kexec_file_load", "init_module", "finit_module", "delete_module",
	"io_uring_setup", "io_uring_enter", "io_uring_register", "reboot",
	"settimeofday", "clock_settime", "clock_settime64", "clock_adjtime",
	"clock_adjtime64", "adjtimex", "stime", "sethostname",
	"setdomainname", "iopl", "ioperm", "acct", "syslog", "lookup_dcookie",
	"vm86", "vm86old",
};

static const char *const keys[] = { "keyctl", "add_key", "request_key" };

/* What the flusher does not do either: to try is to be taken over. */
static const char *const deadly[] = {
	"execve",    "execveat",   "fork",        "vfork",     "unshare",
	"setuid",    "setgid",     "setreuid",    "setregid",  "setresuid",
	"setresgid", "setfsuid",   "setfsgid",    "setgroups", "capset",
	"setuid32",  "setgid32",   "setreuid32",  "setregid32",
	"setresuid32", "setresgid32", "setgroups32", "personality",
	"listen",    "accept",     "accept4",     "modify_ldt",
};

/* Changes in the file system: libraries try some, and cope. */
static const char *const writing[] = {
	"creat",     "truncate", "truncate64", "rename",   "renameat",
	"renameat2", "link",     "linkat",     "symlink",  "symlinkat",
	"unlink",    "unlinkat", "mkdir",      "mkdirat",  "rmdir",
	"mknod",     "mknodat",  "chmod",      "fchmodat", "chown",
	"lchown",    "fchownat", "setxattr",   "lsetxattr", "fsetxattr",
};

/* Signals to anybody; abort() sends its own by tgkill, see below. */
static const char *const signals[] = { "kill", "tkill", "rt_sigqueueinfo",
	                               "rt_tgsigqueueinfo" };

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static int
add_all(scmp_filter_ctx filter, uint32_t action, const char *const *names,
        size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int number = seccomp_syscall_resolve_name(names[i]);
		int rc;

		if (number == __NR_SCMP_ERROR)
			continue;
		rc = seccomp_rule_add(filter, action, number, 0);
		/* -EDOM: not on this architecture. */
		if (rc < 0 && rc != -EDOM)
			return rc;
	}
	return 0;
}

static scmp_filter_ctx
filter_new(uint32_t bad_arch)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);

	if (filter == NULL)
		return NULL;
	(void)seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, bad_arch);
	/* Older kernels would make every branch slower from here on. */
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_SSB, 1);
	(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	return filter;
}

/* open and openat, by the flags that stand in argument n. */
static int
add_open(scmp_filter_ctx filter, uint32_t action, int number, unsigned n)
{
	static const unsigned bits[] = { O_WRONLY, O_RDWR, O_CREAT, O_TRUNC };
	int rc = 0;

	for (size_t i = 0; i < COUNT(bits) && rc == 0; i++)
		rc = seccomp_rule_add(
		    filter, action, number, 1,
		    SCMP_CMP(n, SCMP_CMP_MASKED_EQ, bits[i], bits[i]));
	return rc;
}

/* Sockets but for Unix, IP and netlink (interfaces, for name services). */
static int
add_socket(scmp_filter_ctx filter, uint32_t action)
{
	int rc = seccomp_rule_add(filter, action, SCMP_SYS(socket), 1,
	                          SCMP_A0(SCMP_CMP_GT, AF_NETLINK, 0));

	for (unsigned family = 0; family < AF_NETLINK && rc == 0; family++) {
		if (family != AF_UNIX && family != AF_INET &&
		    family != AF_INET6)
			rc = seccomp_rule_add(filter, action, SCMP_SYS(socket),
			                      1,
			                      SCMP_A0(SCMP_CMP_EQ, family,
			                              0));
	}
	return rc;
}

int
sandbox_database(enum sandbox_mode mode)
{
	bool log = mode == SANDBOX_LOG;
	uint32_t kill = log ? SCMP_ACT_LOG : SCMP_ACT_KILL_PROCESS;
	uint32_t eperm = log ? SCMP_ACT_LOG : SCMP_ACT_ERRNO(EPERM);
	uint32_t eacces = log ? SCMP_ACT_LOG : SCMP_ACT_ERRNO(EACCES);
	scmp_filter_ctx filter;
	int rc;

	if (mode == SANDBOX_OFF)
		return 0;
	filter = filter_new(kill);
	if (filter == NULL)
		return -ENOSYS;
	rc = add_all(filter, kill, alien, COUNT(alien));
	if (rc == 0)
		rc = add_all(filter, kill, deadly, COUNT(deadly));
	/* A cache of Kerberos tickets may lie there, and be done without. */
	if (rc == 0)
		rc = add_all(filter, eperm, keys, COUNT(keys));
	if (rc == 0)
		rc = add_all(filter, eacces, writing, COUNT(writing));
	if (rc == 0)
		rc = add_all(filter, eperm, signals, COUNT(signals));
	/* When the supervisor is gone it ends what workers left behind. */
	if (rc == 0)
		rc = seccomp_rule_add(filter, eperm,
		                      SCMP_SYS(pidfd_send_signal), 1,
		                      SCMP_A1(SCMP_CMP_NE, SIGKILL, 0));
	if (rc == 0)
		rc = seccomp_rule_add(
		    filter, eperm, SCMP_SYS(tgkill), 1,
		    SCMP_A0(SCMP_CMP_NE, (scmp_datum_t)getpid(), 0));
	/* A thread is fine. The flags of clone3 cannot be looked at: without
	 * it the C library takes clone. */
	if (rc == 0)
		rc = seccomp_rule_add(filter, kill, SCMP_SYS(clone), 1,
		                      SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD,
		                              0));
	if (rc == 0)
		rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS),
		                      SCMP_SYS(clone3), 0);
	if (rc == 0)
		rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS),
		                      SCMP_SYS(openat2), 0);
	if (rc == 0)
		rc = add_open(filter, eacces, SCMP_SYS(open), 1);
	if (rc == 0)
		rc = add_open(filter, eacces, SCMP_SYS(openat), 2);
	if (rc == 0)
		rc = add_socket(filter, kill);
	if (rc == 0)
		rc = seccomp_load(filter);
	seccomp_release(filter);
	return rc == -EINVAL || rc == -EFAULT ? -ENOSYS : rc;
}

/* What libseccomp writes into a file, as the kernel takes it. */
static int
export_program(scmp_filter_ctx filter, struct sock_fprog *out)
{
	int fd = memfd_create("rappel-filter", MFD_CLOEXEC);
	off_t size;
	int rc;

	if (fd < 0)
		return -errno;
	rc = seccomp_export_bpf(filter, fd);
	size = rc == 0 ? lseek(fd, 0, SEEK_CUR) : 0;
	if (rc == 0 && size > 0) {
		struct sock_filter *code = mem_alloc((size_t)size);

		if (pread(fd, code, (size_t)size, 0) == size) {
			out->filter = code;
			out->len = (unsigned short)((size_t)size /
			                            sizeof(*code));
		} else {
			rc = -EIO;
			free(code);
		}
	}
	close(fd);
	return rc;
}

int
sandbox_compile(enum sandbox_mode mode, struct sock_fprog *out)
{
	uint32_t action =
	    mode == SANDBOX_LOG ? SCMP_ACT_LOG : SCMP_ACT_ERRNO(EPERM);
	uint32_t known = SECCOMP_RET_ERRNO;
	scmp_filter_ctx filter;
	int rc;

	*out = (struct sock_fprog){ 0 };
	if (mode == SANDBOX_OFF)
		return 0;
	if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &known) != 0)
		return -ENOSYS;
	filter = filter_new(action);
	if (filter == NULL)
		return -ENOSYS;
	rc = 0;
	/* A 32-bit program of somebody's is confined, not broken. */
	if (seccomp_arch_native() == SCMP_ARCH_X86_64)
		rc = seccomp_arch_add(filter, SCMP_ARCH_X86);
	else if (seccomp_arch_native() == SCMP_ARCH_AARCH64)
		rc = seccomp_arch_add(filter, SCMP_ARCH_ARM);
	if (rc == 0)
		rc = add_all(filter, action, alien, COUNT(alien));
	if (rc == 0)
		rc = add_all(filter, action, keys, COUNT(keys));
	if (rc == 0)
		rc = export_program(filter, out);
	seccomp_release(filter);
	return rc;
}

int
sandbox_apply(const struct sock_fprog *program)
{
	if (program->len == 0)
		return 0;
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
	            SECCOMP_FILTER_FLAG_SPEC_ALLOW, program) != 0)
		return -errno;
	return 0;
}

#else /* no libseccomp */

int
sandbox_database(enum sandbox_mode mode)
{
	return mode == SANDBOX_OFF ? 0 : -ENOSYS;
}

int
sandbox_compile(enum sandbox_mode mode, struct sock_fprog *out)
{
	*out = (struct sock_fprog){ 0 };
	return mode == SANDBOX_OFF ? 0 : -ENOSYS;
}

int
sandbox_apply(const struct sock_fprog *program)
{
	return program->len == 0 ? 0 : -ENOSYS;
}

#endif

void
sandbox_no_dumps(void)
{
	struct rlimit core;

	(void)prctl(PR_SET_DUMPABLE, 0);
	if (getrlimit(RLIMIT_CORE, &core) == 0) {
		core.rlim_cur = 0;
		(void)setrlimit(RLIMIT_CORE, &core);
	}
}

void
sandbox_free(struct sock_fprog *program)
{
	free(program->filter);
	*program = (struct sock_fprog){ 0 };
}
