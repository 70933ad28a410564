/*
 * json_out - JSON text, written member by member.
 */
#include "ctl/json_out.h"

#include "common/json.h"

void
json_out_fini(struct json_out *j)
{
	buf_fini(&j->text);
	j->comma = false;
}

/* Comma and key before any value. */
static void
begin(struct json_out *j, const char *key)
{
	if (j->comma)
		buf_add_byte(&j->text, ',');
	j->comma = true;
	if (key != NULL) {
		json_write_str(slice_of(key), &j->text);
		buf_add_byte(&j->text, ':');
	}
}

void
json_out_open(struct json_out *j, const char *key, char bracket)
{
	begin(j, key);
	buf_add_byte(&j->text, (uint8_t)bracket);
	j->comma = false;
}

void
json_out_close(struct json_out *j, char bracket)
{
	buf_add_byte(&j->text, (uint8_t)bracket);
	j->comma = true;
}

void
json_out_slice(struct json_out *j, const char *key, struct slice text)
{
	begin(j, key);
	json_write_str(text, &j->text);
}

void
json_out_text(struct json_out *j, const char *key, const char *text)
{
	if (text == NULL)
		json_out_null(j, key);
	else
		json_out_slice(j, key, slice_of(text));
}

void
json_out_int(struct json_out *j, const char *key, int64_t number)
{
	begin(j, key);
	buf_printf(&j->text, "%lld", (long long)number);
}

void
json_out_bool(struct json_out *j, const char *key, bool is)
{
	json_out_raw(j, key, is ? "true" : "false");
}

void
json_out_null(struct json_out *j, const char *key)
{
	json_out_raw(j, key, "null");
}

void
json_out_raw(struct json_out *j, const char *key, const char *json)
{
	begin(j, key);
	buf_add_text(&j->text, json != NULL ? json : "null");
}

void
json_out_value(struct json_out *j, const char *key, struct slice value)
{
	begin(j, key);
	json_write(value, &j->text);
}
