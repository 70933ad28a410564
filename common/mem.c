/*
 * mem - allocation that ends the process instead of failing, and arenas.
 */
#include "common/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/assert.h"

void
mem_exhausted(void)
{
	assert_failed("out of memory", __FILE__, __LINE__);
}

static void *
check(void *p)
{
	if (__builtin_expect(p == NULL, 0))
		mem_exhausted();
	return p;
}

void *
mem_alloc(size_t size)
{
	return check(malloc(size > 0 ? size : 1));
}

void *
mem_zalloc(size_t size)
{
	return check(calloc(1, size > 0 ? size : 1));
}

void *
mem_calloc(size_t count, size_t size)
{
	if (count == 0 || size == 0)
		return mem_zalloc(1);
	return check(calloc(count, size)); /* NULL when it overflows */
}

void *
mem_realloc(void *p, size_t size)
{
	return check(realloc(p, size > 0 ? size : 1));
}

char *
mem_strdup(const char *s)
{
	return mem_strndup(s, strlen(s));
}

char *
mem_strndup(const void *s, size_t len)
{
	ASSERT(len < SIZE_MAX);

	char *copy = mem_alloc(len + 1);

	if (len > 0)
		memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}

/* ---- arenas ---- */

#define ARENA_MAGIC 0x4152454eU
#define ARENA_ALIGN _Alignof(max_align_t)

struct block {
	struct block *next;
	size_t size; /* of data */
	size_t used;
	_Alignas(max_align_t) uint8_t data[];
};

struct arena {
	uint32_t magic;
	size_t block_bytes;
	struct block *blocks; /* the first one is being filled */
};

static struct block *
block_create(size_t size)
{
	ASSERT(size <= SIZE_MAX / 2);

	struct block *b = mem_alloc(sizeof(*b) + size);

	b->next = NULL;
	b->size = size;
	b->used = 0;
	return b;
}

struct arena *
arena_create(size_t block_bytes)
{
	struct arena *a = mem_alloc(sizeof(*a));

	a->magic = ARENA_MAGIC;
	a->block_bytes = block_bytes < 256 ? 256 : block_bytes;
	a->blocks = NULL;
	return a;
}

static void
blocks_free(struct block *b)
{
	while (b != NULL) {
		struct block *next = b->next;

		free(b);
		b = next;
	}
}

void
arena_destroy(struct arena **a)
{
	if (*a == NULL)
		return;
	CHECK_OBJ(*a, ARENA_MAGIC);
	blocks_free((*a)->blocks);
	(*a)->magic = 0;
	free(*a);
	*a = NULL;
}

void
arena_reset(struct arena *a)
{
	struct block *keep = NULL;

	CHECK_OBJ(a, ARENA_MAGIC);
	while (a->blocks != NULL) {
		struct block *b = a->blocks;

		a->blocks = b->next;
		/* A block made for one large thing is not worth keeping. */
		if (keep == NULL && b->size == a->block_bytes) {
			keep = b;
			keep->next = NULL;
			keep->used = 0;
		} else {
			free(b);
		}
	}
	a->blocks = keep;
}

void *
arena_alloc(struct arena *a, size_t size)
{
	struct block *b;
	void *p;

	CHECK_OBJ(a, ARENA_MAGIC);
	ASSERT(size <= SIZE_MAX / 2);
	size = (size + ARENA_ALIGN - 1) / ARENA_ALIGN * ARENA_ALIGN;
	b = a->blocks;
	if (b == NULL || size > b->size - b->used) {
		if (size > a->block_bytes / 2) {
			/* Behind the first, which still has room for others. */
			struct block *own = block_create(size);

			own->used = size;
			if (b != NULL) {
				own->next = b->next;
				b->next = own;
			} else {
				a->blocks = own;
			}
			return own->data;
		}
		b = block_create(a->block_bytes);
		b->next = a->blocks;
		a->blocks = b;
	}
	p = b->data + b->used;
	b->used += size;
	return p;
}

void *
arena_zalloc(struct arena *a, size_t size)
{
	return memset(arena_alloc(a, size), 0, size);
}

char *
arena_strndup(struct arena *a, const void *s, size_t len)
{
	ASSERT(len < SIZE_MAX);

	char *copy = arena_alloc(a, len + 1);

	if (len > 0)
		memcpy(copy, s, len);
	copy[len] = '\0';
	return copy;
}
