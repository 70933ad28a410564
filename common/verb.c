/*
 * verb - the list of verbs as a table.
 */
#include "common/verb.h"

#include <stddef.h>

const struct verb_row verb_table[VERB_COUNT] = {
#define VERB(name, role, arguments, help) { #name, role, arguments, help },
#include "common/verbs.def"
#undef VERB
};

enum verb
verb_find(struct slice name)
{
	for (size_t i = 0; i < VERB_COUNT; i++) {
		if (slice_is(name, verb_table[i].name))
			return (enum verb)i;
	}
	return VERB_COUNT;
}

const char *
role_name(enum role role)
{
	switch (role) {
	case ROLE_REFUSED:
		return "refused";
	case ROLE_READ_ONLY:
		return "read-only";
	case ROLE_OPERATOR:
		return "operator";
	case ROLE_ADMIN:
		return "admin";
	}
	return "?";
}
