/*
 * control - the socket, its clients, who they are and what each may ask.
 */
#include "supervisor/control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/link.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/value.h"
#include "supervisor/access.h"
#include "supervisor/control_parts.h"
#include "supervisor/reap.h"
#include "supervisor/supervisor.h"
#include "supervisor/workers.h"

#define CONTROL_MAGIC 0x4354524cU
/* Long enough that root's turn comes before its patience ends, with
 * everybody else knocking. */
#define BACKLOG 1024
#define ACCEPTS_MAX 64
#define RESERVE 4 /* descriptors given up when there are no others */
#define RESUME_US 100000
/* Lines about clients: so many at once, then so many a second. */
#define AUDIT_BURST 200U
#define AUDIT_PER_SECOND 10U

struct control {
	struct supervisor *supervisor;
	struct access access;
	int fd;
	ino_t inode; /* of our socket in the directory */
	struct event *accept_event;
	struct event *resume_event; /* after a lack of descriptors */
	int reserve[RESERVE];       /* /dev/null, or -1 */
	uint32_t audit_room;
	uint64_t audit_filled_us;
	uint32_t audit_left_out;
	struct client clients[CONTROL_CLIENTS_MAX];
};

static const struct timeval request_time = {
	.tv_sec = CONTROL_REQUEST_US / CLOCK_SECOND_US,
};

/* ---- the audit ---- */

/* False when clients have caused so many lines that this one is counted
 * instead. */
static bool
audit_has_room(struct control *control)
{
	uint64_t now = clock_mono_us();
	uint64_t more = (now - control->audit_filled_us) * AUDIT_PER_SECOND /
	                CLOCK_SECOND_US;

	if (more > 0) {
		control->audit_filled_us = now;
		control->audit_room = more > AUDIT_BURST - control->audit_room
		                          ? AUDIT_BURST
		                          : control->audit_room +
		                                (uint32_t)more;
	}
	if (control->audit_room == 0) {
		control->audit_left_out++;
		return false;
	}
	control->audit_room--;
	if (control->audit_left_out > 0)
		log_warning("control: lines about clients left out count=%u",
		            control->audit_left_out);
	control->audit_left_out = 0;
	return true;
}

static void
audit_refused(struct control *control, const struct access_peer *peer,
              const char *verb, const char *why)
{
	if (audit_has_room(control))
		log_warning("control: refused, %s verb=%s uid=%u gid=%u pid=%d "
		            "role=%s",
		            why, verb, (unsigned)peer->uid, (unsigned)peer->gid,
		            (int)peer->pid, role_name(peer->role));
}

/* What changes something is told always: it is what the audit is for. */
static void
audit_done(const struct access_peer *peer, const char *verb)
{
	log_info("control: asked verb=%s uid=%u gid=%u pid=%d role=%s", verb,
	         (unsigned)peer->uid, (unsigned)peer->gid, (int)peer->pid,
	         role_name(peer->role));
}

/* ---- replies ---- */

void
control_pack_text(struct buf *b, const char *key, const char *text)
{
	value_pack_text(b, key);
	value_pack_text(b, text);
}

void
control_pack_uint(struct buf *b, const char *key, uint64_t value)
{
	value_pack_text(b, key);
	value_pack_uint(b, value);
}

static void
pack_error(struct buf *b, uint64_t code, const char *text)
{
	value_pack_map(b, 3);
	value_pack_text(b, "ok");
	value_pack_bool(b, false);
	control_pack_text(b, "error", text);
	control_pack_uint(b, "code", code);
}

void
control_reply(struct client *c, struct slice payload)
{
	frame_add(link_out(c->link), FRAME_REPLY, 0, 0, 0, payload);
	link_send(c->link);
}

void
control_reply_error(struct client *c, uint64_t code, const char *text)
{
	struct buf b = BUF_EMPTY;

	pack_error(&b, code, text);
	control_reply(c, buf_slice(&b));
	buf_fini(&b);
}

/* To whom gets no place; what does not go at once is lost. */
static void
turn_away(int fd, uint64_t code, const char *text)
{
	struct buf payload = BUF_EMPTY, b = BUF_EMPTY;

	pack_error(&payload, code, text);
	frame_add(&b, FRAME_REPLY, 0, 0, 0, buf_slice(&payload));
	(void)!send(fd, b.data, b.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	buf_fini(&payload);
	buf_fini(&b);
	close(fd);
}

/* ---- requests ---- */

static void (*const verb_runs[VERB_COUNT])(struct client *c,
                                           struct slice request) = {
#define VERB(name, role, arguments, help) verb_##name,
#include "common/verbs.def"
#undef VERB
};

static void
reply_unknown(struct client *c)
{
	struct buf b = BUF_EMPTY;

	buf_add_text(&b, "unknown verb; there are ");
	for (size_t i = 0; i < VERB_COUNT; i++)
		buf_printf(&b, "%s%s",
		           i == 0                ? ""
		           : i + 1 == VERB_COUNT ? " and "
		                                 : ", ",
		           verb_table[i].name);
	control_reply_error(c, CODE_USAGE, buf_text(&b));
	buf_fini(&b);
}

static void
reply_forbidden(struct client *c, const struct verb_row *row)
{
	char text[160];

	audit_refused(c->control, &c->peer, row->name, "not allowed");
	snprintf(text, sizeof(text),
	         "%s needs the role %s on this socket; uid %u has %s",
	         row->name, role_name(row->role), (unsigned)c->peer.uid,
	         role_name(c->peer.role));
	control_reply_error(c, CODE_PERMISSION, text);
}

static int
client_frame_cb(void *arg, const struct frame *f)
{
	struct client *c = arg;
	struct error err = { 0 };
	struct slice name;
	enum verb verb = VERB_COUNT;

	CHECK_OBJ(c, CONTROL_MAGIC);
	/* Whoever does not read replies gets no more. */
	if (link_unsent(c->link) > CONTROL_UNREAD_BYTES_MAX)
		return -ENOBUFS;
	event_add(c->deadline, &request_time);
	if (value_check_frame(f->payload, VALUE_DEPTH_MAX, &err) < 0 ||
	    value_type(f->payload) != VALUE_MAP ||
	    !value_get(f->payload, SLICE_LITERAL("verb"), &name)) {
		control_reply_error(c, CODE_USAGE,
		                    "a request is a map with a \"verb\"");
		return 0;
	}
	if (value_type(name) == VALUE_STR)
		verb = verb_find(value_item(name).bytes);
	if (verb == VERB_COUNT) {
		reply_unknown(c);
		return 0;
	}
	if (c->peer.role < verb_table[verb].role) {
		reply_forbidden(c, &verb_table[verb]);
		return 0;
	}
	if (verb_table[verb].role > ROLE_READ_ONLY)
		audit_done(&c->peer, verb_table[verb].name);
	verb_runs[verb](c, f->payload);
	return 0;
}

/* ---- clients ---- */

static void
reserve_fill(struct control *control)
{
	for (size_t i = 0; i < RESERVE; i++) {
		if (control->reserve[i] < 0)
			control->reserve[i] =
			    open("/dev/null", O_RDONLY | O_CLOEXEC);
	}
}

/* True when there is a descriptor now that was kept for this. */
static bool
reserve_spend(struct control *control)
{
	for (size_t i = 0; i < RESERVE; i++) {
		if (control->reserve[i] >= 0) {
			close(control->reserve[i]);
			control->reserve[i] = -1;
			return true;
		}
	}
	return false;
}

static void
client_close(struct client *c)
{
	link_destroy(&c->link);
	event_del(c->deadline);
	reserve_fill(c->control);
}

static void
client_gone_cb(void *arg, int reason, const struct error *err)
{
	struct client *c = arg;

	CHECK_OBJ(c, CONTROL_MAGIC);
	if (reason == -EPROTO && audit_has_room(c->control))
		log_warning("control: a client broke the protocol: %s uid=%u "
		            "pid=%d",
		            err != NULL ? err->message : "",
		            (unsigned)c->peer.uid, (int)c->peer.pid);
	client_close(c);
}

static void
client_deadline_cb(evutil_socket_t fd, short what, void *arg)
{
	struct client *c = arg;

	(void)fd;
	(void)what;
	CHECK_OBJ(c, CONTROL_MAGIC);
	client_close(c);
}

static const struct link_ops client_ops = {
	.frame_cb = client_frame_cb,
	.gone_cb = client_gone_cb,
};

/* A place for that user, or NULL: all are taken, or it has its share. */
static struct client *
client_place(struct control *control, uid_t uid)
{
	struct client *found = NULL;
	uint32_t taken = 0, own = 0;

	for (uint32_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct client *c = &control->clients[i];

		if (c->link == NULL) {
			found = found != NULL ? found : c;
			continue;
		}
		taken++;
		own += c->peer.uid == uid;
	}
	if (uid != 0 && (own >= CONTROL_CLIENTS_UID_MAX ||
	                 taken >= CONTROL_CLIENTS_MAX - CONTROL_CLIENTS_ROOT))
		return NULL;
	return found;
}

/* scarce: fd is one that was kept for those who can mend it. */
static void
client_accept(struct control *control, int fd, bool scarce)
{
	struct access_peer peer;
	struct client *c;

	if (access_peer_get(&control->access, fd, &peer) < 0) {
		close(fd);
		return;
	}
	if (peer.role == ROLE_REFUSED) {
		audit_refused(control, &peer, "connect", "not allowed");
		turn_away(fd, CODE_PERMISSION,
		          "only root, the daemon's own user and the groups of "
		          "control_group_* may ask");
		return;
	}
	c = client_place(control, peer.uid);
	if (c == NULL || (scarce && peer.role < ROLE_ADMIN)) {
		audit_refused(control, &peer, "connect", "too many clients");
		turn_away(fd, CODE_FAILED, "busy: too many clients");
		return;
	}
	c->peer = peer;
	c->link = link_create(control->supervisor->base, fd, PEER_CONTROL,
	                      CONTROL_REQUEST_BYTES_MAX, &client_ops, c);
	event_add(c->deadline, &request_time);
}

static void
control_accept_cb(evutil_socket_t fd, short what, void *arg)
{
	struct control *control = arg;
	struct timeval later = { 0, RESUME_US };

	(void)what;
	for (int i = 0; i < ACCEPTS_MAX; i++) {
		bool scarce = false;
		int client;

		client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (client < 0 && (errno == EMFILE || errno == ENFILE)) {
			scarce = reserve_spend(control);
			if (scarce)
				client = accept4(fd, NULL, NULL,
				                 SOCK_CLOEXEC | SOCK_NONBLOCK);
		}
		if (client < 0 && (errno == EMFILE || errno == ENFILE ||
		                   errno == ENOMEM || errno == ENOBUFS)) {
			/* It stays readable, so do not spin. */
			event_del(control->accept_event);
			event_add(control->resume_event, &later);
			break;
		}
		/* Descriptors lack even when nobody is waiting. */
		if (client < 0) {
			if (scarce)
				reserve_fill(control);
			break;
		}
		client_accept(control, client, scarce);
		if (scarce)
			reserve_fill(control);
	}
}

static void
control_resume_cb(evutil_socket_t fd, short what, void *arg)
{
	struct control *control = arg;

	(void)fd;
	(void)what;
	reserve_fill(control);
	event_add(control->accept_event, NULL);
}

/* ---- the listening socket ---- */

/* The lock is ours, so a socket there is one that was left behind; but not
 * when somebody listens on it, and what is no socket is nothing of ours. */
static int
control_clear(const struct sockaddr_un *addr, struct error *err)
{
	const char *path = addr->sun_path;
	struct stat st;
	int fd, rc;

	if (lstat(path, &st) != 0)
		return 0; /* bind() says what is wrong, if it is */
	if (!S_ISSOCK(st.st_mode)) {
		error_set(err, "%s is no socket; remove it or choose another "
		          "directory", path);
		return -EXIT_CONFIG;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0) {
		rc = connect(fd, (const struct sockaddr *)addr, sizeof(*addr));
		if (rc != 0)
			rc = errno;
		close(fd);
		if (rc == 0 || rc == EAGAIN) {
			error_set(err, "another program listens on %s; stop "
			          "it or choose another directory", path);
			return -EXIT_TRY_LATER;
		}
	}
	if (unlink(path) != 0 && errno != ENOENT) {
		error_set(err, "%s cannot be replaced: %s", path,
		          strerror(errno));
		return -EXIT_CONFIG;
	}
	return 0;
}

static int
control_bind(struct control *control, const char *path, struct error *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	mode_t mask;
	int rc;

	if (strlen(path) >= sizeof(addr.sun_path)) {
		error_set(err,
		          "%.200s is longer than the %zu bytes that a socket's "
		          "path may have; choose a shorter directory",
		          path, sizeof(addr.sun_path) - 1);
		return EXIT_CONFIG;
	}
	strcpy(addr.sun_path, path);
	rc = control_clear(&addr, err);
	if (rc < 0)
		return -rc;
	control->fd =
	    socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (control->fd < 0) {
		error_set(err, "socket: %s", strerror(errno));
		return 1;
	}
	mask = umask(0177);
	rc = bind(control->fd, (struct sockaddr *)&addr, sizeof(addr));
	if (rc != 0)
		rc = errno;
	umask(mask);
	if (rc == 0 && listen(control->fd, BACKLOG) != 0)
		rc = errno;
	if (rc != 0) {
		error_set(err, "%s: %s", path, strerror(rc));
		return rc == EACCES || rc == EROFS ? EXIT_PERMISSION : 1;
	}
	return 0;
}

/*
 * Who can connect at all: ourselves, one group, or, with several groups,
 * everybody; what counts is who they are when they do. Nobody but us can
 * change names in this directory.
 */
static int
control_admit(struct control *control, struct error *err)
{
	int dir = control->supervisor->lock.dir_fd;
	bool any;
	gid_t group = access_only_group(&control->access, &any);
	struct stat st;
	int rc = 0;

	if (group != ACCESS_NO_GROUP)
		rc = fchownat(dir, CONTROL_SOCKET, (uid_t)-1, group,
		              AT_SYMLINK_NOFOLLOW);
	if (rc == 0 && any)
		rc = fchmodat(dir, CONTROL_SOCKET,
		              group != ACCESS_NO_GROUP ? 0660 : 0666, 0);
	if (rc == 0)
		rc = fstatat(dir, CONTROL_SOCKET, &st, AT_SYMLINK_NOFOLLOW);
	if (rc != 0) {
		error_set(err,
		          "control.sock for group %u: %s; rappeld must be root "
		          "or in that group",
		          (unsigned)group, strerror(errno));
		return EXIT_PERMISSION;
	}
	control->inode = st.st_ino;
	return 0;
}

/* Only if it is still ours: the directory may have been replaced, and another
 * daemon live there. */
static void
control_remove(const struct control *control)
{
	int dir = control->supervisor->lock.dir_fd;
	struct stat st;

	if (control->inode != 0 &&
	    fstatat(dir, CONTROL_SOCKET, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_ino == control->inode)
		unlinkat(dir, CONTROL_SOCKET, 0);
}

int
control_start(struct supervisor *s, struct control **out, struct error *err)
{
	struct control *control = mem_zalloc(sizeof(*control));
	struct buf path = BUF_EMPTY;
	int code = 0;

	control->supervisor = s;
	control->fd = -1;
	control->audit_room = AUDIT_BURST;
	control->audit_filled_us = clock_mono_us();
	if (access_open(&control->access, &s->config, err) < 0)
		code = EXIT_CONFIG;
	buf_printf(&path, "%s/" CONTROL_SOCKET, s->dir);
	if (code == 0)
		code = control_bind(control, buf_text(&path), err);
	buf_fini(&path);
	if (code == 0)
		code = control_admit(control, err);
	if (code != 0) {
		if (control->fd >= 0)
			close(control->fd);
		free(control);
		return code;
	}
	for (size_t i = 0; i < RESERVE; i++)
		control->reserve[i] = -1;
	reserve_fill(control);
	for (uint32_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct client *c = &control->clients[i];

		c->magic = CONTROL_MAGIC;
		c->control = control;
		c->supervisor = s;
		c->deadline = evtimer_new(s->base, client_deadline_cb, c);
	}
	control->accept_event =
	    event_new(s->base, control->fd, EV_READ | EV_PERSIST,
	              control_accept_cb, control);
	control->resume_event =
	    evtimer_new(s->base, control_resume_cb, control);
	event_add(control->accept_event, NULL);
	*out = control;
	return 0;
}

void
control_stop(struct control **out)
{
	struct control *control = *out;

	if (control == NULL)
		return;
	*out = NULL;
	control_remove(control);
	event_free(control->accept_event);
	event_free(control->resume_event);
	close(control->fd);
	for (uint32_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct client *c = &control->clients[i];

		if (c->link != NULL)
			link_flush(c->link);
		client_close(c);
		event_free(c->deadline);
	}
	while (reserve_spend(control))
		;
	free(control);
}
