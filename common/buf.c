/*
 * buf - a growing run of bytes.
 */
#include "common/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"
#include "common/mem.h"

struct slice
slice_of(const char *s)
{
	return (struct slice){ (const uint8_t *)s, strlen(s) };
}

int
slice_is(struct slice s, const char *text)
{
	size_t len = strlen(text);

	return s.len == len && (len == 0 || memcmp(s.data, text, len) == 0);
}

void
buf_fini(struct buf *b)
{
	free(b->data);
	*b = (struct buf)BUF_EMPTY;
}

static void __attribute__((noinline)) grow(struct buf *b, size_t more)
{
	size_t cap = b->cap < 64 ? 64 : b->cap;

	ASSERT(more <= SIZE_MAX / 4 && b->len <= SIZE_MAX / 4);
	while (cap - b->len < more)
		cap *= 2;
	b->data = mem_realloc(b->data, cap);
	b->cap = cap;
}

void
buf_reserve(struct buf *b, size_t more)
{
	if (more > b->cap - b->len)
		grow(b, more);
}

void
buf_add(struct buf *b, const void *data, size_t len)
{
	if (len == 0)
		return;
	buf_reserve(b, len);
	memcpy(b->data + b->len, data, len);
	b->len += len;
}

void
buf_add_byte(struct buf *b, uint8_t byte)
{
	buf_reserve(b, 1);
	b->data[b->len++] = byte;
}

void
buf_add_text(struct buf *b, const char *text)
{
	buf_add(b, text, strlen(text));
}

void
buf_printf(struct buf *b, const char *format, ...)
{
	va_list args;
	int len;

	buf_reserve(b, 64);
	va_start(args, format);
	len =
	    vsnprintf((char *)b->data + b->len, b->cap - b->len, format, args);
	va_end(args);
	ASSERT(len >= 0);
	if ((size_t)len >= b->cap - b->len) {
		buf_reserve(b, (size_t)len + 1);
		va_start(args, format);
		len = vsnprintf((char *)b->data + b->len, b->cap - b->len,
				format, args);
		va_end(args);
		ASSERT(len >= 0 && (size_t)len < b->cap - b->len);
	}
	b->len += (size_t)len;
}

void
buf_drop(struct buf *b, size_t n)
{
	ASSERT(n <= b->len);
	b->len -= n;
	if (b->len > 0 && n > 0)
		memmove(b->data, b->data + n, b->len);
}

char *
buf_text(struct buf *b)
{
	buf_reserve(b, 1);
	b->data[b->len] = '\0';
	return (char *)b->data;
}
