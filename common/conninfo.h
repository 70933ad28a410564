/*
 * conninfo - a libpq connection string or URI: its secrets, what is wrong.
 *
 * Finds password and sslpassword, as "key=value" pairs and as URIs have them.
 * Judges nothing itself: libpq does, and its words are sorted here.
 */
#ifndef COMMON_CONNINFO_H
#define COMMON_CONNINFO_H

#include <stdbool.h>

#include "common/buf.h"

bool conninfo_has_password(const char *conninfo);
/* Appends it with "***" in the place of every secret; for output. */
void conninfo_mask(const char *conninfo, struct buf *out);

/*
 * Whether libpq's words for why it could not connect are about the connection
 * string itself: no waiting mends that.
 */
bool conninfo_is_wrong(const char *message);
/*
 * The option that a newer libpq knows and this one does not, when its words
 * are about such a one: its name is no part of a secret. NULL otherwise.
 */
const char *conninfo_newer_option(const char *message);

#endif
