/*
 * input - see input.h.
 */
#include "ctl/input.h"

#include <string.h>

#include "common/json.h"

/* As much as start_workflow() takes; the server has the last word. */
#define INPUT_BYTES_MAX ((size_t)1 << 20)

/* *value_out gets it as msgpack; where: what stands before the line. */
static int
check(const char *what, const char *taker, const char *where, size_t bytes_max,
      struct buf *text, struct buf *value_out)
{
	struct error err = { .line = 0 };

	if (text->len > bytes_max) {
		complain("%s has %zu bytes; at most %zu fit", what, text->len,
			 bytes_max);
		return CTL_FAILED;
	}
	if (json_parse(buf_text(text), text->len, VALUE_DEPTH_MAX, value_out,
		       NULL, &err) == 0)
		return CTL_OK;
	complain("%s is not JSON that a %s can take: %s%u: %s", what, taker,
		 where, err.line, err.message);
	return CTL_FAILED;
}

int
input_json(const char *typed, const char *what, size_t bytes_max,
	   struct buf *text_out)
{
	struct buf value = BUF_EMPTY;
	bool in = strcmp(typed, "-") == 0;
	int rc = CTL_OK;

	if (in)
		rc = file_read("-", bytes_max, what, text_out);
	else
		buf_add_text(text_out, typed);
	if (rc == CTL_OK)
		rc = check(what, "task", in ? "stdin:" : "line ", bytes_max,
			   text_out, &value);
	buf_fini(&value);
	return rc;
}

int
input_read(const struct ctl *c, struct buf *text_out, struct buf *value_out)
{
	const char *file = option(c, OPTION_INPUT_FILE);
	const char *inline_text = option(c, OPTION_INPUT);
	struct buf value = BUF_EMPTY;
	struct buf where = BUF_EMPTY;
	int rc = CTL_OK;

	if (file != NULL && inline_text != NULL) {
		complain("-i and --input exclude each other");
		return CTL_USAGE;
	}
	if (file != NULL)
		rc = file_read(file, INPUT_BYTES_MAX, "the input", text_out);
	else
		buf_add_text(text_out,
			     inline_text != NULL ? inline_text : "{}");
	if (rc != CTL_OK)
		return rc;
	buf_printf(&where, "%s%s", file != NULL ? file : "--input",
		   file != NULL ? ":" : ", line ");
	rc = check("the input", "run", buf_text(&where), INPUT_BYTES_MAX,
		   text_out, &value);
	buf_fini(&where);
	if (rc == CTL_OK && value_out != NULL)
		*value_out = value;
	else
		buf_fini(&value);
	return rc;
}
