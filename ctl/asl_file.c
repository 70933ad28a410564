/*
 * asl_file - a definition from a file: read, parsed, its errors shown.
 */
#include "ctl/asl_file.h"

#include <stdlib.h>

#include "common/mem.h"
#include "ctl/json_out.h"
#include "ctl/out.h"

static void
say_errors(const char *path, const struct definition_report *report)
{
	for (uint32_t n = 0; n < report->count; n++) {
		const struct error *e = &report->errors[n];
		struct buf place = BUF_EMPTY;

		buf_add_text(&place, path);
		if (e->line != 0)
			buf_printf(&place, ":%u", e->line);
		buf_add_text(&place, ": ");
		if (e->state[0] != '\0')
			buf_printf(&place, "state \"%s\"%s", e->state,
				   e->field[0] != '\0' ? ", " : ": ");
		if (e->field[0] != '\0')
			buf_printf(&place, "field \"%s\": ", e->field);
		complain("%s%s", buf_text(&place), e->message);
		buf_fini(&place);
	}
	if (report->count == DEFINITION_ERRORS_MAX)
		advise("There may be more: only the first %d are shown.",
		       DEFINITION_ERRORS_MAX);
}

static void
text_or_null(struct json_out *j, const char *key, const char *text)
{
	json_out_text(j, key, *text != '\0' ? text : NULL);
}

static void
print_errors(const struct definition_report *report)
{
	struct json_out j = JSON_OUT_EMPTY;

	json_out_open(&j, NULL, '{');
	json_out_open(&j, "errors", '[');
	for (uint32_t n = 0; n < report->count; n++) {
		const struct error *e = &report->errors[n];

		json_out_open(&j, NULL, '{');
		text_or_null(&j, "state", e->state);
		text_or_null(&j, "field", e->field);
		if (e->line != 0)
			json_out_int(&j, "line", e->line);
		else
			json_out_null(&j, "line");
		json_out_text(&j, "message", e->message);
		json_out_close(&j, '}');
	}
	json_out_close(&j, ']');
	json_out_close(&j, '}');
	out_json(&j);
}

int
asl_file_load(const struct ctl *c, const char *path, struct definition **out,
	      struct buf *text_out)
{
	struct definition_report *report = mem_zalloc(sizeof(*report));
	struct definition *d = NULL;
	struct buf text = BUF_EMPTY;
	int rc = file_read(path, DEFINITION_BYTES_MAX, "the definition", &text);

	if (rc != CTL_OK)
		goto out;
	d = definition_parse(buf_text(&text), text.len, report);
	if (d == NULL) {
		say_errors(path, report);
		if (out_is_json(c))
			print_errors(report);
		rc = CTL_FAILED;
		goto out;
	}
	*out = d;
	if (text_out != NULL) {
		*text_out = text;
		text = (struct buf)BUF_EMPTY;
	}
out:
	buf_fini(&text);
	free(report);
	return rc;
}
