/*
 * uuid - 128-bit identities.
 */
#include "common/uuid.h"

#include <errno.h>
#include <sys/random.h>

void
uuid_random(struct uuid *out)
{
	ssize_t n;

	do {
		n = getrandom(out->bytes, sizeof(out->bytes), 0);
	} while (n < 0 && errno == EINTR);
	ASSERT(n == (ssize_t)sizeof(out->bytes));
	out->bytes[6] = (uint8_t)((out->bytes[6] & 0x0f) | 0x40);
	out->bytes[8] = (uint8_t)((out->bytes[8] & 0x3f) | 0x80);
}

/* Is there a dash before that byte? */
static bool
dash_before(unsigned i)
{
	return i == 4 || i == 6 || i == 8 || i == 10;
}

void
uuid_text(const struct uuid *u, char text[UUID_TEXT_SIZE])
{
	static const char hex[] = "0123456789abcdef";
	char *at = text;

	for (unsigned i = 0; i < 16; i++) {
		if (dash_before(i))
			*at++ = '-';
		*at++ = hex[u->bytes[i] >> 4];
		*at++ = hex[u->bytes[i] & 15];
	}
	*at = '\0';
}

static int
digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int
uuid_parse(const char *text, struct uuid *out)
{
	struct uuid u;

	for (unsigned i = 0; i < 16; i++) {
		int high, low;

		if (dash_before(i) && *text++ != '-')
			return -EINVAL;
		high = digit(text[0]);
		if (high < 0)
			return -EINVAL;
		low = digit(text[1]);
		if (low < 0)
			return -EINVAL;
		u.bytes[i] = (uint8_t)(high << 4 | low);
		text += 2;
	}
	if (*text != '\0')
		return -EINVAL;
	*out = u;
	return 0;
}

uint64_t
uuid_hash(const struct uuid *u)
{
	uint64_t high, low;

	memcpy(&high, u->bytes, 8);
	memcpy(&low, u->bytes + 8, 8);
	/* The finalizer of MurmurHash3: every bit of the random part reaches
	 * the low bits, which a table takes. */
	low ^= high * UINT64_C(0x9e3779b97f4a7c15);
	low ^= low >> 33;
	low *= UINT64_C(0xff51afd7ed558ccd);
	low ^= low >> 33;
	low *= UINT64_C(0xc4ceb9fe1a85ec53);
	low ^= low >> 33;
	return low;
}
