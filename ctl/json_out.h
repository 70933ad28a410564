/*
 * json_out - JSON text, written member by member.
 *
 * Pure. For what is put together from columns and constants; whole values
 * are written by common/json.h.
 */
#ifndef CTL_JSON_OUT_H
#define CTL_JSON_OUT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"

struct json_out {
	struct buf text;
	bool comma; /* something stands before on this level */
};

#define JSON_OUT_EMPTY                                                         \
	{                                                                      \
		BUF_EMPTY, false                                               \
	}

void json_out_fini(struct json_out *j);

/* A NULL key is for elements of an array and for the outermost value. */
void json_out_open(struct json_out *j, const char *key, char bracket);
void json_out_close(struct json_out *j, char bracket);
/* A NULL text is null. */
void json_out_text(struct json_out *j, const char *key, const char *text);
void json_out_slice(struct json_out *j, const char *key, struct slice text);
void json_out_int(struct json_out *j, const char *key, int64_t number);
void json_out_bool(struct json_out *j, const char *key, bool is);
void json_out_null(struct json_out *j, const char *key);
/* Text that is JSON already; NULL is null. */
void json_out_raw(struct json_out *j, const char *key, const char *json);
/* A checked msgpack value. */
void json_out_value(struct json_out *j, const char *key, struct slice value);

#endif
