/* order - comparing numbers and strings; see order.h. */
#include "engine/order.h"

#include <math.h>
#include <string.h>

#define TWO_63 9223372036854775808.0
#define TWO_64 18446744073709551616.0

bool
order_is_number(enum value_type type)
{
	return type == VALUE_INT || type == VALUE_UINT || type == VALUE_DOUBLE;
}

static int
order_doubles(double a, double b)
{
	return (a > b) - (a < b);
}

/* Truncating the double is exact, so what is compared is never rounded. */
static int
order_int_double(int64_t i, double d)
{
	int64_t whole;

	if (d >= TWO_63)
		return -1;
	if (d < -TWO_63)
		return 1;
	whole = (int64_t)d;
	if (i != whole)
		return i < whole ? -1 : 1;
	return order_doubles((double)whole, d);
}

static int
order_uint_double(uint64_t u, double d)
{
	uint64_t whole;

	if (d >= TWO_64)
		return -1;
	if (d < 0)
		return 1;
	whole = (uint64_t)d;
	if (u != whole)
		return u < whole ? -1 : 1;
	return order_doubles((double)whole, d);
}

int
order_numbers(const struct item *a, const struct item *b)
{
	ASSERT(order_is_number(a->type) && order_is_number(b->type));
	if (a->type == VALUE_DOUBLE && b->type == VALUE_DOUBLE)
		return order_doubles(a->d, b->d);
	if (a->type == VALUE_DOUBLE)
		return -order_numbers(b, a);
	if (b->type == VALUE_DOUBLE)
		return a->type == VALUE_INT ? order_int_double(a->i, b->d)
					    : order_uint_double(a->u, b->d);
	/* A VALUE_UINT is above every VALUE_INT. */
	if (a->type != b->type)
		return a->type == VALUE_INT ? -1 : 1;
	if (a->type == VALUE_INT)
		return (a->i > b->i) - (a->i < b->i);
	return (a->u > b->u) - (a->u < b->u);
}

int
order_strings(struct slice a, struct slice b)
{
	size_t len = a.len < b.len ? a.len : b.len;
	int order = len == 0 ? 0 : memcmp(a.data, b.data, len);

	if (order == 0)
		return (a.len > b.len) - (a.len < b.len);
	return order < 0 ? -1 : 1;
}

bool
order_round(struct slice v, int64_t *out)
{
	struct item item = value_item(v);
	double whole;

	if (item.type == VALUE_INT) {
		*out = item.i;
		return true;
	}
	if (item.type != VALUE_DOUBLE)
		return false;
	/* floor(d + 0.5) would round 0.49999999999999994 to 1. */
	whole = floor(item.d);
	if (item.d - whole >= 0.5)
		whole += 1;
	if (!(whole >= -TWO_63 && whole < TWO_63))
		return false;
	*out = (int64_t)whole;
	return true;
}
