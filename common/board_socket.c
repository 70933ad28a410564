/*
 * board_socket - one descriptor and eight bytes a message.
 */
#include "common/board_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define FDS_MAX 4U /* more than one is no board, but must be closed */

/* Native byte order: both ends are on one machine. */
struct message {
	uint16_t slot;
	uint16_t zero;
	uint32_t spawn;
};

_Static_assert(sizeof(struct message) == BOARD_MESSAGE_BYTES, "no gaps");

int
board_socket_pair(int pair_out[2])
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK,
	               0, pair) != 0)
		return -errno;
	pair_out[0] = pair[0];
	pair_out[1] = pair[1];
	return 0;
}

int
board_send(int fd, uint16_t slot, uint32_t spawn, int board)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int))] = { 0 };
	struct message message = { .slot = slot, .spawn = spawn };
	struct iovec iov = { &message, sizeof(message) };
	struct msghdr header = { .msg_iov = &iov,
		                 .msg_iovlen = 1,
		                 .msg_control = control,
		                 .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&header);
	ssize_t n;

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &board, sizeof(board));
	do {
		n = sendmsg(fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

/* The only descriptor of a message, or -1; others are closed. */
static int
one_descriptor(struct msghdr *header)
{
	int fds[FDS_MAX];
	size_t count = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(header); c != NULL;
	     c = CMSG_NXTHDR(header, c)) {
		size_t more;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		more = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		ASSERT(count + more <= FDS_MAX); /* there is room for so many */
		memcpy(fds + count, CMSG_DATA(c), more * sizeof(int));
		count += more;
	}
	if (count == 1)
		return fds[0];
	for (size_t i = 0; i < count; i++)
		close(fds[i]);
	return -1;
}

int
board_receive(int fd, uint16_t *slot_out, uint32_t *spawn_out,
              int *board_out)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(
	    FDS_MAX * sizeof(int))] = { 0 };
	struct message message = { .slot = 0 };
	struct iovec iov = { &message, sizeof(message) };
	struct msghdr header = { .msg_iov = &iov,
		                 .msg_iovlen = 1,
		                 .msg_control = control,
		                 .msg_controllen = sizeof(control) };
	ssize_t n;
	int board;

	do {
		n = recvmsg(fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	board = one_descriptor(&header);
	if (n == 0 && board < 0)
		return -EPIPE;
	if (n != sizeof(message) || board < 0 || message.zero != 0 ||
	    (header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) != 0) {
		if (board >= 0)
			close(board);
		return -EPROTO;
	}
	*slot_out = message.slot;
	*spawn_out = message.spawn;
	*board_out = board;
	return 0;
}
