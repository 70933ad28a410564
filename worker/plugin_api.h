/*
 * plugin_api - what a plugin's action can do: the other side of
 * <rappel/action.h>.
 *
 * Knows the runtime and the action that runs; nothing of how plugins are
 * loaded.
 */
#ifndef WORKER_PLUGIN_API_H
#define WORKER_PLUGIN_API_H

#include "worker/include/rappel/action.h"
#include "worker/worker.h"

extern const struct rappel_api plugin_api;

/* Runs t->by->plugin_run. */
void plugin_api_run(const struct task *t, struct outcome *o);
/* Frees what it grew to. */
void plugin_api_fini(void);

#endif
