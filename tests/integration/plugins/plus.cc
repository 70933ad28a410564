/* A plugin in C++, whose RAPPEL_PLUGIN() is the same. */
#include <rappel/action.h>

static void
plus(struct rappel_task *t)
{
	int64_t a = 0, b = 0;

	(void)rappel_int(t, rappel_at(t, rappel_input(t), 0), &a);
	(void)rappel_int(t, rappel_at(t, rappel_input(t), 1), &b);
	rappel_put_int(t, a + b);
}

static const struct rappel_action actions[] = { { "plus", plus, 0 } };

RAPPEL_PLUGIN("plus", actions);
