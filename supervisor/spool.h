/*
 * spool - completions that outlive the daemon.
 *
 * Runs in the supervisor. When it ends and completions are left that no
 * flusher has acknowledged (the database is away, or the flusher is dead),
 * they are written to the file "spool" in the pool's directory as the last
 * act, and handed to the first flusher of the next start, which judges them
 * like any other kept ones. The file goes when all of it is acknowledged.
 *
 * The file: "rappel spool 1\n", how many frames (8 bytes, big-endian), how
 * many bytes (8), the SHA-256 of the frames (32), the frames. It is made
 * under another name, with its space taken beforehand, synced and renamed.
 */
#ifndef SUPERVISOR_SPOOL_H
#define SUPERVISOR_SPOOL_H

#include "common/assert.h"
#include "supervisor/keep.h"

struct spool {
	int dir_fd;  /* borrowed */
	int fd;      /* of the file being prepared, or -1 */
	bool there;  /* DIR/spool exists */
};

void spool_init(struct spool *s, int dir_fd);
/* Takes what an earlier daemon left into an empty keep. A file that is damaged
 * is renamed to spool.bad and told of; the daemon goes on. */
void spool_read(struct spool *s, struct keep *k);
/* There may be something to write soon: takes the space for it. Told once
 * when it cannot. Cheap when done before. */
void spool_prepare(struct spool *s);
/* Everything is well again: gives the space back. */
void spool_unprepare(struct spool *s);
/* Writes all of it, or removes the file when nothing is kept. Blocks on the
 * disk: the last act. False when completions are lost by it; told. */
bool spool_write(struct spool *s, const struct keep *k) MUST_CHECK;
/* What was read is acknowledged: the file goes. */
void spool_settled(struct spool *s);
void spool_fini(struct spool *s);

#endif
