/*
 * status - what the flusher tells about itself: the STATUS frame.
 */
#ifndef FLUSHER_STATUS_H
#define FLUSHER_STATUS_H

#include "common/buf.h"

struct flusher;

/* Health as in docs/protocol.md. */
enum flusher_health {
	HEALTH_STARTING = 0,
	HEALTH_WORKING = 1,
	HEALTH_DATABASE_AWAY = 2,
	HEALTH_DRAINING = 3,
};

enum flusher_health status_health(const struct flusher *f);

/* Packs the map for rappelctl status. */
void status_pack(const struct flusher *f, struct buf *out);

#endif
