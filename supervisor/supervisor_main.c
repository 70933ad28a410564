/*
 * supervisor_main - rappeld: open, start, loop, stop.
 *
 * The supervisor's process and its only event loop. In the foreground, log
 * on stderr. What the pool is made of is in supervisor.h.
 */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/link.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/sandbox.h"
#include "supervisor/control.h"
#include "supervisor/dev.h"
#include "supervisor/orphans.h"
#include "supervisor/reap.h"
#include "supervisor/route.h"
#include "supervisor/settings.h"
#include "supervisor/supervisor.h"
#include "supervisor/workers.h"

/* Without an answer to so many ticks it hangs. Longer while it has no
 * database: resolving a host name blocks it. */
#define SILENT_TICKS_MAX 5U
#define SILENT_TICKS_AWAY_MAX 30U
/* Beside the workers: control clients, lock, log, loop, and a reserve. */
#define SIGNAL_EVENTS 5U
#define DESCRIPTORS_OWN (CONTROL_CLIENTS_MAX + 48U)
/* A slot's: socket, output, scoreboard. */
#define DESCRIPTORS_A_SLOT 3U
/* What is kept for a reader of our log that stopped, and tried again. */
#define LOG_KEEP_BYTES ((size_t)256 << 10)
#define LOG_AGAIN_US 20000

static const char usage[] =
    "usage: rappeld [option...]\n"
    "Runs durable workflows that are kept in PostgreSQL.\n"
    "\n"
    "  -c, --config FILE        configuration (default $RAPPEL_CONFIG)\n"
    "      --dev                with a private PostgreSQL when none is "
    "configured\n"
    "      --dir DIR            the pool's directory\n"
    "      --database CONNINFO  libpq connection string, without a password\n"
    "      --workers N          worker processes\n"
    "      --shutdown-grace T   what running actions get at a stop (30s)\n"
    "      --log-level LEVEL    error, warning, info or debug\n"
    "  -t, --test               check the configuration, print it, exit\n"
    "  -V, --version            print the version, exit\n"
    "      --help               print this, exit\n"
    "\n"
    "Signals: TERM drains; a second TERM, or INT, ends the grace; QUIT kills "
    "all;\n"
    "HUP reads the configuration again.\n"
    "Exit status: 0 stopped cleanly, 1 failed, 64 usage, 75 in use, 77 "
    "permission,\n"
    "78 configuration or schema.\n";

enum {
	OPTION_DEV = 256,
	OPTION_DIR,
	OPTION_DATABASE,
	OPTION_WORKERS,
	OPTION_GRACE,
	OPTION_LOG_LEVEL,
	OPTION_HELP,
};

static const struct option options[] = {
	{ "config", required_argument, NULL, 'c' },
	{ "dev", no_argument, NULL, OPTION_DEV },
	{ "dir", required_argument, NULL, OPTION_DIR },
	{ "database", required_argument, NULL, OPTION_DATABASE },
	{ "workers", required_argument, NULL, OPTION_WORKERS },
	{ "shutdown-grace", required_argument, NULL, OPTION_GRACE },
	{ "log-level", required_argument, NULL, OPTION_LOG_LEVEL },
	{ "test", no_argument, NULL, 't' },
	{ "version", no_argument, NULL, 'V' },
	{ "help", no_argument, NULL, OPTION_HELP },
	{ NULL, 0, NULL, 0 },
};

/* ---- events ---- */

static void
reload(struct supervisor *s)
{
	struct settings_changes changes;
	struct error err = { 0 };

	/* It says in the log how it went. */
	if (settings_reload(s, &changes, &err) == 0)
		settings_changes_fini(&changes);
}

static void
signal_cb(evutil_socket_t sig, short what, void *arg)
{
	struct supervisor *s = arg;

	(void)what;
	CHECK_OBJ(s, SUPERVISOR_MAGIC);
	switch ((int)sig) {
	case SIGCHLD:
		reconcile_reap(s);
		break;
	case SIGTERM:
		log_info("signal TERM");
		if (s->stop.wanted && s->stop.exit)
			supervisor_force(s);
		else
			supervisor_stop(s, s->config.shutdown_grace_us, true);
		break;
	case SIGINT:
		log_info("signal INT");
		supervisor_force(s);
		break;
	case SIGQUIT:
		log_warning("signal QUIT, killing everything");
		supervisor_abort(s, 1);
		break;
	case SIGHUP:
		log_info("signal HUP");
		reload(s);
		break;
	default:
		break;
	}
}

static void
wake_cb(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	supervisor_changed(arg);
}

static void
pressure_cb(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	route_pressure(arg);
}

static void
log_later_cb(evutil_socket_t fd, short what, void *arg)
{
	const struct timeval soon = { 0, LOG_AGAIN_US };
	struct supervisor *s = arg;

	(void)fd;
	(void)what;
	if (log_flush())
		event_add(s->log_later, &soon);
}

static void
feed_cb(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;

	(void)fd;
	(void)what;
	/* That this runs shows that the loop turns. A database that is away
	 * is no reason to be restarted; a flusher that says nothing is. */
	if (s->silent_ticks < SILENT_TICKS_AWAY_MAX)
		notify_send(&s->notify, "WATCHDOG=1");
}

static void
tick_cb(evutil_socket_t fd, short what, void *arg)
{
	struct supervisor *s = arg;
	uint32_t silent_max = s->health == HEALTH_WORKING ||
	                              s->health == HEALTH_DRAINING
	                          ? SILENT_TICKS_MAX
	                          : SILENT_TICKS_AWAY_MAX;
	uint64_t now = clock_mono_us();
	uint64_t left;

	(void)fd;
	(void)what;
	/* Should a SIGCHLD have been lost on its way to the loop. */
	reconcile_reap(s);
	/* Counted in our own turns, not by the clock: after we were stopped
	 * ourselves its words are there to be read first. */
	route_tick(s);
	if (s->flusher.phase == CHILD_READY && ++s->silent_ticks > silent_max)
		child_kill(&s->flusher, false, "said nothing for %u s",
		           silent_max);
	workers_tick(s);
	route_frames_late(s, now);
	if (s->stop.exit) {
		left = s->stop.deadline_us > now ? s->stop.deadline_us - now
		                                 : 0;
		notify_send(&s->notify, "EXTEND_TIMEOUT_USEC=%llu",
		            (unsigned long long)(left + 15 * CLOCK_SECOND_US));
	}
}

/* ---- opening ---- */

/* Exits itself for what is answered at once. */
static void
parse_options(int argc, char **argv, struct config_flags *flags, bool *dev,
              bool *test)
{
	int c;

	while ((c = getopt_long(argc, argv, "c:tV", options, NULL)) != -1) {
		switch (c) {
		case 'c':
			flags->file = optarg;
			break;
		case OPTION_DEV:
			*dev = true;
			break;
		case OPTION_DIR:
			flags->dir = optarg;
			break;
		case OPTION_DATABASE:
			flags->database = optarg;
			break;
		case OPTION_WORKERS:
			flags->workers = optarg;
			break;
		case OPTION_GRACE:
			flags->shutdown_grace = optarg;
			break;
		case OPTION_LOG_LEVEL:
			flags->log_level = optarg;
			break;
		case 't':
			*test = true;
			break;
		case 'V':
			puts("rappeld " RAPPEL_VERSION);
			exit(0);
		case OPTION_HELP:
			fputs(usage, stdout);
			exit(0);
		default:
			fputs("try \"rappeld --help\"\n", stderr);
			exit(EXIT_USAGE);
		}
	}
	if (optind < argc) {
		fprintf(stderr,
		        "rappeld: unexpected argument \"%s\"\n"
		        "try \"rappeld --help\"\n",
		        argv[optind]);
		exit(EXIT_USAGE);
	}
}

/* 0 to 2 must be open, or a socket of ours would be taken for stderr. */
static void
open_standard_descriptors(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	} while (fd >= 0 && fd <= 2 && fcntl(fd, F_SETFD, 0) == 0);
	if (fd > 2)
		close(fd);
}

static int
check_descriptor_limit(const struct supervisor *s, struct error *err)
{
	const struct config *c = &s->config;
	uint32_t slots = workers_slots(c);
	rlim_t need = slots * DESCRIPTORS_A_SLOT + DESCRIPTORS_OWN;
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= need)
		return 0;
	if (limit.rlim_max >= need) {
		limit.rlim_cur = need;
		if (setrlimit(RLIMIT_NOFILE, &limit) == 0)
			return 0;
	}
	error_set(err,
	          "%u workers need %llu file descriptors and the limit is "
	          "%llu; raise it (LimitNOFILE=, ulimit -n) or lower "
	          "workers_max and processes_max",
	          slots - c->group_count, (unsigned long long)need,
	          (unsigned long long)limit.rlim_max);
	return EXIT_CONFIG;
}

/* The flusher would say the same, after workers were started. */
static int
check_database(const struct supervisor *s, struct error *err)
{
	const char *database = s->config.database;

	if (s->dev_wanted || (database != NULL && *database != '\0'))
		return 0;
	error_set(err, "no database is configured: set RAPPEL_DATABASE_URL, or "
	               "\"url = CONNINFO\" in section [database] of "
	               "rappel.conf, or use --database; for a private one: "
	               "rappeld --dev");
	return EXIT_CONFIG;
}

/*
 * Workers run what users wrote: not as root, unless somebody says so, and
 * without what reaches into other processes. Returns the exit status.
 */
static int
open_confinement(struct supervisor *s, struct error *err)
{
	const char *name = s->config.worker_user;
	bool root = geteuid() == 0;
	int rc;

	rc = settings_worker_user(&s->config, &s->worker_account, err);
	if (rc != 0)
		return rc;
	if (name == NULL && root && !s->dev_wanted && account_can_change()) {
		/* With --dev everything is its user's own. */
		rc = account_open(&s->worker_account, "nobody");
		if (rc == -ENOENT)
			log_debug("there is no user nobody");
		else if (rc < 0) {
			error_set(err,
			          "workers are to run as nobody, who cannot be "
			          "looked up: %s",
			          strerror(-rc));
			return EXIT_FAILURE;
		}
	}
	s->group_count = s->config.group_count;
	s->groups = mem_calloc(s->group_count, sizeof(*s->groups));
	for (uint32_t i = 0; i < s->group_count; i++) {
		s->groups[i].config = &s->config.groups[i];
		rc = group_open_account(&s->groups[i], err);
		if (rc != 0)
			return rc;
	}
	if (root && s->worker_account.name == NULL && name == NULL)
		log_warning("workers run as root: whoever writes a workflow "
		            "can do everything on this host; set worker_user");
	rc = sandbox_compile(s->config.sandbox, &s->worker_filter);
	if (rc < 0)
		log_warning("workers are not confined (sandbox): %s",
		            strerror(-rc));
	return 0;
}

/* What keeps a second daemon out comes before anything that could disturb
 * the first. Returns the exit status. */
static int
open_pool(struct supervisor *s, struct error *err)
{
	/* Others must get through to what they may use in it. */
	bool pass_through = (s->dev_wanted && geteuid() == 0) ||
	                    s->config.control_group_ro != NULL ||
	                    s->config.control_group_op != NULL ||
	                    s->config.control_group_adm != NULL;
	int rc;

	if (programs_find(&s->programs, s->dev_wanted, err) < 0)
		return EXIT_CONFIG;
	rc = check_database(s, err);
	if (rc == 0)
		rc = open_confinement(s, err);
	if (rc == 0)
		rc = check_descriptor_limit(s, err);
	if (rc == 0)
		rc = lock_take(&s->lock, s->config.dir, pass_through, err);
	if (rc != 0)
		return rc;
	s->dir = realpath(s->config.dir, NULL);
	if (s->dir == NULL) {
		error_set(err, "%s: %s", s->config.dir, strerror(errno));
		return EXIT_CONFIG;
	}
	orphans_begin(s);
	spool_init(&s->spool, s->lock.dir_fd);
	spool_read(&s->spool, &s->keep);
	rc = control_start(s, &s->control, err);
	if (rc == 0 && s->dev_wanted)
		rc = dev_open(s, s->config.database, &s->dev, err);
	return rc;
}

static void
open_children(struct supervisor *s)
{
	settings_environments(s);
	workers_open(s);
	child_init(&s->flusher, s, CHILD_FLUSHER, 0);
	child_init(&s->postgres, s, CHILD_POSTGRES, 0);
	child_init(&s->helper, s, CHILD_HELPER, 0);
}

static void
add_repeating(struct event *ev, uint64_t us)
{
	struct timeval tv = { .tv_sec = (time_t)(us / CLOCK_SECOND_US),
		              .tv_usec =
		                  (suseconds_t)(us % CLOCK_SECOND_US) };

	event_add(ev, &tv);
}

static const int handled[SIGNAL_EVENTS] = { SIGCHLD, SIGTERM, SIGINT, SIGQUIT,
	                                    SIGHUP };

/* From before anything is made that a stop must remove, until there is
 * somebody to hear of it. */
static void
hold_signals(int how)
{
	sigset_t set;

	sigemptyset(&set);
	for (size_t i = 0; i < SIGNAL_EVENTS; i++)
		sigaddset(&set, handled[i]);
	sigprocmask(how, &set, NULL);
}

static void
open_events(struct supervisor *s, struct event **signals)
{
	static const int ignored[] = { SIGPIPE, SIGALRM, SIGUSR1, SIGUSR2,
		                       SIGTTIN, SIGTTOU };

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	for (size_t i = 0; i < SIGNAL_EVENTS; i++) {
		signals[i] = evsignal_new(s->base, handled[i], signal_cb, s);
		event_add(signals[i], NULL);
	}
	s->wake = evtimer_new(s->base, wake_cb, s);
	s->log_later = evtimer_new(s->base, log_later_cb, s);
	s->pressure = evtimer_new(s->base, pressure_cb, s);
	s->tick = event_new(s->base, -1, EV_PERSIST, tick_cb, s);
	s->feed = event_new(s->base, -1, EV_PERSIST, feed_cb, s);
	add_repeating(s->tick, CLOCK_SECOND_US);
	if (s->notify.watchdog_us > 0)
		add_repeating(s->feed, s->notify.watchdog_us);
}

/* ---- closing ---- */

static void
close_events(struct supervisor *s, struct event **signals)
{
	struct event *all[] = { s->wake, s->pressure, s->tick, s->feed,
		                s->log_later };

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (all[i] != NULL)
			event_free(all[i]);
	}
	for (size_t i = 0; i < SIGNAL_EVENTS; i++) {
		if (signals[i] != NULL)
			event_free(signals[i]);
	}
}

static void
close_pool(struct supervisor *s)
{
	control_stop(&s->control);
	if (s->workers != NULL) {
		orphans_finish(s);
		child_fini(&s->flusher);
		child_fini(&s->postgres);
		child_fini(&s->helper);
	}
	workers_close(s);
	dev_close(&s->dev);
	strings_fini(&s->worker_env);
	account_fini(&s->worker_account);
	sandbox_free(&s->worker_filter);
	strings_fini(&s->flusher_env);
	buf_fini(&s->status);
	spool_fini(&s->spool);
	keep_fini(&s->keep);
	lock_release(&s->lock);
	notify_fini(&s->notify);
	programs_fini(&s->programs);
	free(s->dir);
	config_fini(&s->config);
}

int
main(int argc, char **argv)
{
	static struct supervisor supervisor;
	struct supervisor *s = &supervisor;
	struct event *signals[SIGNAL_EVENTS] = { NULL };
	struct error err = { 0 };
	bool test = false;
	int code;

	open_standard_descriptors();
	signal(SIGPIPE, SIG_IGN); /* the log may be gone already */
	/* The environment may hold a password, and workers may be of the same
	 * user. */
	sandbox_no_dumps();
	s->magic = SUPERVISOR_MAGIC;
	s->lock.dir_fd = s->lock.lock_fd = -1;
	spool_init(&s->spool, -1);
	log_init("supervisor", LOG_LEVEL_INFO);
	parse_options(argc, argv, &s->flags, &s->dev_wanted, &test);
	s->config_file = s->flags.file;
	if (settings_load(s, &err) < 0) {
		log_error("%s", err.message);
		return EXIT_CONFIG;
	}
	if (test) {
		code = settings_users(&s->config, &err);
		if (code == 0)
			config_print(&s->config, stdout);
		else
			log_error("%s", err.message);
		config_fini(&s->config);
		return code;
	}
	log_init("supervisor", s->config.log_level);
	log_keep(LOG_KEEP_BYTES);
	orphans_adopt();
	notify_init(&s->notify);
	s->base = loop_create();
	if (s->base == NULL) {
		log_error("no event loop: %s", strerror(errno));
		return 1;
	}
	hold_signals(SIG_BLOCK);
	code = open_pool(s, &err);
	if (code != 0) {
		log_error("%s", err.message);
		s->exit_code = code;
		goto out;
	}
	s->phase_wall_us = clock_wall_us();
	open_children(s);
	open_events(s, signals);
	hold_signals(SIG_UNBLOCK);
	log_info("rappeld " RAPPEL_VERSION " starting pid=%d dir=%s workers=%u "
	         "groups=%u",
	         (int)getpid(), s->dir, workers_wanted(s), s->group_count);
	reconcile(s);
	while (!s->done) {
		if (event_base_loop(s->base, EVLOOP_ONCE) < 0) {
			log_error("event loop failed: %s", strerror(errno));
			s->exit_code = EXIT_BUG;
			break;
		}
		if (s->changed)
			reconcile(s);
		if (log_flush() && !event_pending(s->log_later, EV_TIMEOUT,
		                                  NULL))
			log_later_cb(-1, 0, s);
	}
	if (!spool_write(&s->spool, &s->keep) && s->exit_code == 0)
		s->exit_code = 1;
	log_info("rappeld stopped code=%d", s->exit_code);
out:
	code = s->exit_code;
	close_events(s, signals);
	close_pool(s);
	event_base_free(s->base);
	return code;
}
