/*
 * mem - memory that cannot fail to be there, and arenas.
 *
 * No memory means that this process ends (assert_failed); callers never
 * check. An arena holds what lives equally long and is freed at once; it is
 * owned by one thread.
 */
#ifndef COMMON_MEM_H
#define COMMON_MEM_H

#include <stddef.h>

/* The end of a process that has none left; says "out of memory". For calls of
 * the library that allocate themselves. */
_Noreturn void mem_exhausted(void);

void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull));
void *mem_zalloc(size_t size) __attribute__((malloc, returns_nonnull));
/* Checks count * size for overflow. Zeroed. */
void *mem_calloc(size_t count, size_t size)
    __attribute__((malloc, returns_nonnull));
void *mem_realloc(void *p, size_t size) __attribute__((returns_nonnull));
char *mem_strdup(const char *s) __attribute__((malloc, returns_nonnull));
/* Copies len bytes and adds a NUL. */
char *mem_strndup(const void *s, size_t len)
    __attribute__((malloc, returns_nonnull));

struct arena;
struct arena *arena_create(size_t block_bytes);
/* Frees everything taken from it. Sets *a to NULL; a NULL *a is fine. */
void arena_destroy(struct arena **a);
/* Forgets everything taken from it and keeps one block for reuse. */
void arena_reset(struct arena *a);
/* Aligned for any type; not zeroed. */
void *arena_alloc(struct arena *a, size_t size)
    __attribute__((returns_nonnull));
void *arena_zalloc(struct arena *a, size_t size)
    __attribute__((returns_nonnull));
char *arena_strndup(struct arena *a, const void *s, size_t len)
    __attribute__((returns_nonnull));

#endif
