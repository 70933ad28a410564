/*
 * board_socket - hands scoreboards from the supervisor to the flusher.
 *
 * A SOCK_SEQPACKET pair: one message a board, BOARD_MESSAGE_BYTES that say
 * whose it is, with the memfd as SCM_RIGHTS. Nothing here blocks. A board is
 * sent before the HELLO of its worker is relayed, so whoever has read the
 * HELLO finds the board here, or it was never sent.
 */
#ifndef COMMON_BOARD_SOCKET_H
#define COMMON_BOARD_SOCKET_H

#include <stdint.h>

#include "common/assert.h"

#define BOARD_SOCKET_FD 4 /* in a flusher */
#define BOARD_MESSAGE_BYTES 8U

/* Both close-on-exec and non-blocking. 0 or -errno. */
int board_socket_pair(int pair_out[2]) MUST_CHECK;
/* board stays the caller's. 0, or -errno: -EAGAIN when there is no room. */
int board_send(int fd, uint16_t slot, uint32_t spawn, int board) MUST_CHECK;
/* The next one: 0 with a descriptor that is the caller's; -EAGAIN when there
 * is none now, -EPIPE when there will be none, -EPROTO for a message that is
 * no board (and is dropped), else -errno. */
int board_receive(int fd, uint16_t *slot_out, uint32_t *spawn_out,
                  int *board_out) MUST_CHECK;

#endif
