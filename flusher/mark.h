/*
 * mark - which instance the engine is working on, so that one that kills the
 * flusher can be told from the others.
 *
 * Runs in the flusher. A page of the file "mark" in the pool's directory,
 * shared and never synced: it outlives the process, not the machine. Set before
 * the engine is called for an instance, cleared after; what the next flusher
 * finds set is to blame (rappel.blame() counts, and sets aside at three). A
 * SIGKILL from outside rarely hits it, and never three times with the same
 * instance that did not get on.
 */
#ifndef FLUSHER_MARK_H
#define FLUSHER_MARK_H

#include <stdbool.h>

#include "common/uuid.h"

struct mark;

/* Opens or makes it. True with *blamed when an earlier flusher left it set.
 * Without a file (told) everything below does nothing. */
bool mark_open(struct mark **m, const char *dir, struct uuid *blamed);
/* The file stays. Sets *m to NULL; NULL is fine. */
void mark_close(struct mark **m);

void mark_set(struct mark *m, const struct uuid *instance);
void mark_clear(struct mark *m);

#endif
