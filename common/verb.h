/*
 * verb - what may be asked on the control socket, and who may.
 *
 * One list, common/verbs.def, for the daemon that dispatches, for rappelctl
 * that explains and for the test that tries each. Roles are ordered: whoever
 * has one may do what the lesser ones may.
 */
#ifndef COMMON_VERB_H
#define COMMON_VERB_H

#include "common/buf.h"

enum role {
	ROLE_REFUSED, /* not even a question */
	ROLE_READ_ONLY,
	ROLE_OPERATOR,
	ROLE_ADMIN,
};

enum verb {
#define VERB(name, role, arguments, help) VERB_##name,
#include "common/verbs.def"
#undef VERB
	VERB_COUNT,
};

struct verb_row {
	const char *name;
	enum role role;        /* the least that may ask */
	const char *arguments; /* names, "?" behind what may be left out */
	const char *help;
};

extern const struct verb_row verb_table[VERB_COUNT];

/* The verb of that name; VERB_COUNT when there is none. */
enum verb verb_find(struct slice name);
/* "refused", "read-only", "operator", "admin". */
const char *role_name(enum role role);

#endif
