/*
 * limit - what this database can do: the yardstick beside every benchmark.
 *
 * Writes journal rows and does nothing else, in committed batches, with the
 * server's own durability. A batch is one transaction. Each connection has a
 * thread; with unnest and packed the next batch is built and sent while the
 * server works on the one before, so that the server never waits for us.
 *
 *   unnest   one bare row per action, inserted from binary arrays
 *   copy     one bare row per action, by binary COPY
 *   packed   rows as action_log has them: what one step of queue-noop brings
 *            for one instance in one row, 19 rows for 49 actions
 *
 * Everything happens in a schema of its own, which is dropped at the end.
 */
#include <getopt.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/rows.h"
#include "common/assert.h"
#include "common/buf.h"
#include "common/clock.h"
#include "common/mem.h"

#define CONNECTIONS_MAX 16
/* Batches on their way to the server at once; two hide our own part. */
#define IN_FLIGHT_MAX 8
#define LATENCIES_MAX 200000

static const char *const method_names[] = {
	[METHOD_UNNEST] = "unnest",
	[METHOD_COPY] = "copy",
	[METHOD_PACKED] = "packed",
};

/* What else the table has; "key" is what the journal's has. */
enum index {
	INDEX_KEY,
	INDEX_BRIN,
	INDEX_NONE,
};

static const char *const index_names[] = {
	[INDEX_KEY] = "key",
	[INDEX_BRIN] = "brin",
	[INDEX_NONE] = "none",
};

struct options {
	const char *database;
	enum method method;
	enum index index;
	bool partitioned;
	unsigned connections;
	unsigned batch;
	unsigned in_flight;
	double seconds;
	bool json;
};

struct table {
	const struct column *columns;
	int count;
	char name[64]; /* with its schema */
};

/* One connection and its thread. Shares nothing but stop and the table. */
struct writer {
	const struct options *options;
	const struct table *table;
	pthread_t thread;
	PGconn *conn;
	struct rows rows;
	uint64_t deadline_us;
	/* What came out. */
	uint64_t actions;
	uint64_t row_count;
	uint64_t commits;
	uint64_t end_us;     /* of the last commit */
	uint32_t *latencies; /* µs from sending a batch to its commit */
	size_t latency_count;
	bool failed;
};

static atomic_bool stop;

static void
on_signal(int signo)
{
	(void)signo;
	atomic_store(&stop, true);
}

/* ---- writing ---- */

static void
complain(struct writer *w, const char *what)
{
	if (!w->failed)
		fprintf(stderr, "limit: %s: %s", what, PQerrorMessage(w->conn));
	w->failed = true;
	atomic_store(&stop, true);
}

static void
committed(struct writer *w, unsigned rows, uint64_t sent_us)
{
	w->end_us = clock_mono_us();
	w->actions += w->options->batch;
	w->row_count += rows;
	w->commits++;
	if (w->latency_count < LATENCIES_MAX)
		w->latencies[w->latency_count++] =
		    (uint32_t)(w->end_us - sent_us);
}

static bool
more(const struct writer *w)
{
	return !atomic_load(&stop) && clock_mono_us() < w->deadline_us;
}

/* Reads the answers to one batch up to its sync: true when committed. */
static bool
batch_result(struct writer *w)
{
	bool done = false;

	for (;;) {
		PGresult *result = PQgetResult(w->conn);
		ExecStatusType status;

		/* NULL stands between the results of a pipeline. */
		if (result == NULL) {
			if (PQstatus(w->conn) == CONNECTION_OK)
				continue;
			return false;
		}
		status = PQresultStatus(result);
		PQclear(result);
		if (status == PGRES_PIPELINE_SYNC)
			return done;
		done = status == PGRES_COMMAND_OK;
		if (!done)
			complain(w, "insert");
	}
}

static void
write_unnest(struct writer *w)
{
	const char *values[ROWS_COLUMNS_MAX];
	int lengths[ROWS_COLUMNS_MAX], formats[ROWS_COLUMNS_MAX];
	struct {
		unsigned rows;
		uint64_t sent_us;
	} flight[IN_FLIGHT_MAX];
	unsigned sent = 0, seen = 0;

	if (PQenterPipelineMode(w->conn) != 1) {
		complain(w, "pipeline");
		return;
	}
	for (;;) {
		bool go = more(w);

		if (go && sent - seen < w->options->in_flight) {
			unsigned at = sent++ % IN_FLIGHT_MAX;

			flight[at].rows =
			    rows_build(&w->rows, w->options->batch);
			for (int i = 0; i < w->table->count; i++) {
				values[i] =
				    (const char *)w->rows.arrays[i].data;
				lengths[i] = (int)w->rows.arrays[i].len;
				formats[i] = 1;
			}
			flight[at].sent_us = clock_mono_us();
			if (PQsendQueryPrepared(w->conn, "insert",
						w->table->count, values,
						lengths, formats, 1) != 1 ||
			    PQpipelineSync(w->conn) != 1) {
				complain(w, "send");
				return;
			}
			continue;
		}
		if (seen == sent)
			return;
		if (!batch_result(w)) {
			complain(w, "commit");
			return;
		}
		committed(w, flight[seen % IN_FLIGHT_MAX].rows,
			  flight[seen % IN_FLIGHT_MAX].sent_us);
		seen++;
	}
}

static void
write_copy(struct writer *w)
{
	char sql[128];

	snprintf(sql, sizeof(sql), "COPY %s FROM STDIN (FORMAT binary)",
		 w->table->name);
	while (more(w)) {
		unsigned rows = rows_build(&w->rows, w->options->batch);
		uint64_t sent_us = clock_mono_us();
		PGresult *result = PQexec(w->conn, sql);
		bool ok = PQresultStatus(result) == PGRES_COPY_IN;

		PQclear(result);
		if (!ok ||
		    PQputCopyData(w->conn, (const char *)w->rows.copy.data,
				  (int)w->rows.copy.len) != 1 ||
		    PQputCopyEnd(w->conn, NULL) != 1) {
			complain(w, "copy");
			return;
		}
		while ((result = PQgetResult(w->conn)) != NULL) {
			if (PQresultStatus(result) != PGRES_COMMAND_OK)
				complain(w, "copy");
			PQclear(result);
		}
		if (w->failed)
			return;
		committed(w, rows, sent_us);
	}
}

static void *
writer_main(void *arg)
{
	struct writer *w = arg;

	if (w->options->method == METHOD_COPY)
		write_copy(w);
	else
		write_unnest(w);
	return NULL;
}

/* ---- the table and what it cost ---- */

/* One statement; its first field in out when that is not NULL. */
static bool
query(PGconn *conn, const char *sql, char *out, size_t out_size)
{
	PGresult *result = PQexec(conn, sql);
	ExecStatusType status = PQresultStatus(result);
	bool ok = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;

	if (!ok)
		fprintf(stderr, "limit: %s: %s", sql, PQerrorMessage(conn));
	if (ok && out != NULL)
		snprintf(out, out_size, "%s", PQgetvalue(result, 0, 0));
	PQclear(result);
	return ok;
}

static PGconn *
connect_to(const char *database)
{
	PGconn *conn = PQconnectdb(database);

	if (PQstatus(conn) != CONNECTION_OK) {
		fprintf(stderr, "limit: %s", PQerrorMessage(conn));
		PQfinish(conn);
		return NULL;
	}
	if (!query(conn,
		   "SET client_min_messages = warning; "
		   "SET application_name = 'rappel-limit'",
		   NULL, 0)) {
		PQfinish(conn);
		return NULL;
	}
	return conn;
}

/* Four ranges of ids and the rest, as many as the journal begins with: all
 * ids of these years fall into the first. */
static void
table_partition(struct buf *sql, const struct table *t)
{
	static const char rest[] = "000000-0000-0000-0000-000000000000";

	buf_add_text(sql, " PARTITION BY RANGE (instance_id)");
	for (int i = 0; i < 4; i++)
		buf_printf(sql,
			   "; CREATE TABLE %s_%d PARTITION OF %s "
			   "FOR VALUES FROM ('%02d%s') TO ('%02d%s')",
			   t->name, i, t->name, 2 * i, rest, 2 * i + 2, rest);
	buf_printf(sql, "; CREATE TABLE %s_rest PARTITION OF %s DEFAULT",
		   t->name, t->name);
}

/* Makes the schema, named for the backend, and the table in it. */
static bool
table_create(PGconn *conn, const struct options *o, struct table *t)
{
	struct buf sql = BUF_EMPTY;
	bool ok;

	t->count = rows_columns(o->method, &t->columns);
	snprintf(t->name, sizeof(t->name), "rappel_limit_%d.journal",
		 PQbackendPID(conn));
	buf_printf(&sql, "CREATE SCHEMA rappel_limit_%d; CREATE TABLE %s (",
		   PQbackendPID(conn), t->name);
	for (int i = 0; i < t->count; i++)
		buf_printf(
		    &sql, "%s%s %s%s", i ? ", " : "", t->columns[i].name,
		    t->columns[i].type,
		    strcmp(t->columns[i].type, "json") == 0 ? "" : " NOT NULL");
	if (o->index == INDEX_KEY)
		buf_add_text(&sql, ", PRIMARY KEY (instance_id, seq)");
	buf_add_byte(&sql, ')');
	if (o->partitioned)
		table_partition(&sql, t);
	if (o->index == INDEX_BRIN)
		buf_printf(&sql,
			   "; CREATE INDEX ON %s USING brin "
			   "(instance_id, seq)",
			   t->name);
	ok = query(conn, buf_text(&sql), NULL, 0);
	buf_fini(&sql);
	return ok;
}

static void
table_drop(PGconn *conn)
{
	char sql[64];

	snprintf(sql, sizeof(sql), "DROP SCHEMA rappel_limit_%d CASCADE",
		 PQbackendPID(conn));
	(void)query(conn, sql, NULL, 0);
}

static bool
writer_open(struct writer *w, const struct options *o, const struct table *t)
{
	Oid types[ROWS_COLUMNS_MAX];
	struct buf sql = BUF_EMPTY;
	PGresult *result;
	bool ok;

	w->options = o;
	w->table = t;
	w->latencies = mem_calloc(LATENCIES_MAX, sizeof(*w->latencies));
	rows_init(&w->rows, o->method);
	w->conn = connect_to(o->database);
	if (w->conn == NULL)
		return false;
	if (o->method == METHOD_COPY)
		return true;
	buf_printf(&sql, "INSERT INTO %s SELECT * FROM unnest(", t->name);
	for (int i = 0; i < t->count; i++) {
		types[i] = t->columns[i].array;
		buf_printf(&sql, "%s$%d", i ? ", " : "", i + 1);
	}
	buf_add_byte(&sql, ')');
	result = PQprepare(w->conn, "insert", buf_text(&sql), t->count, types);
	ok = PQresultStatus(result) == PGRES_COMMAND_OK;
	if (!ok)
		complain(w, "prepare");
	PQclear(result);
	buf_fini(&sql);
	return ok;
}

static void
writer_close(struct writer *w)
{
	PQfinish(w->conn);
	w->conn = NULL;
	free(w->latencies);
	rows_fini(&w->rows);
}

static int
compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

struct outcome {
	double seconds;
	uint64_t actions;
	uint64_t rows;
	uint64_t commits;
	uint64_t wal_bytes;
	uint32_t commit_p50_us;
	uint32_t commit_p99_us;
};

static void
outcome_sum(struct outcome *out, struct writer *writers, unsigned count,
	    uint64_t begin_us)
{
	uint32_t *all = mem_calloc((size_t)count * LATENCIES_MAX, sizeof(*all));
	size_t total = 0;
	uint64_t end_us = begin_us;

	for (unsigned i = 0; i < count; i++) {
		struct writer *w = &writers[i];

		out->actions += w->actions;
		out->rows += w->row_count;
		out->commits += w->commits;
		if (w->end_us > end_us)
			end_us = w->end_us;
		memcpy(all + total, w->latencies,
		       w->latency_count * sizeof(*all));
		total += w->latency_count;
	}
	out->seconds = (double)(end_us - begin_us) / 1e6;
	if (total > 0) {
		qsort(all, total, sizeof(*all), compare_u32);
		out->commit_p50_us = all[total / 2];
		out->commit_p99_us = all[total * 99 / 100];
	}
	free(all);
}

static void
outcome_print(const struct outcome *out, const struct options *o)
{
	double rate =
	    out->seconds > 0 ? (double)out->actions / out->seconds : 0;
	double wal = out->actions > 0
			 ? (double)out->wal_bytes / (double)out->actions
			 : 0;

	if (o->json) {
		printf("{\"method\":\"%s\",\"connections\":%u,\"batch\":%u,"
		       "\"in_flight\":%u,\"index\":\"%s\",\"partitioned\":%s,"
		       "\"seconds\":%.3f,\"actions\":%llu,\"rows\":%llu,"
		       "\"commits\":%llu,\"actions_per_s\":%.0f,"
		       "\"rows_per_s\":%.0f,\"wal_bytes_per_action\":%.1f,"
		       "\"commit_p50_us\":%u,\"commit_p99_us\":%u}\n",
		       method_names[o->method], o->connections, o->batch,
		       o->in_flight, index_names[o->index],
		       o->partitioned ? "true" : "false", out->seconds,
		       (unsigned long long)out->actions,
		       (unsigned long long)out->rows,
		       (unsigned long long)out->commits, rate,
		       out->seconds > 0 ? (double)out->rows / out->seconds : 0,
		       wal, out->commit_p50_us, out->commit_p99_us);
		return;
	}
	printf("%s, %u connection%s, batches of %u: %.0f actions/s "
	       "(%llu rows, %llu commits, %.2f s; %.0f B of WAL an action; "
	       "commit p50 %.1f ms, p99 %.1f ms)\n",
	       method_names[o->method], o->connections,
	       o->connections == 1 ? "" : "s", o->batch, rate,
	       (unsigned long long)out->rows, (unsigned long long)out->commits,
	       out->seconds, wal, out->commit_p50_us / 1e3,
	       out->commit_p99_us / 1e3);
}

static int
run(const struct options *o)
{
	static struct writer writers[CONNECTIONS_MAX];
	struct outcome out = { 0 };
	struct table table = { 0 };
	char before[32], after[32], sql[128];
	uint64_t begin_us;
	unsigned opened = 0;
	int status = 1;
	PGconn *conn = connect_to(o->database);

	if (conn == NULL)
		return 6;
	if (!table_create(conn, o, &table))
		goto out_conn;
	for (; opened < o->connections; opened++)
		if (!writer_open(&writers[opened], o, &table)) {
			opened++;
			goto out_writers;
		}
	if (!query(conn, "SELECT pg_current_wal_insert_lsn()", before,
		   sizeof(before)))
		goto out_writers;

	begin_us = clock_mono_us();
	for (unsigned i = 0; i < opened; i++) {
		writers[i].deadline_us =
		    begin_us + (uint64_t)(o->seconds * 1e6);
		ASSERT(pthread_create(&writers[i].thread, NULL, writer_main,
				      &writers[i]) == 0);
	}
	status = 0;
	for (unsigned i = 0; i < opened; i++) {
		pthread_join(writers[i].thread, NULL);
		if (writers[i].failed)
			status = 1;
	}
	outcome_sum(&out, writers, opened, begin_us);
	if (!query(conn, "SELECT pg_current_wal_insert_lsn()", after,
		   sizeof(after)))
		status = 1;
	snprintf(sql, sizeof(sql), "SELECT pg_wal_lsn_diff('%s', '%s')::int8",
		 after, before);
	if (query(conn, sql, after, sizeof(after)))
		out.wal_bytes = strtoull(after, NULL, 10);
	if (status == 0)
		outcome_print(&out, o);

out_writers:
	for (unsigned i = 0; i < opened; i++)
		writer_close(&writers[i]);
	table_drop(conn);
out_conn:
	PQfinish(conn);
	return status;
}

/* ---- the command line ---- */

static const char usage[] =
    "usage: limit [--database CONNINFO] [--seconds S] [--connections N]\n"
    "             [--batch ACTIONS] [--method unnest|copy|packed]\n"
    "             [--in-flight BATCHES] [--index key|brin|none]\n"
    "             [--partitioned] [--json]\n"
    "\n"
    "Writes journal rows in committed batches and prints how many actions a\n"
    "second the database takes. The database is also taken from\n"
    "$RAPPEL_DATABASE_URL; tables are made in a schema of their own and\n"
    "dropped at the end.\n";

static bool
number(const char *text, double min, double max, double *out)
{
	char *end;
	double v = strtod(text, &end);

	if (end == text || *end != '\0' || !(v >= min && v <= max)) {
		fprintf(stderr, "limit: \"%s\" is no number from %g to %g\n",
			text, min, max);
		return false;
	}
	*out = v;
	return true;
}

static bool
method_parse(const char *text, enum method *out)
{
	for (unsigned i = 0; i < 3; i++)
		if (strcmp(text, method_names[i]) == 0) {
			*out = (enum method)i;
			return true;
		}
	fprintf(stderr, "limit: \"%s\" is not unnest, copy or packed\n", text);
	return false;
}

static bool
index_parse(const char *text, enum index *out)
{
	for (unsigned i = 0; i < 3; i++)
		if (strcmp(text, index_names[i]) == 0) {
			*out = (enum index)i;
			return true;
		}
	fprintf(stderr, "limit: \"%s\" is not key, brin or none\n", text);
	return false;
}

int
main(int argc, char **argv)
{
	static const struct option long_options[] = {
		{ "database", required_argument, NULL, 'd' },
		{ "seconds", required_argument, NULL, 's' },
		{ "connections", required_argument, NULL, 'c' },
		{ "batch", required_argument, NULL, 'b' },
		{ "in-flight", required_argument, NULL, 'f' },
		{ "method", required_argument, NULL, 'm' },
		{ "index", required_argument, NULL, 'i' },
		{ "partitioned", no_argument, NULL, 'p' },
		{ "json", no_argument, NULL, 'j' },
		{ "help", no_argument, NULL, 'h' },
		{ NULL, 0, NULL, 0 },
	};
	struct options o = {
		.database = getenv("RAPPEL_DATABASE_URL"),
		.method = METHOD_UNNEST,
		.connections = 1,
		.batch = 1000,
		.in_flight = 2,
		.seconds = 5,
	};
	struct sigaction action = { .sa_handler = on_signal };
	bool ok = true;
	double v = 0;
	int opt;

	while (ok &&
	       (opt = getopt_long(argc, argv, "h", long_options, NULL)) != -1) {
		switch (opt) {
		case 'd':
			o.database = optarg;
			break;
		case 's':
			ok = number(optarg, 0.01, 3600, &o.seconds);
			break;
		case 'c':
			ok = number(optarg, 1, CONNECTIONS_MAX, &v);
			o.connections = (unsigned)v;
			break;
		case 'b':
			ok = number(optarg, 1, 100000, &v);
			o.batch = (unsigned)v;
			break;
		case 'f':
			ok = number(optarg, 1, IN_FLIGHT_MAX, &v);
			o.in_flight = (unsigned)v;
			break;
		case 'm':
			ok = method_parse(optarg, &o.method);
			break;
		case 'i':
			ok = index_parse(optarg, &o.index);
			break;
		case 'p':
			o.partitioned = true;
			break;
		case 'j':
			o.json = true;
			break;
		case 'h':
			fputs(usage, stdout);
			return 0;
		default:
			ok = false;
		}
	}
	if (!ok || optind != argc) {
		fputs(usage, stderr);
		return 2;
	}
	if (o.database == NULL)
		o.database = "";
	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
	return run(&o);
}
