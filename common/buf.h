/*
 * buf - a growing run of bytes. Owns its memory; never fails (mem.h).
 */
#ifndef COMMON_BUF_H
#define COMMON_BUF_H

#include <stddef.h>
#include <stdint.h>

struct slice {
	const uint8_t *data;
	size_t len;
};

#define SLICE_NONE ((struct slice){ NULL, 0 })
/* The bytes of a string literal. */
#define SLICE_LITERAL(s) ((struct slice){ (const uint8_t *)(s), sizeof(s) - 1 })

struct slice slice_of(const char *s); /* borrowed, without the NUL */
int slice_is(struct slice s, const char *text); /* 1 when equal */

struct buf {
	uint8_t *data;
	size_t len;
	size_t cap;
};

#define BUF_EMPTY { NULL, 0, 0 }

void buf_fini(struct buf *b); /* frees; b is empty and usable again */
void buf_reserve(struct buf *b, size_t more); /* room for more bytes */
void buf_add(struct buf *b, const void *data, size_t len);
void buf_add_byte(struct buf *b, uint8_t byte);
void buf_add_text(struct buf *b, const char *text);
void buf_printf(struct buf *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* Drops the first n bytes. */
void buf_drop(struct buf *b, size_t n);
/* Adds a NUL behind the content (not counted) and returns the content. */
char *buf_text(struct buf *b);

static inline struct slice
buf_slice(const struct buf *b)
{
	return (struct slice){ b->data, b->len };
}

#endif
