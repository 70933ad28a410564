/*
 * misfit - a plugin that is wrong in the one way that it is built for: with
 * -DMISFIT_ABI=2 and so on.
 */
#include <rappel/action.h>

#ifndef MISFIT_ABI
#define MISFIT_ABI RAPPEL_ABI
#endif
#ifndef MISFIT_SIZE
#define MISFIT_SIZE sizeof(struct rappel_plugin)
#endif
#ifndef MISFIT_API_SIZE
#define MISFIT_API_SIZE sizeof(struct rappel_api)
#endif
#ifndef MISFIT_ACTIONS
#define MISFIT_ACTIONS                                                         \
	{                                                                      \
		"misfit", run, 0                                               \
	}
#endif
#ifndef MISFIT_SYMBOL
#define MISFIT_SYMBOL rappel_plugin_1
#endif

#ifdef MISFIT_MISSES
extern void misfit_is_nowhere(void);
#else
static void
misfit_is_nowhere(void)
{
}
#endif

RAPPEL_EXPORT extern const struct rappel_plugin MISFIT_SYMBOL;

static void __attribute__((unused)) run(struct rappel_task *t)
{
	misfit_is_nowhere();
	rappel_put_null(t);
}

static const struct rappel_action actions[] = { MISFIT_ACTIONS };

const struct rappel_plugin MISFIT_SYMBOL = {
	.abi = MISFIT_ABI,
	.size = MISFIT_SIZE,
	.api_size = MISFIT_API_SIZE,
	.action_size = sizeof(struct rappel_action),
	.name = "misfit",
	.actions = actions,
	.action_count = sizeof(actions) / sizeof(actions[0]),
};
