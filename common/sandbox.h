/*
 * sandbox - system calls that a process gives up for good.
 *
 * Lists of what is denied, not of what is allowed: name services, TLS and
 * Kerberos libraries differ from host to host, and a database session that
 * ends on somebody's host for a call nobody thought of is worse than a longer
 * list. What is not denied costs nothing (the kernel keeps a bitmap of it).
 *
 * Where there is no seccomp (old kernel, container, built without libseccomp,
 * address sanitizer) every function says -ENOSYS and nothing is confined.
 */
#ifndef COMMON_SANDBOX_H
#define COMMON_SANDBOX_H

#include <linux/filter.h>

#include "common/assert.h"
#include "common/config.h"

/*
 * No core file, and no other process of the same user that looks into this
 * one by /proc or ptrace. Holds until the next exec or change of user.
 */
void sandbox_no_dumps(void);

/*
 * For a process that talks to the database, once it is set up: no new
 * processes, no exec, nobody else's memory, no identities, no mounts, no
 * server sockets: the process is killed (SIGSYS) for trying. Opening for
 * writing and changing files fails with EACCES, signals to others with EPERM.
 * 0 or -errno; with SANDBOX_OFF 0.
 */
int sandbox_database(enum sandbox_mode mode) MUST_CHECK;

/*
 * For programs of users: what reaches into other processes or into the kernel
 * fails with EPERM. Compiled here, in the parent; release *out with
 * sandbox_free(). With SANDBOX_OFF and on failure it is empty.
 */
int sandbox_compile(enum sandbox_mode mode, struct sock_fprog *out) MUST_CHECK;
void sandbox_free(struct sock_fprog *program);
/*
 * In the child, between fork and exec, behind no_new_privs. An empty program
 * does nothing. 0 or -errno.
 */
int sandbox_apply(const struct sock_fprog *program) MUST_CHECK;

#endif
