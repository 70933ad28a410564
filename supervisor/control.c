/*
 * control - requests of rappelctl: one table of verbs, typed arguments.
 */
#include "supervisor/control.h"

#include <errno.h>
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
#include "supervisor/reap.h"
#include "supervisor/route.h"
#include "supervisor/supervisor.h"

#define CONTROL_MAGIC 0x4354524cU
/* A process in the reply takes at most this: it must fit into a frame. */
#define PROCESS_BYTES_MAX 384U
#define REPLY_BYTES_MAX (FRAME_CONTROL_BYTES_MAX - ROUTE_STATUS_MAX - 1024U)
#define GRACE_MAX_US (UINT64_C(86400) * CLOCK_SECOND_US)
/* rappelctl's exit statuses. */
#define CODE_USAGE 2
#define CODE_PERMISSION 5

struct client {
	uint32_t magic;
	struct control *control;
	struct link *link; /* NULL: the place is free */
	struct event *deadline;
};

struct control {
	struct supervisor *supervisor;
	int fd;
	struct event *accept_event;
	struct event *resume_event; /* after a lack of descriptors */
	char *path;
	struct client clients[CONTROL_CLIENTS_MAX];
};

static const struct timeval request_time = {
	.tv_sec = CONTROL_REQUEST_US / CLOCK_SECOND_US,
};

/* ---- replies ---- */

static void
reply(struct client *c, struct slice payload)
{
	frame_add(link_out(c->link), FRAME_REPLY, 0, 0, 0, payload);
	link_send(c->link);
}

static void
reply_error(struct client *c, uint64_t code, const char *text)
{
	struct buf b = BUF_EMPTY;

	value_pack_map(&b, 3);
	value_pack_text(&b, "ok");
	value_pack_bool(&b, false);
	value_pack_text(&b, "error");
	value_pack_text(&b, text);
	value_pack_text(&b, "code");
	value_pack_uint(&b, code);
	reply(c, buf_slice(&b));
	buf_fini(&b);
}

static void
pack_key_text(struct buf *b, const char *key, const char *text)
{
	value_pack_text(b, key);
	value_pack_text(b, text);
}

static void
pack_key_uint(struct buf *b, const char *key, uint64_t value)
{
	value_pack_text(b, key);
	value_pack_uint(b, value);
}

static void
pack_process(struct buf *b, const struct child *c)
{
	value_pack_map(b, 8);
	pack_key_text(b, "kind", child_kind_name(c->kind));
	pack_key_uint(b, "slot", c->slot);
	pack_key_uint(b, "spawn", c->spawn);
	pack_key_uint(b, "pid", (uint64_t)c->pid);
	pack_key_text(b, "phase", child_phase_name(c->phase));
	pack_key_uint(b, "since_us", (uint64_t)c->phase_wall_us);
	pack_key_uint(b, "restarts", c->restarts);
	pack_key_text(b, "last_exit", c->last_exit);
}

/* The processes, as far as they fit, and how many did not. */
static void
pack_processes(struct buf *b, const struct supervisor *s)
{
	uint32_t workers = s->config.workers;
	uint32_t fixed = 1;
	struct buf one = BUF_EMPTY;
	uint32_t shown = 0;

	pack_process(&one, &s->flusher);
	/* What --dev starts is shown once there has been one; a helper only
	 * while it works. */
	if (s->postgres.spawn > 0) {
		pack_process(&one, &s->postgres);
		fixed++;
	}
	if (child_alive(&s->helper)) {
		pack_process(&one, &s->helper);
		fixed++;
	}
	while (shown < workers && one.len < REPLY_BYTES_MAX - PROCESS_BYTES_MAX)
		pack_process(&one, &s->workers[shown++]);
	value_pack_text(b, "processes");
	value_pack_array(b, fixed + shown);
	buf_add(b, one.data, one.len);
	buf_fini(&one);
	pack_key_uint(b, "left_out", workers - shown);
}

static void
verb_status(struct client *c, struct slice request)
{
	const struct supervisor *s = c->control->supervisor;
	struct buf b = BUF_EMPTY;

	(void)request;
	value_pack_map(&b, 10);
	value_pack_text(&b, "ok");
	value_pack_bool(&b, true);
	pack_key_text(&b, "version", RAPPEL_VERSION);
	pack_key_uint(&b, "pid", (uint64_t)getpid());
	pack_key_text(&b, "phase", pool_phase_name(s->phase));
	pack_key_uint(&b, "since_us", (uint64_t)s->phase_wall_us);
	pack_key_text(&b, "dir", s->dir);
	value_pack_text(&b, "dev");
	value_pack_bool(&b, s->dev != NULL);
	pack_processes(&b, s);
	value_pack_text(&b, "flusher");
	if (s->status.len > 0)
		value_pack_raw(&b, buf_slice(&s->status));
	else
		value_pack_null(&b);
	reply(c, buf_slice(&b));
	buf_fini(&b);
}

static void
reply_phase(struct client *c)
{
	const struct supervisor *s = c->control->supervisor;
	struct buf b = BUF_EMPTY;

	value_pack_map(&b, 2);
	value_pack_text(&b, "ok");
	value_pack_bool(&b, true);
	pack_key_text(&b, "phase",
	              s->phase == POOL_DRAINED ? "drained" : "draining");
	reply(c, buf_slice(&b));
	buf_fini(&b);
}

/* The grace that the request asks for, or the configured one. */
static int
grace_of(struct client *c, struct slice request, uint64_t *out)
{
	struct slice value;
	struct item item;

	*out = c->control->supervisor->config.shutdown_grace_us;
	if (!value_get(request, SLICE_LITERAL("grace_us"), &value) ||
	    value_type(value) == VALUE_NULL)
		return 0;
	item = value_item(value);
	if (item.type != VALUE_INT || item.i < 0 ||
	    (uint64_t)item.i > GRACE_MAX_US) {
		reply_error(c, CODE_USAGE,
		            "grace_us must be an integer from 0 to one day");
		return -EINVAL;
	}
	*out = (uint64_t)item.i;
	return 0;
}

static void
verb_stop(struct client *c, struct slice request)
{
	struct supervisor *s = c->control->supervisor;
	struct slice value;
	struct item now = { .type = VALUE_BOOL, .b = false };
	uint64_t grace_us;

	if (value_get(request, SLICE_LITERAL("now"), &value))
		now = value_item(value);
	if (now.type != VALUE_BOOL) {
		reply_error(c, CODE_USAGE, "now must be true or false");
		return;
	}
	if (grace_of(c, request, &grace_us) < 0)
		return;
	log_info("stop asked on the control socket grace_ms=%llu now=%d",
	         (unsigned long long)(grace_us / CLOCK_MS_US), now.b);
	supervisor_stop(s, now.b ? 0 : grace_us, true);
	if (now.b)
		supervisor_force(s);
	reply_phase(c);
}

static void
verb_drain(struct client *c, struct slice request)
{
	uint64_t grace_us;

	if (grace_of(c, request, &grace_us) < 0)
		return;
	log_info("drain asked on the control socket grace_ms=%llu",
	         (unsigned long long)(grace_us / CLOCK_MS_US));
	supervisor_stop(c->control->supervisor, grace_us, false);
	reply_phase(c);
}

static void
verb_ping(struct client *c, struct slice request)
{
	struct buf b = BUF_EMPTY;

	(void)request;
	value_pack_map(&b, 1);
	value_pack_text(&b, "ok");
	value_pack_bool(&b, true);
	reply(c, buf_slice(&b));
	buf_fini(&b);
}

static const struct verb {
	const char *name;
	void (*run)(struct client *c, struct slice request);
} verbs[] = {
	{ "status", verb_status },
	{ "stop", verb_stop },
	{ "drain", verb_drain },
	{ "ping", verb_ping },
};

/* ---- clients ---- */

static void
client_close(struct client *c)
{
	link_destroy(&c->link);
	event_del(c->deadline);
}

static int
client_frame_cb(void *arg, const struct frame *f)
{
	struct client *c = arg;
	struct error err = { 0 };
	struct slice verb;

	CHECK_OBJ(c, CONTROL_MAGIC);
	/* It may ask again; whoever does not read replies gets no more. */
	if (link_unsent(c->link) > FRAME_CONTROL_BYTES_MAX)
		return -ENOBUFS;
	event_add(c->deadline, &request_time);
	if (value_check_frame(f->payload, VALUE_DEPTH_MAX, &err) < 0 ||
	    value_type(f->payload) != VALUE_MAP ||
	    !value_get(f->payload, SLICE_LITERAL("verb"), &verb)) {
		reply_error(c, CODE_USAGE,
		            "a request is a map with a \"verb\"");
		return 0;
	}
	for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++) {
		if (value_is_str(verb, verbs[i].name)) {
			verbs[i].run(c, f->payload);
			return 0;
		}
	}
	reply_error(c, CODE_USAGE,
	            "unknown verb; there are status, stop, drain and ping");
	return 0;
}

static void
client_gone_cb(void *arg, int reason, const struct error *err)
{
	struct client *c = arg;

	CHECK_OBJ(c, CONTROL_MAGIC);
	if (reason == -EPROTO)
		log_warning("control: a client broke the protocol: %s",
		            err != NULL ? err->message : "");
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

/* ---- the listening socket ---- */

static struct client *
client_free_place(struct control *control)
{
	for (uint32_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		if (control->clients[i].link == NULL)
			return &control->clients[i];
	}
	return NULL;
}

static void
client_accept(struct control *control, int fd)
{
	struct client *c = client_free_place(control);
	struct ucred peer;
	socklen_t len = sizeof(peer);

	if (c == NULL) {
		log_warning("control: %u clients already, one more refused",
		            CONTROL_CLIENTS_MAX);
		close(fd);
		return;
	}
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0) {
		close(fd);
		return;
	}
	c->link = link_create(control->supervisor->base, fd, PEER_CONTROL,
	                      FRAME_CONTROL_BYTES_MAX, &client_ops, c);
	event_add(c->deadline, &request_time);
	if (peer.uid == 0 || peer.uid == geteuid())
		return;
	log_warning("control: uid %u may not use it", (unsigned)peer.uid);
	reply_error(c, CODE_PERMISSION,
	            "only root and the daemon's own user may ask");
	link_flush(c->link);
	client_close(c);
}

static void
control_accept_cb(evutil_socket_t fd, short what, void *arg)
{
	struct control *control = arg;
	struct timeval later = { 0, 100000 };
	int client;

	(void)what;
	client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (client >= 0) {
		client_accept(control, client);
	} else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
	           errno == ENOBUFS) {
		/* It stays readable, so do not spin. */
		event_del(control->accept_event);
		event_add(control->resume_event, &later);
	}
}

static void
control_resume_cb(evutil_socket_t fd, short what, void *arg)
{
	struct control *control = arg;

	(void)fd;
	(void)what;
	event_add(control->accept_event, NULL);
}

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
control_listen(const char *path, struct error *err)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	mode_t mask;
	int fd, rc;

	if (strlen(path) >= sizeof(addr.sun_path)) {
		error_set(err,
		          "%.200s is longer than the %zu bytes that a socket's "
		          "path may have; choose a shorter directory",
		          path, sizeof(addr.sun_path) - 1);
		return -EXIT_CONFIG;
	}
	strcpy(addr.sun_path, path);
	rc = control_clear(&addr, err);
	if (rc < 0)
		return rc;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0) {
		error_set(err, "socket: %s", strerror(errno));
		return -1;
	}
	mask = umask(0177);
	rc = bind(fd, (struct sockaddr *)&addr, sizeof(addr));
	if (rc != 0)
		rc = errno;
	umask(mask);
	if (rc == 0 && listen(fd, 128) != 0)
		rc = errno;
	if (rc != 0) {
		error_set(err, "%s: %s", path, strerror(rc));
		close(fd);
		return rc == EACCES || rc == EROFS ? -EXIT_PERMISSION : -1;
	}
	return fd;
}

int
control_start(struct supervisor *s, struct control **out, struct error *err)
{
	struct control *control = mem_zalloc(sizeof(*control));
	struct buf path = BUF_EMPTY;

	buf_printf(&path, "%s/control.sock", s->dir);
	control->path = buf_text(&path);
	control->fd = control_listen(control->path, err);
	if (control->fd < 0) {
		int code = -control->fd;

		free(control->path);
		free(control);
		return code;
	}
	control->supervisor = s;
	for (uint32_t i = 0; i < CONTROL_CLIENTS_MAX; i++) {
		struct client *c = &control->clients[i];

		c->magic = CONTROL_MAGIC;
		c->control = control;
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
	unlink(control->path);
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
	free(control->path);
	free(control);
}
