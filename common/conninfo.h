/*
 * conninfo - the secrets in a libpq connection string or URI.
 *
 * Finds password and sslpassword, as "key=value" pairs and as URIs have them.
 * Judges nothing else: libpq does that.
 */
#ifndef COMMON_CONNINFO_H
#define COMMON_CONNINFO_H

#include <stdbool.h>

#include "common/buf.h"

bool conninfo_has_password(const char *conninfo);
/* Appends it with "***" in the place of every secret; for output. */
void conninfo_mask(const char *conninfo, struct buf *out);

#endif
