/*
 * utf8 - is it really UTF-8. On the path of every value: ASCII is skipped
 * eight bytes at a time.
 */
#include "common/utf8.h"

#include <stdint.h>
#include <string.h>

/* The length of the character at s, which is not ASCII; 0 when it is none. */
static size_t
char_len(const uint8_t *s, size_t left)
{
	uint8_t low = 0x80, high = 0xbf; /* range of the second byte */
	size_t len;

	if (s[0] >= 0xc2 && s[0] <= 0xdf) {
		len = 2;
	} else if (s[0] >= 0xe0 && s[0] <= 0xef) {
		len = 3;
		if (s[0] == 0xe0)
			low = 0xa0; /* below: overlong */
		else if (s[0] == 0xed)
			high = 0x9f; /* above: surrogates */
	} else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
		len = 4;
		if (s[0] == 0xf0)
			low = 0x90; /* below: overlong */
		else if (s[0] == 0xf4)
			high = 0x8f; /* above: beyond U+10FFFF */
	} else {
		return 0;
	}
	if (left < len || s[1] < low || s[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	}
	return len;
}

bool
utf8_valid(const void *text, size_t len)
{
	const uint8_t *s = text;
	size_t i = 0;

	while (i < len) {
		uint64_t eight;
		size_t n;

		while (len - i >= 8) {
			memcpy(&eight, s + i, 8);
			if ((eight & UINT64_C(0x8080808080808080)) != 0)
				break;
			i += 8;
		}
		while (i < len && s[i] < 0x80)
			i++;
		if (i == len)
			break;
		n = char_len(s + i, len - i);
		if (n == 0)
			return false;
		i += n;
	}
	return true;
}

size_t
utf8_cut(const char *text, size_t len)
{
	const uint8_t *s = (const uint8_t *)text;
	size_t start = len;

	/* Back to the last byte that begins a character. */
	while (start > 0 && len - start < 4) {
		start--;
		if ((s[start] & 0xc0) != 0x80)
			break;
	}
	if (start < len && s[start] >= 0xc0 &&
	    char_len(s + start, len - start) == 0)
		return start;
	return len;
}

bool
utf8_harmless(const char *text, size_t len, size_t *len_out)
{
	const uint8_t *s = (const uint8_t *)text;
	size_t n = 1;

	if (s[0] >= 0x80)
		n = char_len(s, len);
	*len_out = n > 0 ? n : 1;
	switch (n) {
	case 1:
		return s[0] >= 0x20 && s[0] != 0x7f;
	case 2:
		/* C1, which has a CSI of its own; Arabic letter mark. */
		return !(s[0] == 0xc2 && s[1] < 0xa0) &&
		       !(s[0] == 0xd8 && s[1] == 0x9c);
	case 3:
		/* U+200E and F, U+2028 to E, U+2066 to 9. */
		if (s[0] != 0xe2 || (s[1] != 0x80 && s[1] != 0x81))
			return true;
		if (s[1] == 0x81)
			return s[2] < 0xa6 || s[2] > 0xa9;
		return s[2] != 0x8e && s[2] != 0x8f &&
		       (s[2] < 0xa8 || s[2] > 0xae);
	case 4:
		return true;
	default:
		return false;
	}
}

void
utf8_tame(char *text, char with)
{
	size_t left = strlen(text), n;

	for (; left > 0; text += n, left -= n) {
		if (utf8_harmless(text, left, &n) || *text == '\n' ||
		    *text == '\t')
			continue;
		memset(text, with, n);
	}
}
