/*
 * hosts - see hosts.h.
 */
#include "flusher/hosts.h"

#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "common/mem.h"

/* The index-th part of a list. False behind its end. */
static bool
part(const char *list, unsigned index, const char **at, size_t *len)
{
	while (index-- > 0) {
		list += strcspn(list, ",");
		if (*list++ == '\0')
			return false;
	}
	*at = list;
	*len = strcspn(list, ",");
	return true;
}

static unsigned
count(const char *list)
{
	unsigned n = 1;

	if (list == NULL || *list == '\0')
		return 0;
	for (; *list != '\0'; list++)
		n += *list == ',';
	return n;
}

static bool
part_is(const char *list, unsigned index, const char *text)
{
	const char *at;
	size_t len;

	return list != NULL && text != NULL && part(list, index, &at, &len) &&
	    len == strlen(text) && memcmp(at, text, len) == 0;
}

/* One port may stand for all hosts. */
static bool
is_at(const char *host, const char *hostaddr, const char *port, unsigned index,
      const PGconn *conn)
{
	if (count(port) > 1 && !part_is(port, index, PQport(conn)))
		return false;
	return part_is(host, index, PQhost(conn)) ||
	    part_is(hostaddr, index, PQhost(conn)) ||
	    part_is(hostaddr, index, PQhostaddr(conn));
}

/* A copy of the list that begins behind the index-th. */
static char *
rotated(const char *list, unsigned index, unsigned total)
{
	struct buf b = BUF_EMPTY;
	const char *at;
	size_t len;
	char *copy;

	if (count(list) != total)
		return list == NULL || *list == '\0' ? NULL : mem_strdup(list);
	for (unsigned n = 0; n < total; n++) {
		if (n > 0)
			buf_add_byte(&b, ',');
		if (part(list, (index + 1 + n) % total, &at, &len))
			buf_add(&b, at, len);
	}
	copy = mem_strdup(buf_text(&b));
	buf_fini(&b);
	return copy;
}

static void
lists_drop(struct hosts *h)
{
	free(h->host);
	free(h->hostaddr);
	free(h->port);
	h->host = h->hostaddr = h->port = NULL;
}

void
hosts_fini(struct hosts *h)
{
	lists_drop(h);
}

void
hosts_reset(struct hosts *h)
{
	lists_drop(h);
	h->refused = 0;
}

bool
hosts_refuse(struct hosts *h, PGconn *conn)
{
	PQconninfoOption *options = PQconninfo(conn);
	const char *host = NULL, *hostaddr = NULL, *port = NULL;
	unsigned total, index = 0;
	struct hosts next = { .refused = h->refused + 1 };

	for (PQconninfoOption *o = options; o != NULL && o->keyword != NULL;
	     o++) {
		if (strcmp(o->keyword, "host") == 0)
			host = o->val;
		else if (strcmp(o->keyword, "hostaddr") == 0)
			hostaddr = o->val;
		else if (strcmp(o->keyword, "port") == 0)
			port = o->val;
	}
	total = count(hostaddr) > 0 ? count(hostaddr) : count(host);
	if (total > 1) {
		while (index < total &&
		       !is_at(host, hostaddr, port, index, conn))
			index++;
		if (index < total) {
			next.host = rotated(host, index, total);
			next.hostaddr = rotated(hostaddr, index, total);
			next.port = rotated(port, index, total);
		}
	}
	if (options != NULL)
		PQconninfoFree(options);
	lists_drop(h);
	*h = next;
	if (h->refused < total)
		return true;
	h->refused = 0;
	return false;
}
