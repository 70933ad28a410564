/*
 * pg - rappelctl's one connection to PostgreSQL.
 *
 * Every statement has a deadline of its own, kept by the server
 * (statement_timeout) and, should that not answer, by us. Functions that
 * return an exit code have said what was wrong, those named *_quietly have
 * left the words in pg_message().
 */
#ifndef CTL_PG_H
#define CTL_PG_H

#include <libpq-fe.h>

#include "ctl/ctl.h"

struct pg;

/* Connects. Release with pg_close(). */
int pg_open_any(const struct ctl *c, struct pg **out) MUST_CHECK;
/* The same, and the schema is one that this build can work with. */
int pg_open(const struct ctl *c, struct pg **out) MUST_CHECK;
void pg_close(struct pg **pg);

/* Connects again after the connection was lost; with the same schema. */
int pg_reopen_quietly(struct pg *pg) MUST_CHECK;
const char *pg_message(const struct pg *pg);
/* Says what pg_message() holds, with advice for that exit code. */
void pg_complain(const struct pg *pg, int code);

/*
 * One statement with text parameters. The result has the rows; release it
 * with PQclear(). Without rows_out the result is dropped.
 */
int pg_query(struct pg *pg, const char *sql, int param_count,
	     const char *const *params, PGresult **rows_out) MUST_CHECK;
int pg_query_quietly(struct pg *pg, const char *sql, int param_count,
		     const char *const *params, PGresult **rows_out) MUST_CHECK;
/* Many statements in one text, without parameters: a migration. */
int pg_script(struct pg *pg, const char *sql) MUST_CHECK;
/* How long the next statements may take; 0: as the connection began. */
void pg_set_deadline(struct pg *pg, uint64_t us);

/* The schema's version in the database: 0 when there is none. */
int pg_schema_version(struct pg *pg, int *out) MUST_CHECK;

/* A text[] literal of texts. The caller releases b. */
void pg_array_add(struct buf *b, struct slice text);
void pg_array_end(struct buf *b);

/* A timestamptz as complete RFC 3339 text, UTC. */
#define SQL_TIME(x)                                                            \
	"to_char((" x ") AT TIME ZONE 'UTC', "                                 \
	"'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"

/*
 * The full id that text begins, as "run" commands take it. out has room for
 * a UUID's text.
 */
int pg_find_instance(struct pg *pg, const char *text, char out[37]) MUST_CHECK;

#endif
