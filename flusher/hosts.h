/*
 * hosts - the servers that a connection string names, and which comes first.
 *
 * libpq takes the first that accepts. When we refuse that one (a standby, an
 * older copy), the next attempt begins behind it.
 */
#ifndef FLUSHER_HOSTS_H
#define FLUSHER_HOSTS_H

#include <libpq-fe.h>
#include <stdbool.h>

struct hosts {
	char *host;     /* lists as libpq reads them, rotated; NULL: as given */
	char *hostaddr;
	char *port;
	unsigned refused; /* one after the other, since the last good one */
};

void hosts_fini(struct hosts *h);
/* As the connection string has them; what was refused is forgotten. */
void hosts_reset(struct hosts *h);
/* Puts the one that conn is connected to last. False when each was refused
 * by now: the round is over, another begins. */
bool hosts_refuse(struct hosts *h, PGconn *conn);

#endif
