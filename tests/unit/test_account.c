/* Tests of supervisor/account.h: a look at users that fails is not a user who
 * is not there. This program's own getpwnam() and getpwuid() come before
 * libc's. */
#include "supervisor/account.h"

#include <errno.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "supervisor/reap.h"
#include "tests/unit/unit.h"

/* What the two give: the entry, or NULL with that errno. */
static struct passwd *entry;
static int entry_errno;
static uid_t asked_for;

struct passwd *
getpwnam(const char *name)
{
	(void)name;
	errno = entry_errno;
	return asked_for == 0 ? entry : NULL;
}

struct passwd *
getpwuid(uid_t uid)
{
	errno = entry_errno;
	return uid == asked_for ? entry : NULL;
}

static const struct {
	const char *name;
	int error;
	int found; /* what account_open() gives */
} looks[] = {
	{ "nothing said", 0, -ENOENT },
	{ "no such file", ENOENT, -ENOENT },
	{ "no such process", ESRCH, -ENOENT },
	{ "bad descriptor", EBADF, -ENOENT },
	{ "not permitted", EPERM, -ENOENT },
	{ "no memory", ENOMEM, -ENOMEM },
	{ "interrupted", EINTR, -EINTR },
	{ "input/output", EIO, -EIO },
	{ "too many files", EMFILE, -EMFILE },
	{ "too many files in the system", ENFILE, -ENFILE },
	{ "no answer in time", EAGAIN, -EAGAIN },
};

START_TEST(not_there_or_not_known)
{
	/* Both looks, and the first alone. */
	static const char *const names[] = { "mallory", "4711" };
	struct account a;

	entry = NULL;
	entry_errno = looks[_i].error;
	for (int i = 0; i < COUNT(names); i++) {
		struct error err = { .message = "" };
		bool known = looks[_i].found == -ENOENT;
		int rc = account_configured(&a, names[i], "line 3", &err);

		CASE(&looks[_i], account_open(&a, names[i]) == looks[_i].found);
		CASE(&looks[_i], rc == (known ? EXIT_CONFIG : EXIT_FAILURE));
		CASE(&looks[_i], strstr(err.message, "line 3: ") != NULL);
		CASE(&looks[_i], strstr(err.message, names[i]) != NULL);
		CASE(&looks[_i],
		     strstr(err.message, known ? "there is no user" :
		                                 "cannot be looked up") != NULL);
	}
}
END_TEST

static char user_name[] = "alice", user_home[] = "/home/alice", nowhere[] = "";

START_TEST(found)
{
	struct passwd alice = { .pw_name = user_name, .pw_dir = user_home,
		                .pw_uid = 1234, .pw_gid = 1235 };
	struct account a;

	entry = &alice;
	entry_errno = EINTR; /* which means nothing with an entry */
	ck_assert_int_eq(account_open(&a, "alice"), 0);
	ck_assert_str_eq(a.name, "alice");
	ck_assert_str_eq(a.home, "/home/alice");
	ck_assert_uint_eq(a.uid, 1234);
	ck_assert_uint_eq(a.gid, 1235);
	ck_assert_int_ge(a.group_count, 1);
	ck_assert_uint_eq(a.groups[0], 1235);
	account_fini(&a);

	alice.pw_dir = nowhere;
	asked_for = 1234;
	ck_assert_int_eq(account_open(&a, "1234"), 0);
	ck_assert_str_eq(a.name, "alice");
	ck_assert_str_eq(a.home, "/");
	account_fini(&a);
	entry_errno = 0;
	ck_assert_int_eq(account_open(&a, "1235"), -ENOENT);
	ck_assert_int_eq(account_open(&a, "alice"), -ENOENT);
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ not_there_or_not_known, COUNT(looks) },
		{ found, 0 },
	};

	return unit_run("account", tests, COUNT(tests));
}
