/*
 * target - the configuration a command works with.
 */
#ifndef CTL_TARGET_H
#define CTL_TARGET_H

#include "common/config.h"
#include "ctl/ctl.h"

/*
 * Loads the configuration and says where directory and database came from.
 * Exit code; both are released by the caller on CTL_OK.
 */
int target_load(const struct ctl *c, struct config *out,
		struct target *t) MUST_CHECK;

#endif
