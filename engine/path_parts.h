/*
 * path_parts - what a compiled path consists of, for path_parse.c, which
 * makes it, and path.c and path_eval.c, which use it; and the two entries
 * that other files of the engine need beside path.h.
 */
#ifndef ENGINE_PATH_PARTS_H
#define ENGINE_PATH_PARTS_H

#include "common/mem.h"
#include "engine/path.h"

#define PATH_BYTES_MAX 16384U
#define PATH_STEPS_MAX 128U
#define PATH_FILTERS_MAX 4U /* filters inside filters */
#define PATH_PARENS_MAX 32U /* parentheses inside parentheses */

/*
 * No result may be larger, whatever a definition asks for: paths and
 * functions can repeat their input many times over.
 */
#define RESULT_BYTES_MAX (16U << 20)

enum step_kind {
	STEP_NAME,   /* .a ['a'] ['a','b'] */
	STEP_INDEX,  /* [0] [-1] [0,1] */
	STEP_SLICE,  /* [1:5] [::2] */
	STEP_ALL,    /* .* [*] */
	STEP_FILTER, /* [?(@.a == 1)] */
};

struct bounds {
	int64_t from;
	int64_t to;
	int64_t by; /* never 0 */
	bool has_from;
	bool has_to;
};

struct step {
	enum step_kind kind;
	bool deep;      /* after "..": here and in everything below */
	uint32_t count; /* names or indexes */
	union {
		struct slice *names;
		int64_t *indexes;
		struct bounds bounds;
		struct test *test;
	};
};

/* What stands at the end, as in $.a.length(). */
enum tail {
	TAIL_NONE,
	TAIL_LENGTH,
	TAIL_SIZE,
	TAIL_MIN,
	TAIL_MAX,
	TAIL_AVG,
	TAIL_SUM,
	TAIL_STDDEV,
	TAIL_KEYS,
	TAIL_FIRST,
	TAIL_LAST,
};

struct steps {
	struct step *list;
	uint32_t count;
	enum tail tail;
	bool single; /* without its tail it can select one value only */
};

enum operand_kind {
	OPERAND_LITERAL,
	OPERAND_CURRENT, /* @… */
	OPERAND_ROOT,    /* $… */
};

struct operand {
	enum operand_kind kind;
	struct slice literal; /* msgpack */
	struct steps steps;
	uint32_t place;       /* OPERAND_ROOT: where its value is kept */
};

enum test_kind {
	TEST_ANY,    /* || */
	TEST_EVERY,  /* && */
	TEST_NOT,    /* ! */
	TEST_EXISTS, /* an operand alone */
	TEST_EQ,
	TEST_NE,
	TEST_LT,
	TEST_LE,
	TEST_GT,
	TEST_GE,
	TEST_IN,
	TEST_NIN,
	TEST_CONTAINS,
	TEST_SUBSETOF,
	TEST_ANYOF,
	TEST_NONEOF,
	TEST_SIZE,
	TEST_EMPTY,
};

struct test {
	enum test_kind kind;
	struct test *inner; /* ANY, EVERY: the first; NOT: the one */
	struct test *next;  /* the next in the same ANY or EVERY */
	struct operand left;
	struct operand right;
};

struct path {
	struct arena *arena; /* everything below, and the path itself not */
	bool context;
	uint32_t roots; /* operands that begin at the root, see place */
	struct steps steps;
};

/*
 * Compiles the path that text begins with, as an argument of a function: it
 * ends before a comma, a parenthesis or a blank. *used_out: its bytes.
 */
struct path *path_compile_prefix(struct slice text, size_t *used_out,
                                 struct error *err) MUST_CHECK;

/*
 * As path_eval(), but tells why there is nothing: -ENOENT when the path
 * selects nothing, -E2BIG when it is too much work or the result too large.
 */
int path_select(const struct path *p, struct value *input,
                struct value *context, struct value **out,
                struct error *err) MUST_CHECK;

/* What a filter's operator says of the values on its two sides. */
bool path_compare(enum test_kind kind, struct slice a, struct slice b);
/* Bytes that path_compare() may look at. */
size_t path_compare_cost(enum test_kind kind, struct slice a, struct slice b);
/* Of a UTF-8 text. */
uint32_t path_characters(struct slice text);

#endif
