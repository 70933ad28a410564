/*
 * rappel/action.h - actions in C: the contract between a plugin and
 * rappel-worker. ABI 1.
 *
 *	#include <rappel/action.h>
 *
 *	static void
 *	greet(struct rappel_task *t)
 *	{
 *		rappel_put_string(t, "hello");
 *	}
 *
 *	static const struct rappel_action actions[] = { { "greet", greet, 0 } };
 *	RAPPEL_PLUGIN("greeter", actions);
 *
 * A plugin is a shared module with one symbol, rappel_plugin_1, which
 * RAPPEL_PLUGIN() makes. Nothing is linked against: every function is called
 * through a table that comes with the task. docs/plugins.md has all of it.
 *
 * An action runs in a worker process, one at a time, on the only thread that
 * may call what is declared here. It ends by returning. It is run at least
 * once: after a crash the same attempt may run again, and rappel_key() is
 * what the two have in common.
 */
#ifndef RAPPEL_ACTION_H
#define RAPPEL_ACTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Changes when something that is here changes. What is new is added at the
 * end of a struct, whose size says whether it is there. */
#define RAPPEL_ABI 1

#if defined(__GNUC__)
#define RAPPEL_PRINTF(at, first) __attribute__((format(printf, at, first)))
#define RAPPEL_EXPORT __attribute__((visibility("default")))
#else
#define RAPPEL_PRINTF(at, first)
#define RAPPEL_EXPORT
#endif

struct pollfd;
struct rappel_api;

/* One attempt at an action, until run() returns. More lies behind this. */
struct rappel_task {
	const struct rappel_api *api;
};

/* UTF-8, not ended by NUL; borrowed from what it was read from. */
struct rappel_text {
	const char *data;
	size_t len;
};

/*
 * A JSON value as msgpack bytes, which lie in the task's input and are good as
 * long as the task. It is passed by value. One with len 0 is no value:
 * RAPPEL_NONE.
 */
struct rappel_value {
	const uint8_t *data;
	size_t len;
};

enum rappel_type {
	RAPPEL_NONE = 0, /* not there */
	RAPPEL_NULL = 1,
	RAPPEL_BOOL = 2,
	RAPPEL_INT = 3,  /* fits int64_t */
	RAPPEL_UINT = 4, /* above INT64_MAX */
	RAPPEL_DOUBLE = 5,
	RAPPEL_STRING = 6,
	RAPPEL_ARRAY = 7,
	RAPPEL_MAP = 8,
};

/* Where rappel_next() is in an array or map. Its content is private. */
struct rappel_cursor {
	const uint8_t *at;
	const uint8_t *end;
	uint32_t left;
	uint32_t keys;
};

enum rappel_level {
	RAPPEL_LOG_ERROR = 0,
	RAPPEL_LOG_WARNING = 1,
	RAPPEL_LOG_INFO = 2,
	RAPPEL_LOG_DEBUG = 3,
};

/* For count of rappel_put_array() and rappel_put_map(): as many as come before
 * rappel_put_end(). */
#define RAPPEL_OPEN UINT32_MAX
/* Of rappel_left_us(): its state has no TimeoutSeconds. */
#define RAPPEL_NO_DEADLINE INT64_MAX
/* Of rappel_wait(). */
#define RAPPEL_CANCELLED (-1)
#define RAPPEL_REFUSED (-2)
#define RAPPEL_WAIT_FDS_MAX 8

/* The functions, to be called through those below. */
struct rappel_api {
	uint32_t abi;
	uint32_t size; /* of this struct, as the worker has it */

	/* values */
	enum rappel_type (*type)(struct rappel_value v);
	uint32_t (*count)(struct rappel_value v);
	bool (*get)(struct rappel_value map, const char *key, size_t key_len,
	            struct rappel_value *out);
	bool (*at)(struct rappel_value array, uint32_t index,
	           struct rappel_value *out);
	bool (*open)(struct rappel_value v, struct rappel_cursor *out);
	bool (*next)(struct rappel_cursor *c, struct rappel_text *key,
	             struct rappel_value *out);
	bool (*as_bool)(struct rappel_value v, bool *out);
	bool (*as_int)(struct rappel_value v, int64_t *out);
	bool (*as_uint)(struct rappel_value v, uint64_t *out);
	bool (*as_double)(struct rappel_value v, double *out);
	bool (*as_string)(struct rappel_value v, struct rappel_text *out);

	/* the task */
	struct rappel_value (*input)(const struct rappel_task *t);
	const char *(*json)(struct rappel_task *t, struct rappel_value v,
	                    size_t *len);
	const char *(*action)(struct rappel_task *t);
	const char *(*run_id)(struct rappel_task *t);
	const char *(*key)(struct rappel_task *t);
	const char *(*token)(struct rappel_task *t);
	uint64_t (*attempt)(const struct rappel_task *t);
	int64_t (*left_us)(const struct rappel_task *t);

	/* the result */
	void (*put_null)(struct rappel_task *t);
	void (*put_bool)(struct rappel_task *t, bool v);
	void (*put_int)(struct rappel_task *t, int64_t v);
	void (*put_uint)(struct rappel_task *t, uint64_t v);
	void (*put_double)(struct rappel_task *t, double v);
	void (*put_text)(struct rappel_task *t, const char *text, size_t len);
	void (*put_array)(struct rappel_task *t, uint32_t count);
	void (*put_map)(struct rappel_task *t, uint32_t count);
	void (*put_end)(struct rappel_task *t);
	void (*put_value)(struct rappel_task *t, struct rappel_value v);
	void (*put_json)(struct rappel_task *t, const char *json, size_t len);
	void (*fail)(struct rappel_task *t, const char *error,
	             const char *format, ...) RAPPEL_PRINTF(3, 4);
	void (*kind)(struct rappel_task *t, const char *error);
	void (*pending)(struct rappel_task *t);

	/* while it runs */
	bool (*cancelled)(struct rappel_task *t);
	bool (*heartbeat)(struct rappel_task *t, const char *json, size_t len);
	int (*wait)(struct rappel_task *t, struct pollfd *fds, uint32_t count,
	            int64_t timeout_us);
	void (*usage)(struct rappel_task *t, const char *name, uint64_t value);
	void (*log)(struct rappel_task *t, enum rappel_level level,
	            const char *format, ...) RAPPEL_PRINTF(3, 4);
};

/* ---- what a plugin is ---- */

/* It may take long: what is finished goes out before it begins. Without it a
 * finished answer may wait until this action ends, waits or asks whether it
 * was cancelled. */
#define RAPPEL_SLOW 1U

struct rappel_action {
	const char *name; /* 1 to 128 bytes, what a Task's Resource names */
	void (*run)(struct rappel_task *t);
	uint32_t flags; /* RAPPEL_SLOW */
};

struct rappel_plugin {
	uint32_t abi;
	uint32_t size;        /* of this struct */
	uint32_t api_size;    /* of the struct rappel_api that it was built with */
	uint32_t action_size; /* of one entry of actions */
	const char *name;     /* for messages */
	const struct rappel_action *actions;
	uint32_t action_count;
	/*
	 * Once in each process, before any action: 0, or anything else when
	 * it cannot work, with the reason in why. It has less than
	 * worker_hello (5 s). api->log() may be called with NULL for the task.
	 * May be NULL.
	 */
	int (*set_up)(const struct rappel_api *api, char *why, size_t why_size);
	/* When the process ends in peace, which nothing may depend on. May be
	 * NULL. */
	void (*tear_down)(void);
};

extern RAPPEL_EXPORT const struct rappel_plugin rappel_plugin_1;

/* At the end of the plugin's one source that has its table, an array. */
#define RAPPEL_PLUGIN_WITH(NAME, ACTIONS, SET_UP, TEAR_DOWN) \
	const struct rappel_plugin rappel_plugin_1 = { \
		RAPPEL_ABI, \
		(uint32_t)sizeof(struct rappel_plugin), \
		(uint32_t)sizeof(struct rappel_api), \
		(uint32_t)sizeof(struct rappel_action), \
		(NAME), \
		(ACTIONS), \
		(uint32_t)(sizeof(ACTIONS) / sizeof((ACTIONS)[0])), \
		(SET_UP), \
		(TEAR_DOWN), \
	}
#define RAPPEL_PLUGIN(NAME, ACTIONS) \
	RAPPEL_PLUGIN_WITH(NAME, ACTIONS, NULL, NULL)

/* ---- reading the input ---- */

/* What the state gave to the action. */
static inline struct rappel_value
rappel_input(const struct rappel_task *t)
{
	return t->api->input(t);
}

static inline enum rappel_type
rappel_type(const struct rappel_task *t, struct rappel_value v)
{
	return t->api->type(v);
}

/* Elements of an array, pairs of a map, 0 of anything else. */
static inline uint32_t
rappel_count(const struct rappel_task *t, struct rappel_value v)
{
	return t->api->count(v);
}

/* What is under key (the last, of duplicates); no value when v is no map or
 * has no such key. */
static inline struct rappel_value
rappel_get(const struct rappel_task *t, struct rappel_value v, const char *key)
{
	struct rappel_value found = { NULL, 0 };

	(void)t->api->get(v, key, strlen(key), &found);
	return found;
}

/* The element at index, from 0; or no value. From the front each time: to
 * visit all, use rappel_open(). */
static inline struct rappel_value
rappel_at(const struct rappel_task *t, struct rappel_value v, uint32_t index)
{
	struct rappel_value found = { NULL, 0 };

	(void)t->api->at(v, index, &found);
	return found;
}

/* Begins at the first of an array or map; false for anything else. */
static inline bool
rappel_open(const struct rappel_task *t, struct rappel_value v,
            struct rappel_cursor *c)
{
	return t->api->open(v, c);
}

/* The next one; false after the last. key may be NULL; an array's is empty. */
static inline bool
rappel_next(const struct rappel_task *t, struct rappel_cursor *c,
            struct rappel_text *key, struct rappel_value *out)
{
	return t->api->next(c, key, out);
}

/*
 * True, with *out set, when v is exactly that: no integer becomes another, and
 * only what a double holds exactly is one. False otherwise, and *out stays as
 * it was, so that it may hold a default.
 */
static inline bool
rappel_bool(const struct rappel_task *t, struct rappel_value v, bool *out)
{
	return t->api->as_bool(v, out);
}

static inline bool
rappel_int(const struct rappel_task *t, struct rappel_value v, int64_t *out)
{
	return t->api->as_int(v, out);
}

static inline bool
rappel_uint(const struct rappel_task *t, struct rappel_value v, uint64_t *out)
{
	return t->api->as_uint(v, out);
}

static inline bool
rappel_double(const struct rappel_task *t, struct rappel_value v, double *out)
{
	return t->api->as_double(v, out);
}

/* May hold NUL. */
static inline bool
rappel_string(const struct rappel_task *t, struct rappel_value v,
              struct rappel_text *out)
{
	return t->api->as_string(v, out);
}

/* The value as JSON text, ended by NUL, until the task ends. len may be
 * NULL. */
static inline const char *
rappel_json(struct rappel_task *t, struct rappel_value v, size_t *len)
{
	return t->api->json(t, v, len);
}

/* ---- which task it is ---- */

/* The name under which it was called. The texts are good until it ends. */
static inline const char *
rappel_action_name(struct rappel_task *t)
{
	return t->api->action(t);
}

/* The run (the instance), a UUID. */
static inline const char *
rappel_run_id(struct rappel_task *t)
{
	return t->api->run_id(t);
}

/* The key for effects that must not happen twice: the same for every attempt
 * of this entry of the state, and for a run after a crash. */
static inline const char *
rappel_key(struct rappel_task *t)
{
	return t->api->key(t);
}

/* What somebody else finishes this attempt with, after rappel_pending(). */
static inline const char *
rappel_token(struct rappel_task *t)
{
	return t->api->token(t);
}

/* From 1 up. */
static inline uint64_t
rappel_attempt(const struct rappel_task *t)
{
	return t->api->attempt(t);
}

/* How long until its timeout, when the process is killed; not below 0. */
static inline int64_t
rappel_left_us(const struct rappel_task *t)
{
	return t->api->left_us(t);
}

/* ---- its result ----
 *
 * One value: a scalar, or an array or map and what is in it, in order. When
 * nothing was put it is null. What no result can be (NaN, text that is no
 * UTF-8, a map with a value missing, deeper than 32) makes the action fail
 * with Rappel.ResultInvalid and a cause that says where; what is larger than
 * value_bytes_max with States.DataLimitExceeded.
 */
static inline void
rappel_put_null(struct rappel_task *t)
{
	t->api->put_null(t);
}

static inline void
rappel_put_bool(struct rappel_task *t, bool v)
{
	t->api->put_bool(t, v);
}

static inline void
rappel_put_int(struct rappel_task *t, int64_t v)
{
	t->api->put_int(t, v);
}

static inline void
rappel_put_uint(struct rappel_task *t, uint64_t v)
{
	t->api->put_uint(t, v);
}

static inline void
rappel_put_double(struct rappel_task *t, double v)
{
	t->api->put_double(t, v);
}

/* A string, or the key of a map's next value. */
static inline void
rappel_put_text(struct rappel_task *t, const char *text, size_t len)
{
	t->api->put_text(t, text, len);
}

static inline void
rappel_put_string(struct rappel_task *t, const char *text)
{
	t->api->put_text(t, text, strlen(text));
}

/* count values follow. */
static inline void
rappel_put_array(struct rappel_task *t, uint32_t count)
{
	t->api->put_array(t, count);
}

/* count times a key and a value follow. */
static inline void
rappel_put_map(struct rappel_task *t, uint32_t count)
{
	t->api->put_map(t, count);
}

/* Ends the innermost that was begun with RAPPEL_OPEN. */
static inline void
rappel_put_end(struct rappel_task *t)
{
	t->api->put_end(t);
}

/* A part of the input is not copied when it is the whole result. Msgpack
 * bytes of your own are checked, and copied. */
static inline void
rappel_put_value(struct rappel_task *t, struct rappel_value v)
{
	t->api->put_value(t, v);
}

/* One value as JSON text. */
static inline void
rappel_put_json(struct rappel_task *t, const char *json, size_t len)
{
	t->api->put_json(t, json, len);
}

/* Instead of a result: an error's name (at most 128 bytes), which Retry and
 * Catch look at, and its cause for people: rappel_fail(t, "My.Error", "%s", why). */
#define rappel_fail(t, ...) ((t)->api->fail((t), __VA_ARGS__))

/* The error counts as this one, too: nearest first, at most 32. */
static inline void
rappel_kind(struct rappel_task *t, const char *error)
{
	t->api->kind(t, error);
}

/* Instead of a result: somebody else finishes it, with rappel_token(). */
static inline void
rappel_pending(struct rappel_task *t)
{
	t->api->pending(t);
}

/* ---- while it runs ---- */

/* Nobody wants its result any more: return soon. A second later the process
 * is killed. Cheap enough to be asked a thousand times a second. */
static inline bool
rappel_cancelled(struct rappel_task *t)
{
	return t->api->cancelled(t);
}

/* It lives, and how far it is: any value as JSON text, at most 4 KiB packed, or
 * NULL. One in 100 ms is sent; false: this one was not. */
static inline bool
rappel_heartbeat(struct rappel_task *t, const char *json)
{
	return t->api->heartbeat(t, json, json != NULL ? strlen(json) : 0);
}

/* poll(), or sleep with count 0: how many are ready, 0 after timeout_us
 * (below 0: never), RAPPEL_CANCELLED (once) as soon as it is; or
 * RAPPEL_REFUSED for more than RAPPEL_WAIT_FDS_MAX descriptors. */
static inline int
rappel_wait(struct rappel_task *t, struct pollfd *fds, uint32_t count,
            int64_t timeout_us)
{
	return t->api->wait(t, fds, count, timeout_us);
}

/* A figure that is kept with the attempt: at most 16, of names of at most 32
 * bytes. */
static inline void
rappel_usage(struct rappel_task *t, const char *name, uint64_t value)
{
	t->api->usage(t, name, value);
}

/* A line in the daemon's log with action and task token; the last 8 KiB are
 * kept with the attempt: rappel_log(t, RAPPEL_LOG_INFO, "n=%d", n). */
#define rappel_log(t, ...) ((t)->api->log((t), __VA_ARGS__))

#ifdef __cplusplus
}
#endif

#endif
