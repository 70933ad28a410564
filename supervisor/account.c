/*
 * account - a user's numbers, and becoming it for good.
 */
#include "supervisor/account.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/units.h"
#include "supervisor/reap.h"

/* getpwnam(3) lists what name services say of a user that they do not have;
 * everything else is a look that failed. */
static int
not_found(int error)
{
	switch (error) {
	case 0:
	case ENOENT:
	case ESRCH:
	case EBADF:
	case EPERM:
		return -ENOENT;
	default:
		return -error;
	}
}

int
account_open(struct account *a, const char *name)
{
	const struct passwd *pw;
	uint64_t number;
	int count = 0;

	*a = (struct account){ 0 };
	errno = 0;
	pw = getpwnam(name);
	if (pw == NULL && units_parse(name, units_count, &number) == 0 &&
	    number < (uid_t)-1) {
		errno = 0;
		pw = getpwuid((uid_t)number);
	}
	if (pw == NULL)
		return not_found(errno);
	a->name = mem_strdup(pw->pw_name);
	a->home = mem_strdup(pw->pw_dir[0] != '\0' ? pw->pw_dir : "/");
	a->uid = pw->pw_uid;
	a->gid = pw->pw_gid;
	/* Says how many there are when there is no room. */
	(void)getgrouplist(a->name, a->gid, NULL, &count);
	a->groups = mem_calloc((size_t)count + 1, sizeof(*a->groups));
	a->group_count = count;
	if (getgrouplist(a->name, a->gid, a->groups, &a->group_count) < 0)
		a->group_count = 0;
	return 0;
}

bool
account_can_change(void)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3
	};
	struct __user_cap_data_struct now[_LINUX_CAPABILITY_U32S_3] = { 0 };
	uint32_t need = 1U << CAP_SETUID | 1U << CAP_SETGID | 1U << CAP_KILL;

	return syscall(SYS_capget, &header, now) == 0 &&
	       (now[0].effective & need) == need;
}

int
account_configured(struct account *a, const char *name, const char *where,
                   struct error *err)
{
	int rc = account_open(a, name);

	if (rc == -ENOENT) {
		error_set(err, "%s: there is no user \"%.60s\"", where, name);
		return EXIT_CONFIG;
	}
	if (rc < 0) {
		error_set(err, "%s: the user \"%.60s\" cannot be looked up: %s",
		          where, name, strerror(-rc));
		return EXIT_FAILURE;
	}
	/* To become oneself takes no right to change. */
	if (a->uid == geteuid() || account_can_change())
		return 0;
	account_fini(a);
	error_set(err,
	          "%s: to run workers as %.60s rappeld must be started by root",
	          where, name);
	return EXIT_PERMISSION;
}

void
account_fini(struct account *a)
{
	free(a->name);
	free(a->home);
	free(a->groups);
	*a = (struct account){ 0 };
}

/* A user that is not root keeps what it held when its number changes. */
int
account_drop_capabilities(void)
{
	struct __user_cap_header_struct header = {
		.version = _LINUX_CAPABILITY_VERSION_3
	};
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return syscall(SYS_capset, &header, none) == 0 ? 0 : -errno;
}

int
account_become(const struct account *a)
{
	uid_t uid[3];
	gid_t gid[3];
	int rc;

	if (setgroups((size_t)a->group_count, a->groups) != 0 ||
	    setresgid(a->gid, a->gid, a->gid) != 0 ||
	    setresuid(a->uid, a->uid, a->uid) != 0)
		return -errno;
	if (getresuid(&uid[0], &uid[1], &uid[2]) != 0 ||
	    getresgid(&gid[0], &gid[1], &gid[2]) != 0)
		return -errno;
	for (int i = 0; i < 3; i++) {
		if (uid[i] != a->uid || gid[i] != a->gid)
			return -EPERM;
	}
	if (a->uid == 0)
		return 0;
	rc = account_drop_capabilities();
	if (rc == 0 && (setuid(0) == 0 || setgid(0) == 0 ||
	                setgroups(0, NULL) == 0))
		rc = -EPERM;
	return rc;
}
