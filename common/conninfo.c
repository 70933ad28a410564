/*
 * conninfo - a libpq connection string or URI: its secrets, what is wrong.
 *
 * One walk copies the text and leaves the secrets out; whether there are any
 * is whether something was left out.
 */
#include "common/conninfo.h"

#include <string.h>
#include <strings.h>

#define MASK "***"

static bool
is_blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool
is_secret(const char *key, size_t len)
{
	return (len == 8 && strncasecmp(key, "password", 8) == 0) ||
	       (len == 11 && strncasecmp(key, "sslpassword", 11) == 0);
}

static int
hex(char c)
{
	return c >= '0' && c <= '9' ? c - '0' :
	       c >= 'a' && c <= 'f' ? c - 'a' + 10 :
	       c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The same for a key of a URI, in which any letter may stand as %77. */
static bool
is_secret_uri(const char *key, size_t len)
{
	char plain[12];
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		if (n == sizeof(plain))
			return false;
		if (key[i] == '%' && len - i > 2 && hex(key[i + 1]) >= 0 &&
		    hex(key[i + 2]) >= 0) {
			plain[n++] = (char)(hex(key[i + 1]) * 16 +
			                    hex(key[i + 2]));
			i += 2;
		} else {
			plain[n++] = key[i];
		}
	}
	return is_secret(plain, n);
}

/* "?a=b&c=d", from the question mark on. */
static bool
mask_query(const char *at, struct buf *out)
{
	bool found = false;

	/* A '?' in what libpq takes for the host, "[a?b]", begins no query
	 * for it: each may be the one that does. */
	while (*at != '\0') {
		size_t part = 1 + strcspn(at + 1, "&?");
		const char *equals = memchr(at, '=', part);
		size_t value = equals != NULL ? strcspn(equals + 1, "&") : 0;

		if (value > 0 &&
		    is_secret_uri(at + 1, (size_t)(equals - at) - 1)) {
			buf_add(out, at, (size_t)(equals - at) + 1);
			buf_add_text(out, MASK);
			found = true;
			part = (size_t)(equals - at) + 1 + value;
		} else {
			buf_add(out, at, part);
		}
		at += part;
	}
	return found;
}

/* Behind "postgresql://". */
static bool
mask_uri(const char *at, struct buf *out)
{
	size_t authority = strcspn(at, "/?");
	const char *last = memrchr(at, '@', authority);
	const char *query = strchr(at, '?');
	bool found = false;

	/* A password with a slash or question mark in it, which should have
	 * been percent-encoded: mask up to the last '@' all the same. */
	if (last == NULL)
		last = strrchr(at, '@');
	/* Is it the query that holds the '@', or the password the '?'? Both
	 * can be meant, so nothing behind the first sign of either is shown. */
	if (last != NULL && query != NULL && query < last) {
		const char *colon = memchr(at, ':', (size_t)(last - at));
		const char *end = colon != NULL && colon < query ? colon
								 : query;

		if (colon != NULL || strchr(query + 1, '?') != NULL) {
			buf_add(out, at, (size_t)(end - at));
			buf_add_text(out, ":" MASK "@" MASK);
			return true;
		}
		last = NULL;
	}
	if (last != NULL) {
		const char *colon = memchr(at, ':', (size_t)(last - at));

		if (colon != NULL && colon + 1 < last) {
			buf_add(out, at, (size_t)(colon - at) + 1);
			buf_add_text(out, MASK);
			found = true;
			at = last;
			query = strchr(at, '?');
		}
	}
	if (query == NULL) {
		buf_add_text(out, at);
		return found;
	}
	buf_add(out, at, (size_t)(query - at));
	return mask_query(query, out) || found;
}

/* The end of the value at at, as libpq reads it. */
static const char *
value_end(const char *at)
{
	if (*at != '\'') {
		while (*at != '\0' && !is_blank(*at)) {
			if (*at == '\\' && at[1] != '\0')
				at++;
			at++;
		}
		return at;
	}
	for (at++; *at != '\0' && *at != '\''; at++) {
		if (*at == '\\' && at[1] != '\0')
			at++;
	}
	return *at == '\'' ? at + 1 : at;
}

/* "key = value" pairs, with blanks around the '=' if somebody likes. */
static bool
mask_pairs(const char *at, struct buf *out)
{
	bool found = false;

	while (*at != '\0') {
		const char *key = at, *value, *end;
		size_t len;

		while (is_blank(*key))
			key++;
		len = strcspn(key, "= \t\n\v\f\r");
		value = key + len;
		while (is_blank(*value))
			value++;
		if (*value != '=') { /* libpq will complain */
			buf_add(out, at, (size_t)(value - at));
			at = value;
			continue;
		}
		value++;
		while (is_blank(*value))
			value++;
		end = value_end(value);
		if (is_secret(key, len) && end > value) {
			/* What sticks to a closing quote may be the rest of a
			 * password that somebody did not escape. */
			while (*end != '\0' && !is_blank(*end))
				end++;
			buf_add(out, at, (size_t)(value - at));
			buf_add_text(out, MASK);
			found = true;
		} else {
			buf_add(out, at, (size_t)(end - at));
		}
		at = end;
	}
	return found;
}

static bool
mask(const char *conninfo, struct buf *out)
{
	static const char *const schemes[] = { "postgresql://", "postgres://" };

	for (size_t i = 0; i < 2; i++) {
		size_t len = strlen(schemes[i]);

		if (strncmp(conninfo, schemes[i], len) == 0) {
			buf_add(out, conninfo, len);
			return mask_uri(conninfo + len, out);
		}
	}
	return mask_pairs(conninfo, out);
}

bool
conninfo_has_password(const char *conninfo)
{
	struct buf scratch = BUF_EMPTY;
	bool found = mask(conninfo, &scratch);

	buf_fini(&scratch);
	return found;
}

void
conninfo_mask(const char *conninfo, struct buf *out)
{
	(void)mask(conninfo, out);
}

bool
conninfo_is_wrong(const char *message)
{
	static const char *const words[] = {
		"invalid ", "could not match ", "definition of service ",
		"service file ", "missing \"=\"", "unterminated quoted string",
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strncmp(message, words[i], strlen(words[i])) == 0)
			return true;
	return strstr(message, "invalid when SSL support is not") != NULL;
}

const char *
conninfo_newer_option(const char *message)
{
	static const char *const options[] = {
		"require_auth", "sslcertmode", "load_balance_hosts",
		"sslnegotiation", "min_protocol_version",
		"max_protocol_version", "sslkeylogfile", "servicefile",
		"scram_client_key", "scram_server_key", "oauth_issuer",
		"oauth_client_id", "oauth_client_secret", "oauth_scope",
	};
	const char *quote = strchr(message, '"');

	if (quote == NULL || strncmp(message, "invalid ", 8) != 0)
		return NULL;
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		size_t len = strlen(options[i]);

		if (strncmp(quote + 1, options[i], len) == 0 &&
		    quote[1 + len] == '"')
			return options[i];
	}
	return NULL;
}
