/*
 * account - the user that a child becomes: resolved once, in the parent.
 *
 * Name services may be slow and take locks; so nothing is asked between fork
 * and exec.
 */
#ifndef SUPERVISOR_ACCOUNT_H
#define SUPERVISOR_ACCOUNT_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/assert.h"
#include "common/error.h"

struct account {
	char *name;
	char *home;
	uid_t uid;
	gid_t gid;
	gid_t *groups; /* supplementary ones, with gid */
	int group_count;
};

/* By name or number. 0; -ENOENT: there is none; else why it cannot be known. */
int account_open(struct account *a, const char *name) MUST_CHECK;
/*
 * As a person wrote it; where is the place and the key. 0, or the exit status
 * with err: there is no such user, or this process cannot become it.
 */
int account_configured(struct account *a, const char *name, const char *where,
                       struct error *err) MUST_CHECK;
/* Whether this process may become somebody else: root, or CAP_SETUID. */
bool account_can_change(void);
void account_fini(struct account *a);

/*
 * In the child: gives up what capabilities this process was started with.
 * 0 or -errno. Root would get them back by the next exec.
 */
int account_drop_capabilities(void) MUST_CHECK;
/*
 * In the child: groups, group, user, in that order, and a check that there is
 * no way back. 0 or -errno; then the child must end.
 */
int account_become(const struct account *a) MUST_CHECK;

#endif
