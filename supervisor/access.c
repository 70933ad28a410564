/*
 * access - peer credentials to a role.
 */
#include "supervisor/access.h"

#include <errno.h>
#include <grp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/units.h"

/* As many as the kernel ever keeps for a process. */
#define GROUPS_MAX 65536U

static int
group_open(const char *key, const char *name, gid_t *out, struct error *err)
{
	const struct group *group;
	uint64_t number;

	*out = ACCESS_NO_GROUP;
	if (name == NULL)
		return 0;
	errno = 0;
	group = getgrnam(name);
	if (group != NULL) {
		*out = group->gr_gid;
	} else if (units_parse(name, units_count, &number) == 0 &&
	           number < ACCESS_NO_GROUP) {
		*out = (gid_t)number;
	} else {
		error_set(err, "%s: there is no group \"%.60s\"", key, name);
		return -EINVAL;
	}
	return 0;
}

int
access_open(struct access *a, const struct config *config, struct error *err)
{
	int rc;

	a->owner = geteuid();
	a->groups[ROLE_REFUSED] = ACCESS_NO_GROUP;
	rc = group_open("control_group_ro", config->control_group_ro,
	                &a->groups[ROLE_READ_ONLY], err);
	if (rc == 0)
		rc = group_open("control_group_op", config->control_group_op,
		                &a->groups[ROLE_OPERATOR], err);
	if (rc == 0)
		rc = group_open("control_group_adm", config->control_group_adm,
		                &a->groups[ROLE_ADMIN], err);
	return rc;
}

enum role
access_role(const struct access *a, uid_t uid, gid_t gid, const gid_t *groups,
            uint32_t count)
{
	enum role role = ROLE_REFUSED;

	if (uid == 0 || uid == a->owner)
		return ROLE_ADMIN;
	for (enum role r = ROLE_READ_ONLY; r <= ROLE_ADMIN; r++) {
		bool member = gid == a->groups[r];

		if (a->groups[r] == ACCESS_NO_GROUP)
			continue;
		for (uint32_t i = 0; i < count && !member; i++)
			member = groups[i] == a->groups[r];
		if (member)
			role = r;
	}
	return role;
}

int
access_peer_get(const struct access *a, int fd, struct access_peer *out)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	gid_t few[32];
	gid_t *groups = few;
	int rc;

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
		return -errno;
	len = sizeof(few);
	rc = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len);
	if (rc != 0 && errno == ERANGE && len <= GROUPS_MAX * sizeof(gid_t)) {
		/* It said how many bytes there are. */
		groups = mem_alloc(len);
		rc = getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &len);
	}
	if (rc != 0) {
		rc = -errno;
	} else {
		out->uid = peer.uid;
		out->gid = peer.gid;
		out->pid = peer.pid;
		out->role = access_role(a, peer.uid, peer.gid, groups,
		                        (uint32_t)(len / sizeof(gid_t)));
	}
	if (groups != few)
		free(groups);
	return rc;
}

gid_t
access_only_group(const struct access *a, bool *any_out)
{
	gid_t only = ACCESS_NO_GROUP;
	bool several = false;

	for (enum role r = ROLE_READ_ONLY; r <= ROLE_ADMIN; r++) {
		if (a->groups[r] == ACCESS_NO_GROUP)
			continue;
		several = several || (only != ACCESS_NO_GROUP &&
		                      only != a->groups[r]);
		only = a->groups[r];
	}
	*any_out = only != ACCESS_NO_GROUP;
	return several ? ACCESS_NO_GROUP : only;
}
