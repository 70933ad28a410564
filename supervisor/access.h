/*
 * access - who is at the other end of the control socket, and what role that
 * gives.
 *
 * Identity comes from the kernel (SO_PEERCRED, SO_PEERGROUPS): what the peer
 * was when it connected. Nothing it says, no path and no pid take part; the
 * pid is for the log.
 */
#ifndef SUPERVISOR_ACCESS_H
#define SUPERVISOR_ACCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/assert.h"
#include "common/config.h"
#include "common/error.h"
#include "common/verb.h"

#define ACCESS_NO_GROUP ((gid_t)-1)

/* Whose roles there are. */
struct access {
	uid_t owner;              /* the daemon's own */
	gid_t groups[ROLE_ADMIN + 1]; /* by role; ACCESS_NO_GROUP for none */
};

struct access_peer {
	uid_t uid;
	gid_t gid;
	pid_t pid;
	enum role role;
};

/* From the configured groups. 0, or -EINVAL with err. */
int access_open(struct access *a, const struct config *config,
                struct error *err) MUST_CHECK;
/* Pure: what such a user may. gid is among the groups or beside them. */
enum role access_role(const struct access *a, uid_t uid, gid_t gid,
                      const gid_t *groups, uint32_t count);
/* Who connected on fd. 0 or -errno. */
int access_peer_get(const struct access *a, int fd,
                    struct access_peer *out) MUST_CHECK;
/*
 * The only group that there is, so that the socket can be for it alone;
 * ACCESS_NO_GROUP when there is none or more than one. *any_out: whether
 * there is one at all.
 */
gid_t access_only_group(const struct access *a, bool *any_out);

#endif
