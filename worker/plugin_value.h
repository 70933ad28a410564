/*
 * plugin_value - values as <rappel/action.h> shows them: looked into, never
 * copied. Pure.
 */
#ifndef WORKER_PLUGIN_VALUE_H
#define WORKER_PLUGIN_VALUE_H

#include "worker/include/rappel/action.h"

enum rappel_type plugin_value_type(struct rappel_value v);
uint32_t plugin_value_count(struct rappel_value v);
bool plugin_value_get(struct rappel_value map, const char *key, size_t key_len,
		      struct rappel_value *out);
bool plugin_value_at(struct rappel_value array, uint32_t index,
		     struct rappel_value *out);
bool plugin_value_open(struct rappel_value v, struct rappel_cursor *out);
bool plugin_value_next(struct rappel_cursor *c, struct rappel_text *key,
		       struct rappel_value *out);
bool plugin_value_bool(struct rappel_value v, bool *out);
bool plugin_value_int(struct rappel_value v, int64_t *out);
bool plugin_value_uint(struct rappel_value v, uint64_t *out);
bool plugin_value_double(struct rappel_value v, double *out);
bool plugin_value_string(struct rappel_value v, struct rappel_text *out);

#endif
