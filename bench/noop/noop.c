/*
 * noop - the noop of bench/languages in C.
 */
#include <rappel/action.h>

static void
noop(struct rappel_task *t)
{
	rappel_put_null(t);
}

static const struct rappel_action actions[] = { { "noop", noop, 0 } };
RAPPEL_PLUGIN("noop", actions);
