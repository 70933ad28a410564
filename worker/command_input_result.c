/*
 * command_input_result - the keys that say where the result is, what the
 * program finds in its folder, and what bounds it.
 */
#include "worker/command_input_parts.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/json.h"
#include "common/mem.h"
#include "common/units.h"
#include "common/value.h"

#define FILES_MAX 256U
#define FILE_NAME_BYTES_MAX 255U
/* Below the pool's cancel_grace, behind which the worker is killed. */
#define KILL_AFTER_DEFAULT_US (UINT64_C(800) * CLOCK_MS_US)
#define KILL_AFTER_MAX_US (UINT64_C(3600) * CLOCK_SECOND_US)

static bool
is_file_name(struct slice name)
{
	return name.len > 0 && name.len <= FILE_NAME_BYTES_MAX &&
	       !slice_has_nul(name) &&
	       memchr(name.data, '/', name.len) == NULL &&
	       !slice_is(name, ".") && !slice_is(name, "..");
}

/* The bytes of a string, the JSON text of anything else. */
static int
file_content(const struct command_reader *r, struct slice value,
	     struct buf *out)
{
	struct buf filled = BUF_EMPTY;
	struct item item;
	int rc = command_template_value(value, &r->values, &filled, r->err);

	if (rc == 0) {
		item = value_item(buf_slice(&filled));
		if (item.type == VALUE_STR)
			buf_add(out, item.bytes.data, item.bytes.len);
		else
			json_write(buf_slice(&filled), out);
	}
	buf_fini(&filled);
	return rc;
}

int
reader_files(const struct command_reader *r)
{
	struct command_input *out = r->out;
	struct slice value;
	struct cursor c;
	uint32_t count;

	if (!reader_has(r, "files", &value))
		return 0;
	count = value_count(value);
	if (value_type(value) != VALUE_MAP || count > FILES_MAX)
		return reader_wrong(
		    r, "files",
		    " must be an object of at most %u names and "
		    "contents",
		    FILES_MAX);
	c = cursor_of(value);
	(void)cursor_next(&c);
	out->files = mem_calloc(count + 1, sizeof(*out->files));
	for (uint32_t i = 0; i < count; i++) {
		struct slice name = cursor_next(&c).bytes;
		struct command_file *f = &out->files[out->file_count];

		if (!is_file_name(name))
			return reader_wrong(
			    r, "files",
			    ": \"%.*s\" is not the name of a file "
			    "without a folder",
			    (int)(name.len < 64 ? name.len : 64),
			    (const char *)name.data);
		f->name = mem_strndup(name.data, name.len);
		out->file_count++;
		/* Of two with one name the last one counts. */
		for (uint32_t k = 0; k + 1 < out->file_count; k++) {
			if (strcmp(out->files[k].name, f->name) != 0)
				continue;
			free(f->name);
			f->name = NULL;
			out->file_count--;
			f = &out->files[k];
			f->content.len = 0;
			break;
		}
		if (file_content(r, cursor_value(&c), &f->content) < 0) {
			char part[80];

			snprintf(part, sizeof(part), ": \"%.64s\"", f->name);
			return reader_wrong_within(r, "files", part);
		}
	}
	return 0;
}

static int
read_output(const struct command_reader *r)
{
	static const char *const names[] = {
		[OUTPUT_JSON] = "json",
		[OUTPUT_TEXT] = "text",
		[OUTPUT_LINES] = "lines",
		[OUTPUT_NONE] = "none",
	};
	struct slice value;

	if (!reader_has(r, "output", &value))
		return 0;
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (value_is_str(value, names[i])) {
			r->out->output = (enum command_output)i;
			return 0;
		}
	}
	return reader_wrong(
	    r, "output", " must be \"json\", \"text\", \"lines\" or \"none\"");
}

static int
read_from(const struct command_reader *r)
{
	struct slice value, name;
	struct item item;

	if (reader_has(r, "output_from", &value)) {
		if (value_is_str(value, "fd3"))
			r->out->from = FROM_FD3;
		else if (!value_is_str(value, "stdout"))
			return reader_wrong(r, "output_from",
					    " must be \"stdout\" or \"fd3\"");
		if (reader_has(r, "result_file", &name))
			return reader_wrong(r, "output_from",
					    " and \"result_file\" exclude each "
					    "other");
	}
	if (reader_has(r, "result_file", &value)) {
		item = value_item(value);
		if (item.type != VALUE_STR || !is_file_name(item.bytes))
			return reader_wrong(
			    r, "result_file",
			    " must be the name of a file without a "
			    "folder");
		r->out->from = FROM_FILE;
		r->out->result_file =
		    mem_strndup(item.bytes.data, item.bytes.len);
	}
	if (r->out->output == OUTPUT_NONE) {
		if (r->out->from != FROM_STDOUT)
			return reader_wrong(
			    r, "output",
			    " is \"none\": there is nothing to read "
			    "from elsewhere");
		r->out->from = FROM_NOWHERE;
	}
	return 0;
}

/* Filled when the program has ended; but a key that is missing is better
 * found before it begins. */
static int
read_result(const struct command_reader *r)
{
	static const uint8_t empty_text[] = { 0xa0 };
	struct command_values check = { r->values.fill,
					r->values.map,
					{ empty_text, sizeof(empty_text) } };
	struct buf unused = BUF_EMPTY;
	struct slice value;
	int rc = 0;

	if (reader_has(r, "result", &value) &&
	    command_template_value(value, &check, &unused, r->err) < 0)
		rc = reader_wrong_within(r, "result", "");
	buf_fini(&unused);
	return rc;
}

/* ---- the rest ---- */

static int
read_kill_after(const struct command_reader *r)
{
	struct buf text = BUF_EMPTY;
	struct slice value;
	uint64_t us = 0;
	int rc = -EINVAL;

	r->out->kill_after_us = KILL_AFTER_DEFAULT_US;
	if (!reader_has(r, "kill_after", &value))
		return 0;
	if (value_type(value) != VALUE_BOOL &&
	    command_template_scalar(value, &text))
		rc = units_parse(buf_text(&text), units_duration, &us);
	buf_fini(&text);
	if (rc < 0 || us > KILL_AFTER_MAX_US)
		return reader_wrong(
		    r, "kill_after",
		    " must be seconds, or a text like \"500ms\", at "
		    "most an hour");
	r->out->kill_after_us = us;
	return 0;
}

static int
read_heartbeat(const struct command_reader *r)
{
	struct slice value;

	if (!reader_has(r, "heartbeat", &value))
		return 0;
	if (value_is_str(value, "fd4"))
		r->out->heartbeat_fd = true;
	else if (!value_is_str(value, "output"))
		return reader_wrong(r, "heartbeat",
				    " must be \"output\" or \"fd4\"");
	return 0;
}

static int
read_limits(const struct command_reader *r)
{
	struct slice value;

	if (!reader_has(r, "limits", &value) ||
	    command_limits_parse(value, &r->out->limits, r->err) == 0)
		return 0;
	snprintf(r->err->field, sizeof(r->err->field), "limits");
	return -EINVAL;
}

int
reader_output(const struct command_reader *r)
{
	int rc = read_output(r);

	if (rc == 0)
		rc = read_from(r);
	if (rc == 0)
		rc = read_limits(r);
	if (rc == 0)
		rc = read_kill_after(r);
	if (rc == 0)
		rc = read_heartbeat(r);
	if (rc == 0 && r->of_file)
		rc = read_result(r);
	return rc;
}
