/*
 * batch_pack - a batch as the statements between BEGIN and COMMIT: the fence,
 * the journal rows, the ends of instances, consumed commands.
 */
#ifndef FLUSHER_BATCH_PACK_H
#define FLUSHER_BATCH_PACK_H

struct batch;
struct db_call;
struct flusher;
struct params;

/* Adds the batch's statements to call; p is scratch. The batch stays as it is
 * and may be packed again. What the batch lacks has no statement, but the fence
 * is always the first. */
void batch_pack(struct flusher *f, struct batch *b, struct params *p,
                struct db_call *call);

#endif
