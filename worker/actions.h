/*
 * actions - the built-in actions, by name.
 *
 * docs/actions.md describes them for those who write workflows.
 */
#ifndef WORKER_ACTIONS_H
#define WORKER_ACTIONS_H

#include "worker/worker.h"

struct rappel_task;

struct action {
	const char *name;
	/* Fills a reset outcome. May block for as long as it likes. */
	void (*run)(const struct task *t, struct outcome *o);
	/* It may take long: what is finished goes out before it begins. */
	bool slow;
	/* Of a plugin: its function, and the file that it is from. */
	void (*plugin_run)(struct rappel_task *t);
	const char *file;
};

#define ACTIONS_COUNT 5U
extern const struct action actions[ACTIONS_COUNT];

#endif
