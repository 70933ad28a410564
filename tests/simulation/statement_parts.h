/*
 * statement_parts - what the files of statements share: parameters and
 * results in PostgreSQL's binary format, and rows as a transaction sees them.
 */
#ifndef TESTS_SIMULATION_STATEMENT_PARTS_H
#define TESTS_SIMULATION_STATEMENT_PARTS_H

#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "flusher/params.h"
#include "tests/simulation/server.h"

typedef enum ran statement_fn(struct backend *b, struct message *m,
                              const struct sent *s);

/* One statement of flusher/sql.c, by its name. */
struct statement_run {
	const char *name; /* NULL ends a table */
	statement_fn *run;
};

extern const struct statement_run claimer_statements[];
extern const struct statement_run keeper_statements[];

/* ---- parameters ---- */

static inline struct uuid
uuid_at(const uint8_t *data)
{
	struct uuid u;

	ASSERT(data != NULL);
	memcpy(u.bytes, data, 16);
	return u;
}

static inline uint32_t
read32(const uint8_t *data)
{
	uint32_t raw;

	ASSERT(data != NULL);
	memcpy(&raw, data, 4);
	return __builtin_bswap32(raw);
}

static inline int64_t
read64(const uint8_t *data)
{
	uint64_t raw;

	ASSERT(data != NULL);
	memcpy(&raw, data, 8);
	return (int64_t)__builtin_bswap64(raw);
}

static inline struct uuid
param_uuid(const struct sent *s, int i)
{
	ASSERT(s->lengths[i] == 16);
	return uuid_at(s->values[i]);
}

static inline int64_t
param_int8(const struct sent *s, int i)
{
	ASSERT(s->lengths[i] == 8);
	return read64(s->values[i]);
}

static inline int32_t
param_int4(const struct sent *s, int i)
{
	ASSERT(s->lengths[i] == 4);
	return (int32_t)read32(s->values[i]);
}

static inline struct text
param_text(const struct sent *s, int i)
{
	if (s->nulls[i])
		return (struct text){ NULL, 0 };
	return (struct text){ (const char *)s->values[i], s->lengths[i] };
}

/* An array's elements, one after the other. */
struct elements {
	const uint8_t *at;
	uint32_t left;
};

static inline struct elements
param_array(const struct sent *s, int i)
{
	const uint8_t *data = s->values[i];

	ASSERT(s->lengths[i] >= 20 && read32(data) == 1);
	return (struct elements){ data + 20, read32(data + 12) };
}

static inline bool
next_element(struct elements *e, struct text *out)
{
	uint32_t len;

	if (e->left == 0)
		return false;
	e->left--;
	len = read32(e->at);
	e->at += 4;
	*out = (struct text){ NULL, 0 };
	if (len == UINT32_MAX)
		return true;
	*out = (struct text){ (const char *)e->at, (int)len };
	e->at += len;
	return true;
}

static inline struct text
must_element(struct elements *e)
{
	struct text t;

	ASSERT(next_element(e, &t));
	return t;
}

static inline bool
text_is(struct text a, struct text b)
{
	return a.data != NULL && b.data != NULL && a.len == b.len &&
	    memcmp(a.data, b.data, (size_t)a.len) == 0;
}

/* ---- results ---- */

static inline void
add(struct message *m, PGresult *r)
{
	if (m->reply.results == NULL)
		m->reply.results = keep_alloc(m->count * sizeof(PGresult *));
	m->reply.results[m->reply.count++] = r;
}

static PGresult *
tuples(struct message *m, int columns)
{
	PGresult *r = PQmakeEmptyPGresult(NULL, PGRES_TUPLES_OK);
	PGresAttDesc described[12];
	char name[] = "c";

	memset(described, 0, sizeof(described));
	for (int i = 0; i < columns; i++) {
		described[i].name = name;
		described[i].format = 1;
	}
	ASSERT(PQsetResultAttrs(r, columns, described));
	add(m, r);
	return r;
}

static inline void
put(PGresult *r, int row, int column, const void *data, int len)
{
	char copy[4096];
	char *large = len > (int)sizeof(copy) ? mem_alloc((size_t)len) : copy;

	if (data != NULL)
		memcpy(large, data, (size_t)len);
	ASSERT(PQsetvalue(r, row, column, data == NULL ? NULL : large,
	                  data == NULL ? -1 : len));
	if (large != copy)
		free(large);
}

static inline void
put_uuid(PGresult *r, int row, int column, const struct uuid *u)
{
	put(r, row, column, u->bytes, 16);
}

static inline void
put_int8(PGresult *r, int row, int column, int64_t v)
{
	uint64_t raw = __builtin_bswap64((uint64_t)v);

	put(r, row, column, &raw, 8);
}

static inline void
put_time(PGresult *r, int row, int column, int64_t us)
{
	put_int8(r, row, column, us - params_time_us(0));
}

static inline void
put_int4(PGresult *r, int row, int column, int32_t v)
{
	uint32_t raw = __builtin_bswap32((uint32_t)v);

	put(r, row, column, &raw, 4);
}

static inline void
put_bool(PGresult *r, int row, int column, bool v)
{
	char raw = v;

	put(r, row, column, &raw, 1);
}

static inline void
put_text(PGresult *r, int row, int column, struct text t)
{
	put(r, row, column, t.data, t.len);
}

static inline enum ran
changed(struct message *m)
{
	add(m, PQmakeEmptyPGresult(NULL, PGRES_COMMAND_OK));
	return RAN_DONE;
}

static inline enum ran
refuse(struct message *m, const char *sqlstate)
{
	strcpy(m->reply.sqlstate, sqlstate);
	snprintf(m->reply.message, sizeof(m->reply.message), "refused: %s",
	         sqlstate);
	return RAN_ERROR;
}

/* ---- looking ---- */

static inline enum status
status_of(struct text name)
{
	static const char *const names[ROW_STATUSES] = { "queued", "waiting",
		"running", "blocked", "succeeded", "failed", "timed_out",
		"cancelled" };

	for (int i = 0; i < ROW_STATUSES; i++)
		if ((int)strlen(names[i]) == name.len &&
		    memcmp(names[i], name.data, (size_t)name.len) == 0)
			return (enum status)i;
	violated("no status is called %.*s", name.len, name.data);
}

static inline struct instance_row *
instance_find(const struct uuid *id)
{
	for (uint32_t i = 0; i < tables.instance_count; i++)
		if (uuid_equal(&tables.instances[i]->id, id))
			return tables.instances[i];
	return NULL;
}

/* The row as that transaction sees it. */
static inline const struct instance_values *
seen(const struct backend *b, const struct instance_row *row)
{
	return row->changed && row->lock.owner == b ? &row->next : &row->cur;
}

static inline bool
owned_by(const struct backend *b, const struct instance_row *row,
         const struct uuid *owner)
{
	const struct instance_values *v = seen(b, row);

	return v->owned && uuid_equal(&v->owner, owner);
}

/* For a change: the caller has looked at the lock. */
static inline struct instance_values *
change(struct backend *b, struct instance_row *row)
{
	ASSERT(lock_try(b, &row->lock));
	if (!row->changed) {
		row->next = row->cur;
		row->changed = true;
		touch(b, TOUCHED_INSTANCE)->instance = row;
	}
	return &row->next;
}

static inline bool
pool_visible(const struct backend *b, const struct pool_row *p)
{
	if (p->deleting == b)
		return false;
	return p->exists || p->inserting == b;
}

static inline struct pool_row *
pool_find(const struct backend *b, const struct uuid *incarnation)
{
	for (uint32_t i = 0; i < tables.pool_count; i++)
		if (uuid_equal(&tables.pools[i]->incarnation, incarnation) &&
		    pool_visible(b, tables.pools[i]))
			return tables.pools[i];
	return NULL;
}

static inline bool
commanded(const struct instance_row *row, bool cancelled)
{
	for (uint32_t i = 0; i < tables.command_count; i++)
		if (tables.commands[i]->instance == row &&
		    !tables.commands[i]->gone &&
		    (!cancelled ||
		     strcmp(tables.commands[i]->kind, "cancel") == 0))
			return true;
	return false;
}

#endif
