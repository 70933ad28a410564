/*
 * control - asking the daemon over its control socket.
 */
#include "ctl/control.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/frame.h"
#include "common/mem.h"

#define CONTROL_MAGIC 0xc0417001U
/* A full backlog empties within a turn of the daemon's loop. */
#define CONNECT_DEADLINE_US (2 * CLOCK_SECOND_US)
#define CONTROL_DEPTH_MAX 40

struct control {
	uint32_t magic;
	int fd;
	int pid_fd; /* the daemon's process, or -1 */
	bool quiet; /* says nothing on stderr */
	char *dir;
	struct buf in;
};

const char *
control_dir(const struct control *k)
{
	CHECK_OBJ(k, CONTROL_MAGIC);
	return k->dir;
}

void
control_close(struct control **kp)
{
	struct control *k = *kp;

	if (k == NULL)
		return;
	*kp = NULL;
	CHECK_OBJ(k, CONTROL_MAGIC);
	if (k->fd >= 0)
		close(k->fd);
	if (k->pid_fd >= 0)
		close(k->pid_fd);
	buf_fini(&k->in);
	free(k->dir);
	k->magic = 0;
	free(k);
}

/* True when fd is ready before until_us and nobody pressed Ctrl-C. */
static bool
ready(int fd, short events, uint64_t until_us)
{
	for (;;) {
		uint64_t now_us = clock_mono_us();
		struct pollfd p = { .fd = fd, .events = events };
		uint64_t left_ms =
		    now_us < until_us ? (until_us - now_us) / 1000 + 1 : 0;
		int n = poll(&p, 1, left_ms > 3600000 ? 3600000 : (int)left_ms);

		if (n > 0)
			return true;
		if ((n < 0 && errno != EINTR) || interrupted ||
		    clock_mono_us() >= until_us)
			return false;
	}
}

/*
 * Connects through the directory's descriptor, so that a path longer than a
 * socket address can hold works too.
 */
static int
connect_in(const char *dir, int *fd_out)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	uint64_t until_us = clock_mono_us() + CONNECT_DEADLINE_US;
	int dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd, rc = 0;

	if (dir_fd < 0)
		return -errno;
	snprintf(address.sun_path, sizeof(address.sun_path),
		 "/proc/self/fd/%d/control.sock", dir_fd);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		rc = -errno;
		close(dir_fd);
		return rc;
	}
	/* EAGAIN: the backlog is full, and poll() does not wait for it. */
	while (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		rc = -errno;
		if ((rc != -EAGAIN && rc != -EINTR) || interrupted ||
		    clock_mono_us() >= until_us)
			break;
		poll(NULL, 0, 20);
		rc = 0;
	}
	close(dir_fd);
	if (rc != 0) {
		close(fd);
		return rc;
	}
	*fd_out = fd;
	return 0;
}

/*
 * A descriptor of the process at the other end; -1 when it cannot be had, as
 * from outside its container.
 */
static int
peer_process(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0 ||
	    peer.pid <= 0)
		return -1;
	return (int)syscall(SYS_pidfd_open, peer.pid, 0);
}

static int
open_pool(const struct ctl *c, bool quiet, struct control **out)
{
	struct control *k;
	struct target t;
	int rc = target_resolve(c, &t);

	if (rc != CTL_OK)
		return rc;
	k = mem_zalloc(sizeof(*k));
	k->magic = CONTROL_MAGIC;
	k->fd = k->pid_fd = -1;
	k->quiet = quiet;
	k->dir = mem_strdup(t.dir);
	rc = connect_in(t.dir, &k->fd);
	if (rc == 0) {
		target_fini(&t);
		k->pid_fd = peer_process(k->fd);
		*out = k;
		return CTL_OK;
	}
	if (rc == -EACCES || rc == -EPERM) {
		if (!quiet) {
			complain("%s/control.sock: %s", t.dir, strerror(-rc));
			advise("Ask as the daemon's user or as root.");
		}
		rc = CTL_PERMISSION;
	} else if (rc == -ENOENT || rc == -ECONNREFUSED || rc == -ENOTDIR) {
		if (!quiet) {
			complain("no daemon runs in %s (directory from %s)",
				 t.dir, t.dir_origin);
			advise("Start one: rappeld --dev, or name its "
			       "directory with --dir");
		}
		rc = CTL_NO_DAEMON;
	} else {
		if (!quiet)
			complain("%s/control.sock: %s", t.dir,
				 rc == -EAGAIN ? "the daemon is busy"
					       : strerror(-rc));
		rc = CTL_FAILED;
	}
	target_fini(&t);
	control_close(&k);
	return rc;
}

int
control_open(const struct ctl *c, struct control **out)
{
	return open_pool(c, false, out);
}

static int
failed(const struct control *k, int code, const char *what)
{
	if (!k->quiet)
		complain("the daemon in %s %s", k->dir, what);
	return code;
}

static int
send_all(struct control *k, const struct buf *frame, uint64_t until_us)
{
	size_t sent = 0;

	while (sent < frame->len) {
		ssize_t n = send(k->fd, frame->data + sent, frame->len - sent,
				 MSG_NOSIGNAL);

		if (n >= 0) {
			sent += (size_t)n;
			continue;
		}
		/* Closed: it may have said why before. */
		if (errno == EPIPE || errno == ECONNRESET)
			return CTL_OK;
		if (errno != EAGAIN && errno != EINTR)
			return failed(k, CTL_NO_DAEMON, "went away");
		if (!ready(k->fd, POLLOUT, until_us))
			return failed(
			    k, interrupted ? CTL_INTERRUPTED : CTL_TIMEOUT,
			    "does not answer");
	}
	return CTL_OK;
}

/* Reads until a frame is complete; it lies in k->in. */
static int
read_frame(struct control *k, uint64_t until_us, struct frame *out)
{
	struct error err = { .line = 0 };

	for (;;) {
		ssize_t n =
		    frame_decode(buf_slice(&k->in), FRAME_CONTROL_BYTES_MAX,
				 PEER_SUPERVISOR, out, &err);

		if (n > 0)
			return CTL_OK;
		if (n < 0) {
			if (!k->quiet)
				complain("what answers in %s is no rappel "
					 "daemon: %s",
					 k->dir, err.message);
			return CTL_FAILED;
		}
		buf_reserve(&k->in, 16384);
		n = read(k->fd, k->in.data + k->in.len, 16384);
		if (n > 0)
			k->in.len += (size_t)n;
		else if (n == 0)
			return failed(k, CTL_NO_DAEMON,
				      "closed the connection; is it another "
				      "user's, or stopping?");
		else if (errno != EAGAIN && errno != EINTR)
			return failed(k, CTL_NO_DAEMON, "went away");
		else if (!ready(k->fd, POLLIN, until_us))
			return failed(
			    k, interrupted ? CTL_INTERRUPTED : CTL_TIMEOUT,
			    "does not answer");
	}
}

/* The reply's own verdict: its exit code and error when not ok. */
static int
judge_reply(const struct control *k, struct slice reply)
{
	struct slice v;
	struct item item;
	int code = CTL_FAILED;

	if (value_get(reply, SLICE_LITERAL("ok"), &v)) {
		item = value_item(v);
		if (item.type == VALUE_BOOL && item.b)
			return CTL_OK;
	}
	if (value_get(reply, SLICE_LITERAL("code"), &v)) {
		item = value_item(v);
		if (item.type == VALUE_INT && item.i > 0 && item.i < 256)
			code = (int)item.i;
	}
	if (k->quiet)
		return code;
	item.type = VALUE_NULL;
	if (value_get(reply, SLICE_LITERAL("error"), &v))
		item = value_item(v);
	if (item.type == VALUE_STR)
		complain("the daemon refuses: %.*s", (int)item.bytes.len,
			 (const char *)item.bytes.data);
	else
		complain("the daemon refuses and does not say why");
	return code;
}

int
control_request(struct control *k, struct slice request, uint64_t deadline_us,
		struct buf *reply)
{
	uint64_t until_us = clock_mono_us() + deadline_us;
	struct buf out = BUF_EMPTY;
	struct error err = { .line = 0 };
	struct frame f;
	int rc;

	CHECK_OBJ(k, CONTROL_MAGIC);
	frame_add(&out, FRAME_REQUEST, 0, 0, 0, request);
	rc = send_all(k, &out, until_us);
	buf_fini(&out);
	if (rc == CTL_OK)
		rc = read_frame(k, until_us, &f);
	if (rc != CTL_OK)
		return rc;
	if (f.type != FRAME_REPLY ||
	    value_check_frame(f.payload, CONTROL_DEPTH_MAX, &err) != 0 ||
	    value_type(f.payload) != VALUE_MAP)
		return failed(k, CTL_FAILED, "gave no valid answer");
	rc = judge_reply(k, f.payload);
	if (rc == CTL_OK && reply != NULL)
		buf_add(reply, f.payload.data, f.payload.len);
	k->in.len = 0;
	return rc;
}

/* True when nobody holds the pool's lock, or there is none to look at. */
static bool
lock_is_free(const char *dir)
{
	struct buf path = BUF_EMPTY;
	bool is_free = true;
	int fd;

	buf_printf(&path, "%s/lock", dir);
	fd = open(buf_text(&path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	buf_fini(&path);
	if (fd < 0)
		return true;
	if (flock(fd, LOCK_SH | LOCK_NB) != 0)
		is_free = errno != EWOULDBLOCK;
	close(fd);
	return is_free;
}

int
control_wait_gone(struct control *k, uint64_t until_us)
{
	int rc = CTL_OK;

	CHECK_OBJ(k, CONTROL_MAGIC);
	/* The process first: asking for the lock must not disturb it. */
	if (k->pid_fd >= 0 && !ready(k->pid_fd, POLLIN, until_us))
		rc = interrupted ? CTL_INTERRUPTED : CTL_TIMEOUT;
	while (rc == CTL_OK && !lock_is_free(k->dir)) {
		if (interrupted)
			rc = CTL_INTERRUPTED;
		else if (clock_mono_us() >= until_us)
			rc = CTL_TIMEOUT;
		else
			poll(NULL, 0, 20);
	}
	return rc;
}

static int
ask(const struct ctl *c, const char *verb, uint64_t deadline_us, bool quiet,
    struct buf *reply)
{
	struct buf request = BUF_EMPTY;
	struct control *k;
	int rc = open_pool(c, quiet, &k);

	if (rc != CTL_OK)
		return rc;
	value_pack_map(&request, 1);
	value_pack_text(&request, "verb");
	value_pack_text(&request, verb);
	rc = control_request(k, buf_slice(&request), deadline_us, reply);
	buf_fini(&request);
	control_close(&k);
	return rc;
}

int
control_ask(const struct ctl *c, const char *verb, uint64_t deadline_us,
	    struct buf *reply)
{
	return ask(c, verb, deadline_us, false, reply);
}

int
control_ask_quietly(const struct ctl *c, const char *verb, uint64_t deadline_us,
		    struct buf *reply)
{
	return ask(c, verb, deadline_us, true, reply);
}
