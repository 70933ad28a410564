/*
 * definition - a workflow in the Amazon States Language, parsed and checked.
 *
 * Pure. A definition is immutable and shared by its instances (counted
 * references). Its states, those inside Map and Parallel included, are
 * numbered in the order of the text: that number stands in journal entries
 * and in workflow_versions.states.
 *
 * What is inside is in definition_parts.h, for the engine's own files.
 */
#ifndef ENGINE_DEFINITION_H
#define ENGINE_DEFINITION_H

#include <stdint.h>

#include "common/buf.h"
#include "common/error.h"

struct definition;

#define DEFINITION_ERRORS_MAX 20
/* Large enough for DEFINITION_STATES_MAX states. */
#define DEFINITION_BYTES_MAX (16U << 20)
#define DEFINITION_STATES_MAX 100000U

/* All that is wrong with a text, the first 20 of it. */
struct definition_report {
	uint32_t count;
	struct error errors[DEFINITION_ERRORS_MAX];
};

/*
 * Parses and checks. NULL with at least one error in the report: each names
 * state, field and line. Release with definition_unref().
 */
struct definition *definition_parse(const char *text, size_t len,
                                    struct definition_report *report);
struct definition *definition_ref(struct definition *d);
void definition_unref(struct definition **d);

uint32_t definition_state_count(const struct definition *d);
/* Its name, borrowed; nested states by their plain name. */
struct slice definition_state_name(const struct definition *d, uint32_t no);
/* "Task", "Map", … */
const char *definition_state_type(const struct definition *d, uint32_t no);
/*
 * The action a Task calls (Resource, or the last part of an ARN, after the
 * last ':' or '/'; without ".waitForTaskToken"), borrowed; empty for other
 * types.
 */
struct slice definition_state_action(const struct definition *d, uint32_t no);
/* A Task's Resource as it stands in the text, borrowed; empty for others. */
struct slice definition_state_resource(const struct definition *d,
                                       uint32_t no);

#endif
