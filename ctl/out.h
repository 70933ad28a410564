/*
 * out - data on stdout: tables for people, JSON for programs.
 *
 * A command describes its columns once; the format (-o) decides how rows are
 * shown. JSON holds every column, complete, under stable keys. A table shows
 * those with a heading and cuts what is long.
 */
#ifndef CTL_OUT_H
#define CTL_OUT_H

#include <libpq-fe.h>

#include "ctl/ctl.h"
#include "ctl/json_out.h"

enum column_type {
	COLUMN_TEXT,
	COLUMN_NUMBER,
	COLUMN_BOOL,    /* PostgreSQL's t and f */
	COLUMN_TIME,    /* RFC 3339 text; a table cuts it to seconds */
	COLUMN_SECONDS, /* a number; a table says "12.3 ms" */
	COLUMN_JSON,    /* JSON text */
};

struct column {
	const char *key;     /* in JSON; NULL: table only */
	const char *heading; /* in a table; NULL: JSON only */
	enum column_type type;
};

/*
 * Rows first to first + count of a result whose columns are those described,
 * in order; of -o name the first column is the name.
 */
void out_rows(const struct ctl *c, const PGresult *rows, int first, int count,
	      const struct column *columns, uint32_t column_count);

/* One row as "Heading: value" lines, or as one JSON object. */
void out_record(const struct ctl *c, const PGresult *rows, int row,
		const struct column *columns, uint32_t column_count);

/* True for -o json and jsonl. */
bool out_is_json(const struct ctl *c);
/* Prints what was written, with a newline, and empties it. */
void out_json(struct json_out *j);
/* JSON as it is stored, no newline behind it; what a terminal would obey as
 * \uXXXX when stdout is one. */
void out_stored(const char *json);
void out_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* JSON text for reading: over several lines on a terminal, else as it is. */
void out_json_text(const char *json);
/* A checked value over several lines. */
void out_value_pretty(struct slice value);

/* Members of an object from one row. */
void out_row_members(struct json_out *j, const PGresult *rows, int row,
		     const struct column *columns, uint32_t column_count);

/* A duration for people: "12 ms", "3.4 s", "2 h 5 min". */
#define DURATION_TEXT_SIZE 48
void duration_text(double seconds, char text[DURATION_TEXT_SIZE]);

/* Lines of "label: value" with aligned values. A NULL value is left out. */
void out_field(const struct ctl *c, const char *label, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A table put together by hand: cells are copied. */
struct table;
struct table *table_create(uint32_t column_count);
void table_destroy(struct table **t);
/* The next cell, row by row; a NULL text shows as "-". */
void table_add(struct table *t, const char *text);
void table_add_int(struct table *t, int64_t number);
/* headings: column_count of them. */
void table_print(const struct ctl *c, const struct table *t,
		 const char *const *headings);

#endif
