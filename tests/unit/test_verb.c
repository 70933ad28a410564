/* Tests of common/verb.h and supervisor/access.h: the table of verbs, and who
 * has which role. */
#include "common/verb.h"

#include <ctype.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "supervisor/access.h"
#include "tests/unit/unit.h"

#define OWNER 1000
#define RO 2001
#define OP 2002
#define ADM 2003

START_TEST(table)
{
	const struct verb_row *row = &verb_table[_i];

	ck_assert_int_eq(verb_find(slice_of(row->name)), _i);
	/* One that everybody may ask would be a mistake. */
	ck_assert_int_ge(row->role, ROLE_READ_ONLY);
	ck_assert_int_le(row->role, ROLE_ADMIN);
	ck_assert_uint_gt(strlen(row->help), 0);
	for (const char *p = row->name; *p != '\0'; p++)
		ck_assert(islower((unsigned char)*p) || *p == '_');
}
END_TEST

static const struct {
	const char *text;
	size_t len;
} strangers[] = {
	{ "", 0 },
	{ "statu", 5 },
	{ "status ", 7 },
	{ "Status", 6 },
	{ "status\0", 7 },
	{ "stop\0", 5 },
	{ "\0stop", 5 },
	{ "stop.now", 8 },
};

START_TEST(no_other_name)
{
	struct slice name = { (const uint8_t *)strangers[_i].text,
		              strangers[_i].len };

	ck_assert_int_eq(verb_find(name), VERB_COUNT);
}
END_TEST

static const struct {
	const char *name;
	uid_t uid;
	gid_t gid;
	gid_t groups[3];
	uint32_t count;
	bool configured;
	enum role role;
} people[] = {
	{ "root", 0, 0, { 0 }, 0, true, ROLE_ADMIN },
	{ "root without groups", 0, 77, { 0 }, 0, false, ROLE_ADMIN },
	{ "the owner", OWNER, 1, { 0 }, 0, false, ROLE_ADMIN },
	{ "somebody", 1001, 1001, { 0 }, 0, true, ROLE_REFUSED },
	{ "group 0 is no role", 1001, 0, { 0, 0 }, 2, true, ROLE_REFUSED },
	{ "read-only", 1001, RO, { 0 }, 0, true, ROLE_READ_ONLY },
	{ "supplementary", 1001, 1001, { 4, OP }, 2, true, ROLE_OPERATOR },
	{ "the most of several", 1001, RO, { OP, ADM }, 2, true, ROLE_ADMIN },
	{ "in any order", 1001, 5, { ADM, RO, OP }, 3, true, ROLE_ADMIN },
	{ "no groups configured", 1001, RO, { OP, ADM }, 2, false,
	  ROLE_REFUSED },
	{ "not even the number for none", 1001, ACCESS_NO_GROUP,
	  { ACCESS_NO_GROUP }, 1, false, ROLE_REFUSED },
};

START_TEST(roles)
{
	struct access a = { .owner = OWNER };

	for (int i = 0; i <= ROLE_ADMIN; i++)
		a.groups[i] = ACCESS_NO_GROUP;
	if (people[_i].configured) {
		a.groups[ROLE_READ_ONLY] = RO;
		a.groups[ROLE_OPERATOR] = OP;
		a.groups[ROLE_ADMIN] = ADM;
	}
	CASE(&people[_i],
	     access_role(&a, people[_i].uid, people[_i].gid, people[_i].groups,
	                 people[_i].count) == people[_i].role);
}
END_TEST

START_TEST(from_the_kernel)
{
	struct config config = { .control_group_op = (char[]){ "54321" } };
	struct access_peer peer;
	struct access a;
	struct error err;
	bool any;
	int pair[2];

	ck_assert_int_eq(access_open(&a, &config, &err), 0);
	ck_assert_uint_eq(a.groups[ROLE_OPERATOR], 54321);
	ck_assert_uint_eq(access_only_group(&a, &any), 54321);
	ck_assert(any);
	a.groups[ROLE_ADMIN] = 1;
	ck_assert_uint_eq(access_only_group(&a, &any), ACCESS_NO_GROUP);
	ck_assert(any);
	ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
	ck_assert_int_eq(access_peer_get(&a, pair[0], &peer), 0);
	ck_assert_uint_eq(peer.uid, getuid());
	ck_assert_uint_eq(peer.gid, getgid());
	ck_assert_int_eq(peer.pid, getpid());
	ck_assert_int_eq(peer.role, ROLE_ADMIN);
	ck_assert_int_lt(access_peer_get(&a, STDIN_FILENO, &peer), 0);
	config.control_group_op = (char[]){ "no such group" };
	ck_assert_int_lt(access_open(&a, &config, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.message, "control_group_op"));
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ table, VERB_COUNT },
		{ no_other_name, COUNT(strangers) },
		{ roles, COUNT(people) },
		{ from_the_kernel, 0 },
	};

	return unit_run("verb", tests, COUNT(tests));
}
