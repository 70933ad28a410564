/*
 * assert - checks of our own logic, in release builds too: the process ends
 * and another takes over; what is durable is in PostgreSQL.
 */
#ifndef COMMON_ASSERT_H
#define COMMON_ASSERT_H

#define MUST_CHECK __attribute__((warn_unused_result))

/* Writes one line to stderr and aborts. Async-signal-safe. */
_Noreturn void assert_failed(const char *what, const char *file, int line);

#define ASSERT(x) \
	do { \
		if (__builtin_expect(!(x), 0)) \
			assert_failed(#x, __FILE__, __LINE__); \
	} while (0)

/* What travels through void * carries a magic number as first member. */
#define CHECK_OBJ(o, m) ASSERT((o) != NULL && (o)->magic == (m))

#define BIT(n) (1U << (n))

#endif
