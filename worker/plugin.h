/*
 * plugin - shared modules with actions: found, checked, set up.
 *
 * Everything happens before HELLO. What is wrong with one is said in a
 * sentence that names what to do; nobody goes on without it.
 */
#ifndef WORKER_PLUGIN_H
#define WORKER_PLUGIN_H

#include "common/assert.h"
#include "common/error.h"
#include "worker/registry.h"

struct rappel_plugin;
struct plugins;

/* folder: where names without a slash are looked for. */
struct plugins *plugins_create(const char *folder);
/* After the registry is not used any more. NULL is fine. */
void plugins_destroy(struct plugins **p);

/* Loads one and adds its actions to the registry; -EINVAL with err. Either way
 * *file_out is the file that the name means. */
int plugins_load(struct plugins *p, const char *name, struct registry *r,
		 const char **file_out, struct error *err) MUST_CHECK;
/* Sets all up, in order. -EINVAL with err, and *file_out which one could not;
 * those before it are torn down. */
int plugins_set_up(struct plugins *p, const char **file_out,
		   struct error *err) MUST_CHECK;
/* In reverse order. */
void plugins_tear_down(struct plugins *p);

/* What the module says of itself: fits, or -EINVAL with err. Pure. */
int plugin_check(const struct rappel_plugin *d, struct error *err) MUST_CHECK;

#endif
