/* Tests of supervisor/reap.h: wait statuses as verdicts and in words. */
#include "supervisor/reap.h"

#include <string.h>

#include "tests/unit/unit.h"

#define EXITED(code) ((code) << 8)

static const struct {
	const char *name;
	int status;
	enum verdict verdict;
	int code;
	const char *text;
} cases[] = {
	{ "clean", EXITED(0), VERDICT_CLEAN, 0, "exit status 0" },
	{ "failed", EXITED(1), VERDICT_AGAIN, 1, "exit status 1" },
	{ "a bug", EXITED(70), VERDICT_AGAIN, 70, "exit status 70" },
	{ "fenced", EXITED(75), VERDICT_FENCED, 75, "exit status 75" },
	{ "permission", EXITED(77), VERDICT_REFUSED, 77, "exit status 77" },
	{ "configuration", EXITED(78), VERDICT_REFUSED, 78, "exit status 78" },
	{ "no program", EXITED(127), VERDICT_AGAIN, 127,
	  "program could not be executed" },
	{ "killed", 9, VERDICT_AGAIN, 137, "killed by signal 9" },
	{ "crashed", 11 | 0x80, VERDICT_AGAIN, 139,
	  "killed by signal 11 (core dumped)" },
};

START_TEST(verdicts)
{
	char text[64];

	reap_text(cases[_i].status, text, sizeof(text));
	CASE(&cases[_i], reap_verdict(cases[_i].status) == cases[_i].verdict);
	CASE(&cases[_i], reap_code(cases[_i].status) == cases[_i].code);
	CASE(&cases[_i], strcmp(text, cases[_i].text) == 0);
}
END_TEST

int
main(void)
{
	const struct unit_test tests[] = {
		{ verdicts, COUNT(cases) },
	};

	return unit_run("reap", tests, COUNT(tests));
}
