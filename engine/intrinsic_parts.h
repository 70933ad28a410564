/*
 * intrinsic_parts - what a compiled call consists of, for the intrinsic*.c
 * files.
 */
#ifndef ENGINE_INTRINSIC_PARTS_H
#define ENGINE_INTRINSIC_PARTS_H

#include "common/mem.h"
#include "engine/intrinsic.h"
#include "engine/path_parts.h"

#define INTRINSIC_DEPTH_MAX 32U /* calls inside calls */
#define INTRINSIC_ARGS_MAX 4096U
#define RANGE_ITEMS_MAX 1000
#define TEXT_CHARACTERS_MAX 10000U /* of what is encoded or hashed */

enum term_kind {
	TERM_LITERAL,
	TERM_PATH,
	TERM_CALL,
};

struct call;

struct term {
	enum term_kind kind;
	struct slice literal;     /* msgpack */
	struct slice source;      /* of a string: as it stands in the text */
	bool open_escape;         /* of a string: its value is an error */
	struct path *path;
	struct call *call;
	struct term *path_next;   /* all with a path, to release them */
};

struct call {
	const struct function *function;
	struct term **terms;
	uint32_t count;
};

struct intrinsic {
	struct arena *arena;
	struct call *root;
	struct term *paths;
	bool context;
};

/* An argument's value while its function runs. */
struct arg {
	const struct term *term;
	struct slice v;
	struct value *held; /* keeps v, or NULL */
	struct buf made;    /* keeps v, or empty */
};

/* Appends the function's value to out; 0 or -EINVAL with err. */
typedef int function_fn(const struct arg *args, uint32_t count,
                        struct template_seed *seed, struct buf *out,
                        struct error *err);

struct function {
	const char *name;
	uint32_t count_min;
	uint32_t count_max;
	function_fn *run;
};

/* NULL when the language has none of this name. */
const struct function *function_find(struct slice name);

/* Arguments of a type; -EINVAL with err naming the argument by number. */
int arg_array(const struct arg *args, uint32_t no, struct error *err);
int arg_string(const struct arg *args, uint32_t no, struct slice *out,
               struct error *err);
int arg_integer(const struct arg *args, uint32_t no, int64_t *out,
                struct error *err);

function_fn function_array;
function_fn function_array_partition;
function_fn function_array_contains;
function_fn function_array_range;
function_fn function_array_get_item;
function_fn function_array_length;
function_fn function_array_unique;
function_fn function_json_merge;
function_fn function_base64_encode;
function_fn function_base64_decode;
function_fn function_hash;
function_fn function_uuid;
function_fn function_math_random;

#endif
