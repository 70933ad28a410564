/*
 * input - the input of a run: --input JSON, -i FILE, or {}.
 */
#include "ctl/input.h"

#include <string.h>

#include "common/json.h"

/* As much as start_workflow() takes; the server has the last word. */
#define INPUT_BYTES_MAX ((size_t)1 << 20)

int
input_read(const struct ctl *c, struct buf *text_out, struct buf *value_out)
{
	const char *file = option(c, OPTION_INPUT_FILE);
	const char *inline_text = option(c, OPTION_INPUT);
	struct buf value = BUF_EMPTY;
	struct error err = { .line = 0 };
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
	if (text_out->len > INPUT_BYTES_MAX) {
		complain("the input has %zu bytes; at most %zu fit",
			 text_out->len, INPUT_BYTES_MAX);
		return CTL_FAILED;
	}
	if (json_parse(buf_text(text_out), text_out->len, VALUE_DEPTH_MAX,
		       &value, NULL, &err) != 0) {
		complain("the input is not JSON that a run can take: %s%s%u: "
			 "%s",
			 file != NULL ? file : "--input",
			 file != NULL ? ":" : ", line ", err.line, err.message);
		rc = CTL_FAILED;
	}
	if (rc == CTL_OK && value_out != NULL) {
		*value_out = value;
		return CTL_OK;
	}
	buf_fini(&value);
	return rc;
}
