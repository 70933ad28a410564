/*
 * text - cutting and cleaning of what programs write.
 */
#include "worker/text.h"

#include "common/utf8.h"

/* How long the character at p is, or 0 when it is no UTF-8 (or NUL). */
static size_t
text_char(const uint8_t *p, size_t left)
{
	size_t len = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

	return p[0] != 0 && len <= left && utf8_valid(p, len) ? len : 0;
}

void
text_clean(struct slice text, size_t max, struct buf *out)
{
	const uint8_t *p = text.data, *end = text.data + text.len;

	if (text.len > max) {
		p = end - max;
		while (p < end && (*p & 0xc0) == 0x80)
			p++;
	}
	while (p < end) {
		size_t len = text_char(p, (size_t)(end - p));

		if (len == 0) {
			buf_add_byte(out, '?');
			len = 1;
		} else {
			buf_add(out, p, len);
		}
		p += len;
	}
}

struct slice
text_trim(struct slice text)
{
	while (text.len > 0 && (text.data[text.len - 1] == '\n' ||
	                        text.data[text.len - 1] == '\r' ||
	                        text.data[text.len - 1] == ' '))
		text.len--;
	return text;
}
