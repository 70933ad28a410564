/*
 * definition_parser - how the files of the parser work together.
 *
 * definition_parse.c walks machines and states, definition_types.c knows the
 * types of states, definition_fields.c reads fields, definition_errors.c reads
 * Retry and Catch, definition_check.c resolves names and follows transitions.
 * A parser lives for one text.
 */
#ifndef ENGINE_DEFINITION_PARSER_H
#define ENGINE_DEFINITION_PARSER_H

#include "common/json.h"
#include "engine/definition_parts.h"

#define DEFINITION_MAGIC 0x0de71417U
#define DEFINITION_ARENA_BYTES 16384

/* What of s is behind its first bytes. */
static inline struct slice
slice_behind(struct slice s, size_t bytes)
{
	return (struct slice){ s.data + bytes, s.len - bytes };
}

const char *state_type_name(enum state_type type);
struct definition *definition_create(void);

/* ---- the parser ---- */

/* A transition that waits for its name to be known. */
struct target {
	const struct state *from; /* NULL: StartAt */
	const char *field;
	struct slice name;
	uint32_t machine;
	uint32_t line;
	uint32_t *to;
};

/* One States object. */
struct machine {
	const struct state *owner; /* NULL: the whole definition */
	const uint32_t *start;     /* where its StartAt is resolved to */
	uint32_t line;
};

struct fields;

struct parser {
	struct definition *d;
	struct definition_report *report;
	struct slice bytes; /* the whole text as msgpack */
	struct json_places places;
	const struct state *state; /* the one that messages name, or NULL */
	/* Something is wrong with a transition: following them misleads. */
	bool broken;
	bool full; /* too many states: no more are read */

	struct target *targets;
	uint32_t target_count;
	uint32_t target_cap;
	struct machine *machines;
	uint32_t machine_count;
	uint32_t machine_cap;
	/* Line of each state's value, by number. */
	uint32_t *lines;

	/* Names of states, open addressing. */
	struct name_place {
		uint32_t hash;
		uint32_t no; /* of the state, + 1; 0: free */
	} * names;
	uint32_t name_cap; /* a power of two */

	/* Numbers of fields + 1 by hash of name, for field_find(). */
	uint8_t field_index[256];
};

/* The line at which a piece of p->bytes begins. */
uint32_t parser_line(const struct parser *p, struct slice at);
/* Adds an error to the report: of p->state, with field and line. */
void parser_error(struct parser *p, const char *field, uint32_t line,
		  const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* ---- machines and states ---- */

/*
 * Reads StartAt and States of a definition (no owner), an ItemProcessor or a
 * branch. *start becomes the number of the first state once names are known.
 */
void machine_read(struct parser *p, const struct fields *fs,
		  const struct state *owner, uint32_t *start);
/* What the type of s asks for, with Next and End. */
void state_type_read(struct parser *p, const struct fields *fs,
		     struct state *s);

/* ---- fields ---- */

/* Every field of the language. Their names stand in definition_fields.c. */
enum field {
	FIELD_TYPE,
	FIELD_COMMENT,
	FIELD_QUERY_LANGUAGE,
	FIELD_NEXT,
	FIELD_END,
	FIELD_INPUT_PATH,
	FIELD_OUTPUT_PATH,
	FIELD_RESULT_PATH,
	FIELD_PARAMETERS,
	FIELD_RESULT_SELECTOR,
	FIELD_RETRY,
	FIELD_CATCH,
	FIELD_RESOURCE,
	FIELD_TIMEOUT_SECONDS,
	FIELD_TIMEOUT_SECONDS_PATH,
	FIELD_HEARTBEAT_SECONDS,
	FIELD_HEARTBEAT_SECONDS_PATH,
	FIELD_CREDENTIALS,
	FIELD_RESULT,
	FIELD_CHOICES,
	FIELD_DEFAULT,
	FIELD_SECONDS,
	FIELD_SECONDS_PATH,
	FIELD_TIMESTAMP,
	FIELD_TIMESTAMP_PATH,
	FIELD_ERROR,
	FIELD_ERROR_PATH,
	FIELD_CAUSE,
	FIELD_CAUSE_PATH,
	FIELD_BRANCHES,
	FIELD_ITEM_PROCESSOR,
	FIELD_ITERATOR,
	FIELD_ITEMS_PATH,
	FIELD_ITEM_SELECTOR,
	FIELD_MAX_CONCURRENCY,
	FIELD_MAX_CONCURRENCY_PATH,
	FIELD_TOLERATED_COUNT,
	FIELD_TOLERATED_COUNT_PATH,
	FIELD_TOLERATED_PERCENT,
	FIELD_TOLERATED_PERCENT_PATH,
	FIELD_LABEL,
	FIELD_ITEM_READER,
	FIELD_ITEM_BATCHER,
	FIELD_RESULT_WRITER,
	FIELD_ASSIGN,
	FIELD_OUTPUT,
	FIELD_ARGUMENTS,
	FIELD_ITEMS,
	FIELD_STATES,
	FIELD_START_AT,
	FIELD_VERSION,
	FIELD_PROCESSOR_CONFIG,
	FIELD_MODE,
	FIELD_EXECUTION_TYPE,
	FIELD_ERROR_EQUALS,
	FIELD_INTERVAL_SECONDS,
	FIELD_MAX_ATTEMPTS,
	FIELD_BACKOFF_RATE,
	FIELD_MAX_DELAY_SECONDS,
	FIELD_JITTER_STRATEGY,
	FIELDS,
};

/* The kinds of objects that have fields: state types first. */
enum owner {
	OWNER_DEFINITION = STATE_TYPES,
	OWNER_PROCESSOR,
	OWNER_BRANCH,
	OWNER_PROCESSOR_CONFIG,
	OWNER_RETRIER,
	OWNER_CATCHER,
	OWNERS,
};

struct fields {
	struct slice object;
	uint64_t seen;           /* a bit a field */
	struct slice at[FIELDS]; /* only those that were seen */
};

void fields_init(struct parser *p);
/*
 * Reads the fields of an object of that kind and reports unknown ones, those
 * that the kind does not have, double ones and what is not supported.
 */
void fields_read(struct parser *p, struct slice object, unsigned owner,
		 struct fields *out);
const char *field_name(enum field f);
static inline bool
fields_have(const struct fields *fs, enum field f)
{
	return (fs->seen >> f & 1) != 0;
}
/* Reports at the field, or at the object when it is missing. */
void field_error(struct parser *p, const struct fields *fs, enum field f,
		 const char *format, ...) __attribute__((format(printf, 4, 5)));

/* Each reports what is wrong and leaves *out alone then. */
bool field_string(struct parser *p, const struct fields *fs, enum field f,
		  struct slice *out);
bool field_bool(struct parser *p, const struct fields *fs, enum field f,
		bool *out);
bool field_integer(struct parser *p, const struct fields *fs, enum field f,
		   int64_t min, int64_t max, int64_t *out);
bool field_path(struct parser *p, const struct fields *fs, enum field f,
		enum path_kind kind, struct path **out);
void field_path_or_null(struct parser *p, const struct fields *fs, enum field f,
			enum path_kind kind, struct path_field *out);
void field_template(struct parser *p, const struct fields *fs, enum field f,
		    struct template **out);
/* "Seconds" with "SecondsPath": at most one of them. */
void field_number(struct parser *p, const struct fields *fs, enum field f,
		  enum field path, int64_t min, int64_t max,
		  struct number_field *out);
/* "Error" with "ErrorPath". */
void field_text(struct parser *p, const struct fields *fs, enum field f,
		enum field path, struct text_field *out);
/* What of the context object the text of a field may look at. */
uint8_t field_context(const struct fields *fs, enum field f);

/* Copies text into the definition. */
struct slice parser_text(struct parser *p, struct slice s);

/* ---- Retry and Catch ---- */

void retriers_read(struct parser *p, const struct fields *fs, struct state *s);
void catchers_read(struct parser *p, const struct fields *fs, struct state *s);

/* ---- names and transitions ---- */

/* Enters s under its name; reports a name that is taken. */
void names_add(struct parser *p, struct state *s);
/* *to becomes the number of the state that is called name. */
void target_add(struct parser *p, const char *field, uint32_t line,
		struct slice name, uint32_t machine, uint32_t *to);
void targets_resolve(struct parser *p);
/* Unreachable states, machines in which nothing ends. */
void machines_check(struct parser *p);

#endif
