/*
 * json - JSON text to msgpack values and back.
 *
 * yajl calls back for each token, and what it says is packed at once: there
 * is no tree between. A container's header is one byte until its end is
 * seen; most have fewer than 16 members and keep it.
 */
#include "common/json.h"

#include <errno.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_parse.h>

#include "common/mem.h"
#include "common/utf8.h"

#define JSON_BYTES_MAX ((size_t)1 << 30)

/* Numbers look the same whatever setlocale() said. */
static locale_t
c_locale(void)
{
	static locale_t c; /* the same for all; glibc allocates nothing */

	if (c == (locale_t)0)
		c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	ASSERT(c != (locale_t)0);
	return c;
}

/* ---- places ---- */

void
json_places_fini(struct json_places *p)
{
	free(p->places);
	*p = (struct json_places){ NULL, 0, 0 };
}

uint32_t
json_places_line(const struct json_places *p, size_t offset)
{
	uint32_t low = 0, high = p->count;

	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (p->places[middle].offset <= offset)
			low = middle + 1;
		else
			high = middle;
	}
	return low > 0 ? p->places[low - 1].line : 1;
}

static void
places_add(struct json_places *p, size_t offset, uint32_t line)
{
	if (p->count > 0 && p->places[p->count - 1].line == line)
		return;
	if (p->count == p->cap) {
		p->cap = p->cap < 16 ? 16 : p->cap * 2;
		p->places = mem_realloc(p->places, p->cap * sizeof(*p->places));
	}
	p->places[p->count].offset = (uint32_t)offset;
	p->places[p->count].line = line;
	p->count++;
}

/* ---- parsing ---- */

struct level {
	size_t head;          /* where its header is in out */
	uint32_t count;       /* elements or pairs so far */
	uint32_t place_count; /* places when it began, its own included */
	bool map;
};

struct parser {
	yajl_handle yajl;
	const char *text;
	size_t len;
	struct buf *out;
	size_t begin; /* out's length at the start */
	struct json_places *places;
	struct error *err;
	uint32_t depth_max;
	uint32_t depth;
	struct level levels[DEFINITION_DEPTH_MAX];
	bool finishing; /* yajl reads its own blank, not our text */
	size_t counted; /* bytes of text whose lines are counted */
	uint32_t line;  /* at counted */
};

static uint32_t
line_at(struct parser *p, size_t offset)
{
	while (p->counted < offset) {
		const char *newline =
		    memchr(p->text + p->counted, '\n', offset - p->counted);

		if (newline == NULL) {
			p->counted = offset;
			break;
		}
		p->counted = (size_t)(newline - p->text) + 1;
		p->line++;
	}
	return p->line;
}

/* Where yajl is: behind the token, which holds no newline. */
static size_t
offset_now(const struct parser *p)
{
	size_t offset = yajl_get_bytes_consumed(p->yajl);

	return p->finishing || offset > p->len ? p->len : offset;
}

static int __attribute__((format(printf, 2, 3)))
refuse(struct parser *p, const char *format, ...)
{
	char text[200];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	error_set(p->err, "%s", text);
	if (p->err != NULL)
		p->err->line = line_at(p, offset_now(p));
	return 0; /* which cancels yajl */
}

static void
note_place(struct parser *p)
{
	if (p->places != NULL)
		places_add(p->places, p->out->len - p->begin,
			   line_at(p, offset_now(p)));
}

static void
value_begins(struct parser *p)
{
	note_place(p);
	if (p->depth > 0 && !p->levels[p->depth - 1].map)
		p->levels[p->depth - 1].count++;
}

static int
null_cb(void *ctx)
{
	struct parser *p = ctx;

	value_begins(p);
	value_pack_null(p->out);
	return 1;
}

static int
boolean_cb(void *ctx, int value)
{
	struct parser *p = ctx;

	value_begins(p);
	value_pack_bool(p->out, value != 0);
	return 1;
}

/* False when the digits make more than 64 bits. */
static bool
digits_parse(const char *digits, size_t len, uint64_t *out)
{
	uint64_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (__builtin_mul_overflow(n, (uint64_t)10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(digits[i] - '0'), &n))
			return false;
	}
	*out = n;
	return true;
}

static int
integer(struct parser *p, const char *text, size_t len)
{
	bool negative = text[0] == '-';
	uint64_t n = 0;

	if (!digits_parse(text + negative, len - negative, &n) ||
	    (negative && n > (uint64_t)INT64_MAX + 1))
		return refuse(p, "the integer %.*s does not fit in 64 bits",
			      (int)(len < 40 ? len : 40), text);
	if (!negative)
		value_pack_uint(p->out, n);
	else if (n == 0)
		value_pack_double(p->out, -0.0); /* no integer has this */
	else
		value_pack_int(p->out, (int64_t)(0 - n));
	return 1;
}

static int
number_cb(void *ctx, const char *text, size_t len)
{
	struct parser *p = ctx;
	char copy[64];
	char *long_copy = NULL;
	double d;

	value_begins(p);
	if (memchr(text, '.', len) == NULL && memchr(text, 'e', len) == NULL &&
	    memchr(text, 'E', len) == NULL)
		return integer(p, text, len);
	/* strtod() needs an end, which the text does not have. */
	if (len < sizeof(copy)) {
		memcpy(copy, text, len);
		copy[len] = '\0';
	} else {
		long_copy = mem_strndup(text, len);
	}
	d = strtod_l(long_copy != NULL ? long_copy : copy, NULL, c_locale());
	free(long_copy);
	if (!isfinite(d))
		return refuse(p, "the number %.*s does not fit in a double",
			      (int)(len < 40 ? len : 40), text);
	value_pack_double(p->out, d);
	return 1;
}

static int
string_cb(void *ctx, const unsigned char *s, size_t len)
{
	struct parser *p = ctx;

	value_begins(p);
	value_pack_str(p->out, s, len);
	return 1;
}

static int
key_cb(void *ctx, const unsigned char *s, size_t len)
{
	struct parser *p = ctx;

	note_place(p);
	p->levels[p->depth - 1].count++;
	value_pack_str(p->out, s, len);
	return 1;
}

static int
container_begins(struct parser *p, bool map)
{
	struct level *level;

	value_begins(p);
	if (p->depth == p->depth_max)
		return refuse(p, "nested deeper than %u levels", p->depth_max);
	level = &p->levels[p->depth++];
	level->head = p->out->len;
	level->count = 0;
	level->place_count = p->places != NULL ? p->places->count : 0;
	level->map = map;
	buf_add_byte(p->out, 0);
	return 1;
}

static int
container_ends(struct parser *p)
{
	struct level *level = &p->levels[--p->depth];
	struct buf *out = p->out;
	uint32_t n = level->count;
	size_t more = n < 16 ? 0 : n <= UINT16_MAX ? 2 : 4;
	uint8_t *head;

	if (more > 0) {
		size_t content = out->len - level->head - 1;

		buf_reserve(out, more);
		head = out->data + level->head;
		memmove(head + 1 + more, head + 1, content);
		out->len += more;
		if (p->places != NULL) {
			for (uint32_t i = level->place_count;
			     i < p->places->count; i++)
				p->places->places[i].offset += (uint32_t)more;
		}
	}
	head = out->data + level->head;
	if (more == 0) {
		*head = (uint8_t)((level->map ? 0x80U : 0x90U) | n);
	} else {
		*head = (uint8_t)((level->map ? 0xdeU : 0xdcU) +
				  (more == 4 ? 1U : 0U));
		for (size_t i = more; i > 0; i--, n >>= 8)
			head[i] = (uint8_t)n;
	}
	return 1;
}

static int
map_cb(void *ctx)
{
	return container_begins(ctx, true);
}

static int
array_cb(void *ctx)
{
	return container_begins(ctx, false);
}

static int
end_cb(void *ctx)
{
	return container_ends(ctx);
}

static const yajl_callbacks callbacks = {
	.yajl_null = null_cb,
	.yajl_boolean = boolean_cb,
	.yajl_number = number_cb,
	.yajl_string = string_cb,
	.yajl_start_map = map_cb,
	.yajl_map_key = key_cb,
	.yajl_end_map = end_cb,
	.yajl_start_array = array_cb,
	.yajl_end_array = end_cb,
};

static void *
alloc_cb(void *ctx, size_t size)
{
	(void)ctx;
	return mem_alloc(size);
}

static void *
realloc_cb(void *ctx, void *p, size_t size)
{
	(void)ctx;
	return mem_realloc(p, size);
}

static void
free_cb(void *ctx, void *p)
{
	(void)ctx;
	free(p);
}

/* The four digits of \uXXXX at s, or -1. */
static int
hex4(const char *s, size_t left)
{
	int n = 0;

	if (left < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		int c = (unsigned char)s[i];

		if (c >= '0' && c <= '9')
			n = n * 16 + c - '0';
		else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
			n = n * 16 + (c | 0x20) - 'a' + 10;
		else
			return -1;
	}
	return n;
}

/*
 * Half a character as \uD83D alone: yajl would put a question mark there.
 * Returns its offset, or len when there is none. Backslashes outside of
 * strings are left to yajl.
 */
static size_t
lone_surrogate(const char *text, size_t len)
{
	const char *end = text + len;
	const char *at = text;

	for (;;) {
		const char *begin;
		int code;

		at = len > 0 ? memchr(at, '\\', (size_t)(end - at)) : NULL;
		if (at == NULL || end - at < 2)
			return len;
		begin = at;
		at += 2;
		if (begin[1] != 'u')
			continue;
		code = hex4(at, (size_t)(end - at));
		if (code < 0xd800 || code > 0xdfff)
			continue;
		at += 4;
		if (code <= 0xdbff && end - at >= 6 && at[0] == '\\' &&
		    at[1] == 'u') {
			code = hex4(at + 2, (size_t)(end - at) - 2);
			if (code >= 0xdc00 && code <= 0xdfff) {
				at += 6;
				continue;
			}
		}
		return (size_t)(begin - text);
	}
}

/* What yajl says, as one sentence. */
static void
explain(struct parser *p)
{
	unsigned char *text = yajl_get_error(p->yajl, 0, NULL, 0);
	const char *what = (const char *)text;
	const char *colon = strstr(what, "error: ");
	size_t len;

	if (colon != NULL)
		what = colon + strlen("error: ");
	len = strlen(what);
	while (len > 0 && (what[len - 1] == '\n' || what[len - 1] == '.'))
		len--;
	if (strncmp(what, "premature EOF", 13) == 0)
		refuse(p, "not valid JSON: the text ends too early");
	else
		refuse(p, "not valid JSON: %.*s", (int)len, what);
	yajl_free_error(p->yajl, text);
}

static bool
is_blank(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (text[i] != ' ' && text[i] != '\t' && text[i] != '\r' &&
		    text[i] != '\n')
			return false;
	}
	return true;
}

/* What yajl does not look at. */
static int
pre_check(struct parser *p)
{
	size_t lone;

	if (p->len > JSON_BYTES_MAX) {
		error_set(p->err, "the JSON text is larger than 1 GiB");
		return -EINVAL;
	}
	if (is_blank(p->text, p->len)) {
		error_set(p->err, "the JSON text is empty");
		return -EINVAL;
	}
	if (!utf8_valid(p->text, p->len)) {
		error_set(p->err, "the JSON text is not valid UTF-8");
		return -EINVAL;
	}
	lone = lone_surrogate(p->text, p->len);
	if (lone < p->len) {
		error_set(p->err, "%.6s is half of a surrogate pair",
			  p->text + lone);
		if (p->err != NULL)
			p->err->line = line_at(p, lone);
		return -EINVAL;
	}
	return 0;
}

int
json_parse(const char *text, size_t len, uint32_t depth_max, struct buf *out,
	   struct json_places *places, struct error *err)
{
	yajl_alloc_funcs alloc = { alloc_cb, realloc_cb, free_cb, NULL };
	struct parser p;
	yajl_status status;

	ASSERT(depth_max <= DEFINITION_DEPTH_MAX);
	p.text = text;
	p.len = len;
	p.out = out;
	p.begin = out->len;
	p.places = places;
	p.err = err;
	p.depth_max = depth_max;
	p.depth = 0;
	p.finishing = false;
	p.counted = 0;
	p.line = 1;
	if (places != NULL)
		places->count = 0;
	if (pre_check(&p) < 0)
		return -EINVAL;

	p.yajl = yajl_alloc(&callbacks, &alloc, &p);
	/* Done above, and more strictly. */
	yajl_config(p.yajl, yajl_dont_validate_strings, 1);
	buf_reserve(out, len + 16);
	status = yajl_parse(p.yajl, (const unsigned char *)text, len);
	if (status == yajl_status_ok) {
		p.finishing = true;
		status = yajl_complete_parse(p.yajl);
	}
	if (status == yajl_status_error)
		explain(&p);
	yajl_free(p.yajl);
	if (status != yajl_status_ok) {
		out->len = p.begin;
		if (places != NULL)
			places->count = 0;
		return -EINVAL;
	}
	return 0;
}

/* ---- writing ---- */

static void
write_uint(struct buf *out, uint64_t n, bool negative)
{
	char digits[21];
	char *at = digits + sizeof(digits);

	do {
		*--at = (char)('0' + n % 10);
		n /= 10;
	} while (n > 0);
	if (negative)
		*--at = '-';
	buf_add(out, at, (size_t)(digits + sizeof(digits) - at));
}

static void
write_int(struct buf *out, int64_t i)
{
	if (i < 0)
		write_uint(out, 0 - (uint64_t)i, true);
	else
		write_uint(out, (uint64_t)i, false);
}

static void
write_double(struct buf *out, double d)
{
	/* 15 digits are always right when they are enough; of the smallest
	 * numbers fewer may be. */
	int precision = fabs(d) < DBL_MIN ? 1 : 15;
	char text[40];
	locale_t old;

	if (fabs(d) < 1e15 && d == trunc(d)) {
		if (signbit(d))
			buf_add_byte(out, '-');
		write_uint(out, (uint64_t)fabs(d), false);
		buf_add(out, ".0", 2);
		return;
	}
	old = uselocale(c_locale());
	do {
		snprintf(text, sizeof(text), "%.*g", precision, d);
	} while (precision++ < 17 && strtod(text, NULL) != d);
	uselocale(old);
	buf_add_text(out, text);
	if (strpbrk(text, ".e") == NULL)
		buf_add(out, ".0", 2);
}

/* Bytes that need an escape: control characters, '"' and '\'. */
static inline bool
is_special(uint8_t c)
{
	return c < 0x20 || c == '"' || c == '\\';
}

/* True when one of eight bytes may need an escape. */
static inline bool
eight_special(const uint8_t *s)
{
	const uint64_t ones = UINT64_C(0x0101010101010101);
	const uint64_t highs = ones * 0x80;
	uint64_t v, quote, slash;

	memcpy(&v, s, 8);
	quote = v ^ (ones * '"');
	slash = v ^ (ones * '\\');
	return ((((v - ones * 0x20) & ~v) | ((quote - ones) & ~quote) |
		 ((slash - ones) & ~slash)) &
		highs) != 0;
}

static void
write_escape(struct buf *out, uint8_t c)
{
	static const char hex[] = "0123456789abcdef";
	char text[6] = { '\\', 0, '0', '0', hex[c >> 4], hex[c & 15] };
	size_t len = 2;

	switch (c) {
	case '"':
	case '\\':
		text[1] = (char)c;
		break;
	case '\b':
		text[1] = 'b';
		break;
	case '\f':
		text[1] = 'f';
		break;
	case '\n':
		text[1] = 'n';
		break;
	case '\r':
		text[1] = 'r';
		break;
	case '\t':
		text[1] = 't';
		break;
	default:
		text[1] = 'u';
		len = 6;
		break;
	}
	buf_add(out, text, len);
}

void
json_write_str(struct slice text, struct buf *out)
{
	const uint8_t *s = text.data;
	size_t from = 0, i = 0;

	buf_reserve(out, text.len + 2);
	buf_add_byte(out, '"');
	while (i < text.len) {
		if (text.len - i >= 8 && !eight_special(s + i)) {
			i += 8;
			continue;
		}
		if (is_special(s[i])) {
			buf_add(out, s + from, i - from);
			write_escape(out, s[i]);
			from = i + 1;
		}
		i++;
	}
	if (text.len > from)
		buf_add(out, s + from, text.len - from);
	buf_add_byte(out, '"');
}

#define COMPACT (-1)

static void
new_line(struct buf *out, int indent)
{
	if (indent == COMPACT)
		return;
	buf_add_byte(out, '\n');
	for (int i = 0; i < indent; i++)
		buf_add(out, "  ", 2);
}

/* As deep as the value is nested, which its check has bounded. */
static void
write_value(struct cursor *c, struct buf *out, int indent)
{
	struct item item = cursor_next(c);
	int inner = indent == COMPACT ? COMPACT : indent + 1;

	switch (item.type) {
	case VALUE_NULL:
		buf_add(out, "null", 4);
		return;
	case VALUE_BOOL:
		buf_add_text(out, item.b ? "true" : "false");
		return;
	case VALUE_INT:
		write_int(out, item.i);
		return;
	case VALUE_UINT:
		write_uint(out, item.u, false);
		return;
	case VALUE_DOUBLE:
		write_double(out, item.d);
		return;
	case VALUE_STR:
		json_write_str(item.bytes, out);
		return;
	case VALUE_ARRAY:
		buf_add_byte(out, '[');
		for (uint32_t i = 0; i < item.count; i++) {
			if (i > 0)
				buf_add_byte(out, ',');
			new_line(out, inner);
			write_value(c, out, inner);
		}
		if (item.count > 0)
			new_line(out, indent);
		buf_add_byte(out, ']');
		return;
	case VALUE_MAP:
		buf_add_byte(out, '{');
		for (uint32_t i = 0; i < item.count; i++) {
			struct item key;

			if (i > 0)
				buf_add_byte(out, ',');
			new_line(out, inner);
			key = cursor_next(c);
			ASSERT(key.type == VALUE_STR);
			json_write_str(key.bytes, out);
			buf_add_byte(out, ':');
			if (indent != COMPACT)
				buf_add_byte(out, ' ');
			write_value(c, out, inner);
		}
		if (item.count > 0)
			new_line(out, indent);
		buf_add_byte(out, '}');
		return;
	case VALUE_BIN:
		break;
	}
	ASSERT(false); /* no checked value holds binary data */
}

void
json_write(struct slice value, struct buf *out)
{
	struct cursor c = cursor_of(value);

	write_value(&c, out, COMPACT);
}

void
json_write_pretty(struct slice value, struct buf *out)
{
	struct cursor c = cursor_of(value);

	write_value(&c, out, 0);
}
