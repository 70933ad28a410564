/*
 * pattern - names with * for any run of characters.
 */
#include "common/pattern.h"

bool
pattern_match(struct slice pattern, struct slice name)
{
	size_t p = 0, n = 0;
	/* Behind the last * that was passed, and what it took so far. */
	size_t star = SIZE_MAX, taken = 0;

	while (n < name.len) {
		if (p < pattern.len && pattern.data[p] == '*') {
			star = ++p;
			taken = n;
		} else if (p < pattern.len && pattern.data[p] == name.data[n]) {
			p++;
			n++;
		} else if (star != SIZE_MAX) {
			/* Only the last * needs to take more: an earlier one
			 * could do nothing that it cannot. */
			p = star;
			n = ++taken;
		} else {
			return false;
		}
	}
	while (p < pattern.len && pattern.data[p] == '*')
		p++;
	return p == pattern.len;
}
