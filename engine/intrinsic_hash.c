/*
 * intrinsic_hash - the functions that encode, hash, or look random.
 *
 * Nothing is random: what States.UUID and States.MathRandom give is a hash of
 * who asks, for the how many-th time, so that a replay gives the same.
 */
#include <endian.h>
#include <errno.h>
#include <string.h>

#include <nettle/base64.h>
#include <nettle/md5.h>
#include <nettle/nettle-meta.h>
#include <nettle/sha1.h>
#include <nettle/sha2.h>

#include "common/json.h"
#include "engine/intrinsic_parts.h"

#define DIGEST_MAX SHA512_DIGEST_SIZE

union digest_context {
	struct md5_ctx md5;
	struct sha1_ctx sha1;
	struct sha256_ctx sha256;
	struct sha512_ctx sha512; /* SHA-384 too */
};

static const struct {
	const char *name;
	const struct nettle_hash *hash;
} algorithms[] = {
	{ "MD5", &nettle_md5 },        { "SHA-1", &nettle_sha1 },
	{ "SHA-256", &nettle_sha256 }, { "SHA-384", &nettle_sha384 },
	{ "SHA-512", &nettle_sha512 },
};

static void
digest(const struct nettle_hash *hash, struct slice data, uint8_t *out)
{
	union digest_context context;

	ASSERT(hash->context_size <= sizeof(context) &&
	       hash->digest_size <= DIGEST_MAX);
	hash->init(&context);
	hash->update(&context, data.len, data.data);
	hash->digest(&context, hash->digest_size, out);
}

static void
add_hex(struct buf *b, const uint8_t *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		buf_add_byte(b, (uint8_t)digits[bytes[i] >> 4]);
		buf_add_byte(b, (uint8_t)digits[bytes[i] & 15]);
	}
}

static int
check_characters(struct slice text, struct error *err)
{
	size_t count = 0;

	for (size_t i = 0; i < text.len; i++)
		count += (text.data[i] & 0xC0) != 0x80;
	if (count <= TEXT_CHARACTERS_MAX)
		return 0;
	error_set(err, "argument 1 has more than %u characters",
		  TEXT_CHARACTERS_MAX);
	return -EINVAL;
}

int
function_base64_encode(const struct arg *args, uint32_t count,
		       struct template_seed *seed, struct buf *out,
		       struct error *err)
{
	char coded[BASE64_ENCODE_RAW_LENGTH(4 * TEXT_CHARACTERS_MAX)];
	struct slice text;

	(void)count;
	(void)seed;
	if (arg_string(args, 0, &text, err) < 0 ||
	    check_characters(text, err) < 0)
		return -EINVAL;
	base64_encode_raw(coded, text.len, text.data);
	value_pack_str(out, coded, BASE64_ENCODE_RAW_LENGTH(text.len));
	return 0;
}

int
function_base64_decode(const struct arg *args, uint32_t count,
		       struct template_seed *seed, struct buf *out,
		       struct error *err)
{
	struct base64_decode_ctx context;
	uint8_t plain[BASE64_DECODE_LENGTH(TEXT_CHARACTERS_MAX + 4)];
	size_t len = sizeof(plain), letters = 0, before = out->len, more;
	struct slice text;
	bool ok;

	(void)count;
	(void)seed;
	if (arg_string(args, 0, &text, err) < 0 ||
	    check_characters(text, err) < 0)
		return -EINVAL;
	base64_decode_init(&context);
	ok = text.len <= TEXT_CHARACTERS_MAX &&
	     base64_decode_update(&context, &len, plain, text.len,
				  (const char *)text.data);
	/* The padding may be left out. */
	for (size_t i = 0; i < text.len; i++)
		letters += strchr(" \t\r\n", text.data[i]) == NULL;
	for (; ok && letters % 4 > 1; letters++) {
		more = sizeof(plain) - len;
		ok = base64_decode_update(&context, &more, plain + len, 1, "=");
		len += more;
	}
	if (!ok || !base64_decode_final(&context)) {
		error_set(err, "argument 1 is not Base64");
		return -EINVAL;
	}
	value_pack_str(out, plain, len);
	if (value_check((struct slice){ out->data + before, out->len - before },
			1, NULL) < 0) {
		error_set(err, "what argument 1 encodes is not UTF-8 text");
		return -EINVAL;
	}
	return 0;
}

int
function_hash(const struct arg *args, uint32_t count,
	      struct template_seed *seed, struct buf *out, struct error *err)
{
	const struct nettle_hash *hash = NULL;
	struct buf text = BUF_EMPTY, hex = BUF_EMPTY;
	struct item item = value_item(args[0].v);
	uint8_t bytes[DIGEST_MAX];
	struct slice name;
	int rc;

	(void)count;
	(void)seed;
	if (arg_string(args, 1, &name, err) < 0)
		return -EINVAL;
	for (uint32_t i = 0; i < sizeof(algorithms) / sizeof(algorithms[0]);
	     i++)
		if (slice_is(name, algorithms[i].name))
			hash = algorithms[i].hash;
	if (hash == NULL) {
		error_set(err, "argument 2 must be MD5, SHA-1, SHA-256, "
			       "SHA-384 or SHA-512");
		return -EINVAL;
	}
	/* What is no string is hashed as its JSON text. */
	if (item.type == VALUE_STR)
		buf_add(&text, item.bytes.data, item.bytes.len);
	else
		json_write(args[0].v, &text);
	rc = check_characters(buf_slice(&text), err);
	if (rc == 0) {
		digest(hash, buf_slice(&text), bytes);
		add_hex(&hex, bytes, hash->digest_size);
		value_pack_str(out, hex.data, hex.len);
	}
	buf_fini(&text);
	buf_fini(&hex);
	return rc;
}

/* ---- derived ---- */

static void
add_u64(struct buf *b, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		buf_add_byte(b, (uint8_t)(v >> (8 * i)));
}

/* 32 bytes that are the same whenever this activation asks this again. */
static void
draw(const char *what, struct template_seed *seed, uint8_t *out)
{
	struct buf b = BUF_EMPTY;

	buf_add_text(&b, what);
	buf_add(&b, seed->instance, sizeof(seed->instance));
	add_u64(&b, seed->activation);
	add_u64(&b, seed->draws++);
	digest(&nettle_sha256, buf_slice(&b), out);
	buf_fini(&b);
}

int
function_uuid(const struct arg *args, uint32_t count,
	      struct template_seed *seed, struct buf *out, struct error *err)
{
	uint8_t bytes[SHA256_DIGEST_SIZE];
	struct buf text = BUF_EMPTY;

	(void)args;
	(void)count;
	(void)err;
	draw("uuid", seed, bytes);
	bytes[6] = (uint8_t)((bytes[6] & 0x0F) | 0x40);
	bytes[8] = (uint8_t)((bytes[8] & 0x3F) | 0x80);
	for (size_t i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			buf_add_byte(&text, '-');
		add_hex(&text, &bytes[i], 1);
	}
	value_pack_str(out, text.data, text.len);
	buf_fini(&text);
	return 0;
}

/* From the first number up to, but without, the second. */
int
function_math_random(const struct arg *args, uint32_t count,
		     struct template_seed *seed, struct buf *out,
		     struct error *err)
{
	uint8_t bytes[SHA256_DIGEST_SIZE];
	struct buf b = BUF_EMPTY;
	int64_t from, to, own;
	uint64_t bits, span;

	if (arg_integer(args, 0, &from, err) < 0 ||
	    arg_integer(args, 1, &to, err) < 0 ||
	    (count == 3 && arg_integer(args, 2, &own, err) < 0))
		return -EINVAL;
	if (from > to) {
		error_set(err, "argument 1 must not be above argument 2");
		return -EINVAL;
	}
	if (count == 3) {
		buf_add_text(&b, "seed");
		add_u64(&b, (uint64_t)own);
		digest(&nettle_sha256, buf_slice(&b), bytes);
		buf_fini(&b);
	} else {
		draw("random", seed, bytes);
	}
	span = (uint64_t)to - (uint64_t)from;
	memcpy(&bits, bytes, sizeof(bits));
	bits = (uint64_t)(((unsigned __int128)le64toh(bits) * span) >> 64);
	value_pack_int(out, (int64_t)((uint64_t)from + bits));
	return 0;
}
