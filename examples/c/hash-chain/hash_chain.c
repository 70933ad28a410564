/*
 * hash_chain - a plugin for rappel: hashes a seed over and over.
 *
 * Two actions. "hash-chain" takes
 *	{"seed": "text", "rounds": 1000000, "dir": "/var/tmp"}
 * and gives {"rounds": 1000000, "digest": "hex"}: SHA-256 of the seed, of that
 * digest, and so on, as many times as rounds says. With "dir" it leaves a
 * checkpoint there now and then, in a file that is named after the
 * idempotency key, so that another attempt goes on where this one ended.
 * "hash-chain-verify" takes what the first gives, and the seed, and fails with
 * HashChain.Mismatch when the digest is another.
 */
#include <rappel/action.h>

#include <errno.h>
#include <inttypes.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>

/* About a millisecond: how often it asks whether it is still wanted. */
#define ROUNDS_AT_ONCE 4096U
/* So often it leaves a checkpoint: about once a second. */
#define ROUNDS_KEPT (ROUNDS_AT_ONCE * 1024U)
#define PATH_BYTES 4096
#define HEX_BYTES (2 * SHA256_DIGEST_SIZE + 1)

struct chain {
	struct rappel_text seed;
	uint64_t rounds; /* wanted */
	uint64_t done;
	uint8_t digest[SHA256_DIGEST_SIZE];
	char path[PATH_BYTES]; /* of the checkpoint, or "" */
};

static void
hex_of(const uint8_t *digest, char *hex)
{
	for (int i = 0; i < SHA256_DIGEST_SIZE; i++)
		snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

static int
hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool
hex_read(const char *hex, uint8_t *digest)
{
	for (int i = 0; i < SHA256_DIGEST_SIZE; i++) {
		int high = hex_digit(hex[2 * i]);
		int low = high < 0 ? -1 : hex_digit(hex[2 * i + 1]);

		if (low < 0)
			return false;
		digest[i] = (uint8_t)(high * 16 + low);
	}
	return hex[2 * SHA256_DIGEST_SIZE] == '\0';
}

/* ---- checkpoints ---- */

/* "DONE DIGEST" of an earlier attempt. One that cannot be read is none. */
static void
checkpoint_read(struct rappel_task *t, struct chain *c)
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	char hex[HEX_BYTES];
	uint64_t done;
	FILE *f;

	if (c->path[0] == '\0')
		return;
	f = fopen(c->path, "re");
	if (f == NULL)
		return;
	if (fscanf(f, "%" SCNu64 " %64s", &done, hex) == 2 && done > 0 &&
	    done <= c->rounds && hex_read(hex, digest)) {
		c->done = done;
		memcpy(c->digest, digest, sizeof(digest));
		rappel_log(t, RAPPEL_LOG_INFO, "resumed rounds=%" PRIu64, done);
	}
	fclose(f);
}

/* A whole file or the one before it: written beside it, then renamed. */
static void
checkpoint_write(struct rappel_task *t, const struct chain *c)
{
	char beside[PATH_BYTES + 8], hex[HEX_BYTES];
	bool good;
	FILE *f;

	if (c->path[0] == '\0')
		return;
	snprintf(beside, sizeof(beside), "%s.new", c->path);
	hex_of(c->digest, hex);
	f = fopen(beside, "we");
	good = f != NULL && fprintf(f, "%" PRIu64 " %s\n", c->done, hex) > 0;
	if (f != NULL && fclose(f) != 0)
		good = false;
	if (!good || rename(beside, c->path) != 0)
		rappel_log(t, RAPPEL_LOG_WARNING, "no checkpoint file=%s: %s",
			   beside, strerror(errno));
}

/* ---- hashing ---- */

static void
chain_round(struct chain *c)
{
	struct sha256_ctx sha;

	sha256_init(&sha);
	if (c->done == 0)
		sha256_update(&sha, c->seed.len, (const uint8_t *)c->seed.data);
	else
		sha256_update(&sha, sizeof(c->digest), c->digest);
	sha256_digest(&sha, sizeof(c->digest), c->digest);
	c->done++;
}

/* False when nobody wants it any more. */
static bool
chain_run(struct rappel_task *t, struct chain *c)
{
	char progress[80];

	while (c->done < c->rounds) {
		chain_round(c);
		if (c->done % ROUNDS_AT_ONCE != 0)
			continue;
		if (c->done % ROUNDS_KEPT == 0)
			checkpoint_write(t, c);
		snprintf(progress, sizeof(progress),
			 "{\"done\":%" PRIu64 ",\"of\":%" PRIu64 "}", c->done,
			 c->rounds);
		rappel_heartbeat(t, progress);
		if (rappel_cancelled(t)) {
			checkpoint_write(t, c);
			return false;
		}
	}
	return true;
}

/* ---- the actions ---- */

static bool
chain_read(struct rappel_task *t, struct chain *c)
{
	struct rappel_value input = rappel_input(t);
	struct rappel_text dir = { "", 0 };

	*c = (struct chain){ .done = 0 };
	if (!rappel_string(t, rappel_get(t, input, "seed"), &c->seed) ||
	    !rappel_uint(t, rappel_get(t, input, "rounds"), &c->rounds) ||
	    c->rounds == 0) {
		rappel_fail(t, "HashChain.Input",
			    "it needs {\"seed\": text, \"rounds\": a number "
			    "from 1 up}");
		rappel_kind(t, "HashChain.Error");
		return false;
	}
	if (rappel_string(t, rappel_get(t, input, "dir"), &dir) &&
	    snprintf(c->path, sizeof(c->path), "%.*s/%s.hash-chain",
		     (int)dir.len, dir.data,
		     rappel_key(t)) >= (int)sizeof(c->path))
		c->path[0] = '\0';
	return true;
}

static void
hash_chain(struct rappel_task *t)
{
	struct chain c;
	char hex[HEX_BYTES];

	if (!chain_read(t, &c))
		return;
	checkpoint_read(t, &c);
	if (!chain_run(t, &c)) {
		rappel_fail(t, "HashChain.Cancelled",
			    "cancelled after %" PRIu64 " rounds", c.done);
		return;
	}
	hex_of(c.digest, hex);
	rappel_put_map(t, 2);
	rappel_put_string(t, "rounds");
	rappel_put_uint(t, c.rounds);
	rappel_put_string(t, "digest");
	rappel_put_string(t, hex);
	rappel_usage(t, "hashes", c.rounds);
	/* The answer may still be lost with the process: then all of it is
	 * done again, which is the same answer. */
	if (c.path[0] != '\0')
		remove(c.path);
}

static void
hash_chain_verify(struct rappel_task *t)
{
	struct rappel_text wanted;
	struct chain c;
	char hex[HEX_BYTES];

	if (!chain_read(t, &c))
		return;
	c.path[0] = '\0';
	if (!chain_run(t, &c))
		return;
	hex_of(c.digest, hex);
	if (rappel_string(t, rappel_get(t, rappel_input(t), "digest"),
			  &wanted) &&
	    wanted.len == strlen(hex) &&
	    memcmp(wanted.data, hex, wanted.len) == 0) {
		rappel_put_bool(t, true);
		return;
	}
	rappel_fail(t, "HashChain.Mismatch", "the digest is %s", hex);
	rappel_kind(t, "HashChain.Error");
}

static const struct rappel_action actions[] = {
	{ "hash-chain", hash_chain, RAPPEL_SLOW },
	{ "hash-chain-verify", hash_chain_verify, RAPPEL_SLOW },
};

RAPPEL_PLUGIN("hash-chain", actions);
