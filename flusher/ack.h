/*
 * ack - which completion frames are finished, so that the supervisor need not
 * keep them any longer.
 *
 * Runs in the flusher. Frames are numbered in the order in which they came,
 * from 1. A frame is finished when everything in it is committed or was judged
 * (too late, unknown, refused). Events join the batch that fills when their
 * frame comes, and batches are settled in order, so a batch carries the number
 * of the last frame before it was sealed.
 */
#ifndef FLUSHER_ACK_H
#define FLUSHER_ACK_H

#include <stdint.h>

struct flusher;

struct ack {
	uint64_t received; /* frames */
	uint64_t settled;  /* the first so many hang on no batch */
	uint64_t sent;     /* acknowledged */
};

/* A COMPLETION frame came; its number is ack->received from now on. */
void ack_received(struct ack *a);
/* The first so many frames wait for nothing but a batch, which carries this
 * number when it is sealed; the next one waits for its instance. */
uint64_t ack_joined(const struct flusher *f);
/* A batch was settled that carried this number. */
void ack_settled(struct ack *a, uint64_t frame);
/* Acknowledges what is finished. At the end of a turn. */
void ack_run(struct flusher *f);

#endif
