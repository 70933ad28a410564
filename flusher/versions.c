/*
 * versions - see versions.h. A pool runs few versions at a time: a list.
 */
#include "flusher/versions.h"

#include <stdlib.h>
#include <sys/queue.h>

#include "common/clock.h"
#include "common/error.h"
#include "common/mem.h"

#define RETRY_US (5 * CLOCK_SECOND_US)

struct version_node {
	SLIST_ENTRY(version_node) entry;
	struct version version;
};

struct versions {
	SLIST_HEAD(, version_node) list;
};

struct versions *
versions_create(void)
{
	struct versions *v = mem_zalloc(sizeof(*v));

	SLIST_INIT(&v->list);
	return v;
}

static void
version_fini(struct version *version)
{
	definition_unref(&version->definition);
	free(version->workflow);
	free(version->problem);
}

void
versions_destroy(struct versions **vp)
{
	struct versions *v = *vp;
	struct version_node *node;

	if (v == NULL)
		return;
	while ((node = SLIST_FIRST(&v->list)) != NULL) {
		SLIST_REMOVE_HEAD(&v->list, entry);
		version_fini(&node->version);
		free(node);
	}
	free(v);
	*vp = NULL;
}

static struct version_node *
find(const struct versions *v, int64_t id)
{
	struct version_node *node;

	SLIST_FOREACH (node, &v->list, entry)
		if (node->version.id == id)
			return node;
	return NULL;
}

const struct version *
versions_find(const struct versions *v, int64_t id)
{
	const struct version_node *node = find(v, id);

	if (node == NULL ||
	    (node->version.definition == NULL &&
	     clock_mono_us() - node->version.tried_us > RETRY_US))
		return NULL;
	return &node->version;
}

const struct version *
versions_add(struct versions *v, int64_t id, struct slice workflow,
             struct slice text)
{
	struct version_node *node = find(v, id);
	struct definition_report report = { .count = 0 };
	struct version *version;
	char problem[700];

	if (node == NULL) {
		node = mem_zalloc(sizeof(*node));
		SLIST_INSERT_HEAD(&v->list, node, entry);
	} else {
		version_fini(&node->version);
	}
	version = &node->version;
	*version = (struct version){ .id = id,
		                     .workflow = mem_strndup(workflow.data,
		                                             workflow.len),
		                     .tried_us = clock_mono_us() };
	if (text.data == NULL) {
		version->problem = mem_strdup("its definition is gone from "
		                              "workflow_versions");
		return version;
	}
	version->definition = definition_parse((const char *)text.data,
	                                       text.len, &report);
	if (version->definition == NULL) {
		error_text(&report.errors[0], problem, sizeof(problem));
		version->problem = mem_strdup(problem);
	}
	return version;
}
