/*
 * dev - the phases from an empty directory to a migrated database.
 */
#include "supervisor/dev.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "supervisor/dev_cluster.h"
#include "supervisor/reap.h"
#include "supervisor/supervisor.h"

#define POLL_US (20 * CLOCK_MS_US)
#define RETRY_US (200 * CLOCK_MS_US)
#define MIGRATE_MAX_US (60 * CLOCK_SECOND_US)
#define FAST_STOP_US (5 * CLOCK_SECOND_US)
#define OLD_POSTMASTER_US (20 * CLOCK_SECOND_US)
#define START_TRIES 8
#define EXIT_UNREACHABLE 6 /* of rappelctl */

enum dev_phase {
	DEV_OLD,       /* an earlier life's postmaster is still there */
	DEV_CLEAN,     /* a half-made cluster is being removed */
	DEV_INIT,      /* initdb */
	DEV_CREATE,    /* the database in it */
	DEV_MIGRATE,   /* postgres runs or starts; then rappelctl db migrate */
	DEV_READY,
};

struct dev {
	struct supervisor *s;
	bool own_cluster;
	struct dev_cluster cluster;
	enum dev_phase phase;
	uint64_t phase_since_us;
	uint64_t retry_us;       /* no migration before */
	uint64_t accepting_us;   /* since when postgres takes connections */
	uint64_t stop_us;        /* when it was asked to stop; 0: not yet */
	unsigned stop_signals;   /* how many it got */
	unsigned failed_starts;
};

static const char *
dev_phase_name(enum dev_phase phase)
{
	switch (phase) {
	case DEV_OLD:
		return "old";
	case DEV_CLEAN:
		return "clean";
	case DEV_INIT:
		return "init";
	case DEV_CREATE:
		return "create";
	case DEV_MIGRATE:
		return "migrate";
	case DEV_READY:
		return "ready";
	}
	return "?";
}

static void
dev_set_phase(struct dev *d, enum dev_phase to)
{
	log_debug("dev %s -> %s", dev_phase_name(d->phase),
	          dev_phase_name(to));
	d->phase = to;
	d->phase_since_us = clock_mono_us();
	supervisor_changed(d->s);
}

static void
dev_fail(struct dev *d, int code, const char *what)
{
	log_error("dev: %s failed, stopping%s%s", what,
	          d->own_cluster ? " see=" : "",
	          d->own_cluster ? d->cluster.log : "");
	supervisor_abort(d->s, code);
}

int
dev_open(struct supervisor *s, const char *database, struct dev **out,
         struct error *err)
{
	struct dev *d = mem_zalloc(sizeof(*d));
	int rc;

	d->s = s;
	d->phase = DEV_MIGRATE;
	rc = dev_cluster_open(&d->cluster, s->dir, err);
	if (database == NULL ||
	    (rc == 0 && strcmp(database, d->cluster.conninfo) == 0))
		d->own_cluster = true;
	if (!d->own_cluster) {
		if (rc == 0)
			dev_cluster_close(&d->cluster);
		rc = 0;
	} else if (rc == 0) {
		d->phase = DEV_OLD;
		rc = dev_cluster_write_config(&d->cluster);
		if (rc < 0) {
			error_set(err, "%s/rappel.conf: %s", s->dir,
			          strerror(-rc));
			dev_cluster_close(&d->cluster);
			rc = EXIT_PERMISSION;
		}
	}
	if (rc != 0) {
		free(d);
		return rc;
	}
	d->phase_since_us = clock_mono_us();
	*out = d;
	return 0;
}

void
dev_close(struct dev **dev)
{
	if (*dev == NULL)
		return;
	if ((*dev)->own_cluster)
		dev_cluster_close(&(*dev)->cluster);
	free(*dev);
	*dev = NULL;
}

const char *
dev_database(const struct dev *dev)
{
	return dev->own_cluster ? dev->cluster.conninfo : NULL;
}

bool
dev_ready(const struct dev *dev)
{
	return dev->phase == DEV_READY;
}

static void
wake_at(uint64_t *wake_us, uint64_t at_us)
{
	if (at_us < *wake_us)
		*wake_us = at_us;
}

/* ---- its processes ---- */

/* Starts a program of the cluster's as child c. */
static int
dev_spawn(struct dev *d, struct child *c, struct strings *argv,
          const struct strings *env, bool as_user, int stdin_fd)
{
	int log_fd = d->own_cluster && as_user
	                 ? dev_cluster_open_log(&d->cluster)
	                 : -1;
	struct spawn spawn = {
		.path = argv->items[0],
		.argv = argv->items,
		.envp = env->items,
		.stdin_fd = stdin_fd,
		.socket_fd = -1,
		.board_fd = -1,
		.log_fd = log_fd,
		/* PostgreSQL stops at once and recovers at the next start. */
		.death_signal = c->kind == CHILD_POSTGRES ? SIGQUIT : SIGKILL,
	};
	uint64_t now = clock_mono_us();
	pid_t pid;

	if (as_user) {
		spawn.cwd = d->s->dir;
		if (d->cluster.account.name != NULL)
			spawn.account = &d->cluster.account;
	}
	c->spawn++;
	pid = spawn_exec(&spawn);
	if (log_fd >= 0)
		close(log_fd);
	strings_fini(argv);
	if (pid < 0) {
		log_warning("dev: cannot start a process: %s",
		            strerror((int)-pid));
		backoff_failure(&c->backoff, now);
		return (int)pid;
	}
	child_begin(c, pid, NULL, now);
	return 0;
}

static void
dev_env(struct strings *env)
{
	strings_add_env(env, "PATH");
	strings_add_env(env, "TZ");
	strings_add(env, "LANG=C.UTF-8");
}

static void
dev_helper(struct dev *d, struct strings *argv, bool as_user, int stdin_fd)
{
	struct strings env = { NULL, 0 };

	dev_env(&env);
	(void)dev_spawn(d, &d->s->helper, argv, &env, as_user, stdin_fd);
	strings_fini(&env);
}

static void
dev_spawn_clean(struct dev *d)
{
	struct strings argv = { NULL, 0 };

	strings_add(&argv, "/bin/rm");
	strings_add(&argv, "-rf");
	strings_add(&argv, "--");
	strings_add(&argv, "%s", d->cluster.fresh);
	/* As ourselves: the folder that it lies in is ours. */
	dev_helper(d, &argv, false, -1);
}

static void
dev_spawn_init(struct dev *d)
{
	struct strings argv = { NULL, 0 };

	if (dev_cluster_make_fresh(&d->cluster) < 0) {
		dev_fail(d, EXIT_PERMISSION, "making the cluster's folder");
		return;
	}
	log_info("dev: making a private PostgreSQL cluster dir=%s",
	         d->cluster.data);
	strings_add(&argv, "%s/initdb", d->cluster.bin);
	strings_add(&argv, "-D");
	strings_add(&argv, "%s", d->cluster.fresh);
	strings_add(&argv, "-Atrust");
	strings_add(&argv, "-Urappel");
	strings_add(&argv, "-EUTF8");
	strings_add(&argv, "--locale=C.UTF-8");
	dev_helper(d, &argv, true, -1);
}

static void
dev_spawn_create(struct dev *d)
{
	static const char sql[] = "CREATE DATABASE rappel;\n";
	struct strings argv = { NULL, 0 };
	int fd = memfd_create("rappel-sql", MFD_CLOEXEC);

	if (fd < 0 || write(fd, sql, sizeof(sql) - 1) != sizeof(sql) - 1 ||
	    lseek(fd, 0, SEEK_SET) != 0) {
		backoff_failure(&d->s->helper.backoff, clock_mono_us());
		if (fd >= 0)
			close(fd);
		return;
	}
	strings_add(&argv, "%s/postgres", d->cluster.bin);
	strings_add(&argv, "--single");
	strings_add(&argv, "-D");
	strings_add(&argv, "%s", d->cluster.fresh);
	strings_add(&argv, "template1");
	dev_helper(d, &argv, true, fd);
	close(fd);
}

static void
dev_spawn_postgres(struct dev *d)
{
	static const char *const settings[] = {
		("port=" DEV_PORT),    "listen_addresses=",
		"max_connections=50",  "shared_buffers=256MB",
		"max_wal_size=4GB",    "logging_collector=off",
		"unix_socket_permissions=0700", "cluster_name=rappel-dev",
		/* After a crash one syncfs, not an fsync of each file: 0.1 s
		 * and not 2.4 s before it takes connections again. */
		"recovery_init_sync_method=syncfs",
	};
	struct strings argv = { NULL, 0 };
	struct strings env = { NULL, 0 };

	strings_add(&argv, "%s/postgres", d->cluster.bin);
	strings_add(&argv, "-D");
	strings_add(&argv, "%s", d->cluster.data);
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
		strings_add(&argv, "-c");
		strings_add(&argv, "%s", settings[i]);
	}
	strings_add(&argv, "-c");
	strings_add(&argv, "unix_socket_directories=\"%s\"",
	            d->cluster.sockets);
	dev_env(&env);
	d->accepting_us = 0;
	(void)dev_spawn(d, &d->s->postgres, &argv, &env, true, -1);
	strings_fini(&env);
}

static void
dev_spawn_migrate(struct dev *d)
{
	struct strings argv = { NULL, 0 };

	strings_add(&argv, "%s", d->s->programs.ctl);
	strings_add(&argv, "--dir");
	strings_add(&argv, "%s", d->s->dir);
	strings_add(&argv, "db");
	strings_add(&argv, "migrate");
	strings_add(&argv, "--quiet");
	(void)dev_spawn(d, &d->s->helper, &argv, &d->s->flusher_env, false,
	                -1);
}

/* ---- moving along ---- */

/* Something of an earlier life may hold the data directory. */
static void
dev_step_old(struct dev *d, uint64_t now_us, uint64_t *wake_us)
{
	pid_t pid = dev_cluster_postmaster(&d->cluster);

	if (pid == 0) {
		d->stop_signals = 0;
		if (dev_cluster_exists(&d->cluster))
			dev_set_phase(d, DEV_MIGRATE);
		else if (dev_cluster_half_made(&d->cluster))
			dev_set_phase(d, DEV_CLEAN);
		else
			dev_set_phase(d, DEV_INIT);
		return;
	}
	if (now_us - d->phase_since_us > OLD_POSTMASTER_US) {
		dev_fail(d, EXIT_TRY_LATER,
		         "stopping the PostgreSQL of an earlier run");
		return;
	}
	if (d->stop_signals == 0) {
		log_info("dev: stopping the PostgreSQL of an earlier run "
		         "pid=%d",
		         (int)pid);
		kill(pid, SIGINT);
		d->stop_signals = 1;
	} else if (d->stop_signals == 1 &&
	           now_us - d->phase_since_us > FAST_STOP_US) {
		kill(pid, SIGQUIT);
		d->stop_signals = 2;
	}
	wake_at(wake_us, now_us + POLL_US);
}

static void
dev_step_migrate(struct dev *d, uint64_t now_us, uint64_t *wake_us)
{
	struct child *postgres = &d->s->postgres;

	if (d->own_cluster && d->accepting_us == 0) {
		if (!child_alive(postgres))
			return;
		if (!dev_cluster_accepts(&d->cluster, postgres->pid)) {
			wake_at(wake_us, now_us + POLL_US);
			return;
		}
	}
	if (d->accepting_us == 0)
		d->accepting_us = now_us;
	if (child_alive(&d->s->helper))
		return;
	if (now_us < d->retry_us) {
		wake_at(wake_us, d->retry_us);
		return;
	}
	dev_spawn_migrate(d);
}

void
dev_step(struct dev *d, uint64_t now_us, uint64_t *wake_us)
{
	struct child *postgres = &d->s->postgres;
	struct child *helper = &d->s->helper;

	if (d->phase == DEV_OLD)
		dev_step_old(d, now_us, wake_us);
	if (d->own_cluster && d->phase >= DEV_MIGRATE &&
	    !child_alive(postgres)) {
		if (postgres->backoff.not_before_us <= now_us)
			dev_spawn_postgres(d);
		if (!child_alive(postgres))
			wake_at(wake_us, postgres->backoff.not_before_us);
	}
	if (d->phase == DEV_READY && postgres->phase == CHILD_STARTING) {
		if (dev_cluster_accepts(&d->cluster, postgres->pid)) {
			postgres->worked = true;
			child_set_phase(postgres, CHILD_READY, now_us);
		} else {
			wake_at(wake_us, now_us + POLL_US);
		}
	}
	if (!child_alive(helper) && helper->backoff.not_before_us > now_us) {
		wake_at(wake_us, helper->backoff.not_before_us);
		return;
	}
	switch (d->phase) {
	case DEV_CLEAN:
		if (!child_alive(helper))
			dev_spawn_clean(d);
		break;
	case DEV_INIT:
		if (!child_alive(helper))
			dev_spawn_init(d);
		break;
	case DEV_CREATE:
		if (!child_alive(helper))
			dev_spawn_create(d);
		break;
	case DEV_MIGRATE:
		dev_step_migrate(d, now_us, wake_us);
		break;
	case DEV_OLD:
	case DEV_READY:
		break;
	}
}

void
dev_helper_ended(struct dev *d, int status, uint64_t now_us)
{
	int code = reap_code(status);

	if (d->s->stop.exit)
		return;
	switch (d->phase) {
	case DEV_CLEAN:
		if (code != 0)
			dev_fail(d, 1, "removing a half-made cluster");
		else
			dev_set_phase(d, DEV_INIT);
		break;
	case DEV_INIT:
		if (code != 0)
			dev_fail(d, 1, "initdb");
		else
			dev_set_phase(d, DEV_CREATE);
		break;
	case DEV_CREATE:
		if (code != 0 || dev_cluster_adopt(&d->cluster) < 0)
			dev_fail(d, 1, "creating the database");
		else
			dev_set_phase(d, DEV_MIGRATE);
		break;
	case DEV_MIGRATE:
		if (code == 0) {
			if (d->own_cluster &&
			    d->s->postgres.phase == CHILD_STARTING)
				child_set_phase(&d->s->postgres, CHILD_READY,
				                now_us);
			d->s->postgres.worked = true;
			dev_set_phase(d, DEV_READY);
		} else if (code == EXIT_UNREACHABLE &&
		           now_us - d->phase_since_us < MIGRATE_MAX_US) {
			d->retry_us = now_us + RETRY_US;
		} else {
			dev_fail(d, EXIT_CONFIG, "rappelctl db migrate");
		}
		break;
	case DEV_OLD:
	case DEV_READY:
		break;
	}
	/* Its end was expected; what follows is due now. */
	d->s->helper.wanted_dead = true;
}

void
dev_postgres_ended(struct dev *d, int status, uint64_t now_us)
{
	char text[64];

	(void)now_us;
	if (d->s->stop.exit)
		return;
	reap_text(status, text, sizeof(text));
	log_warning("dev: postgres ended how=\"%s\" see=%s", text,
	            d->cluster.log);
	d->accepting_us = 0;
	if (d->s->postgres.worked)
		d->failed_starts = 0;
	else if (++d->failed_starts >= START_TRIES)
		dev_fail(d, 1, "starting PostgreSQL");
}

/* ---- the end ---- */

bool
dev_stop_step(struct dev *d, bool immediate, uint64_t now_us,
              uint64_t *wake_us)
{
	struct child *postgres = &d->s->postgres;
	struct child *helper = &d->s->helper;

	if (child_alive(helper))
		child_kill(helper, true, "the pool stops");
	if (!child_alive(postgres))
		return !child_alive(helper);
	if (d->stop_us == 0) {
		d->stop_us = now_us;
		d->stop_signals = 0;
		if (postgres->phase == CHILD_READY)
			child_set_phase(postgres, CHILD_DRAINING, now_us);
	}
	if (d->stop_signals == 0) {
		kill(postgres->pid, immediate ? SIGQUIT : SIGINT);
		d->stop_signals = immediate ? 2 : 1;
	}
	if (d->stop_signals == 1 && now_us >= d->stop_us + FAST_STOP_US) {
		log_warning("dev: postgres does not stop, no longer waiting "
		            "for a checkpoint");
		kill(postgres->pid, SIGQUIT);
		d->stop_signals = 2;
	}
	if (now_us >= d->stop_us + 2 * FAST_STOP_US)
		child_kill(postgres, true, "did not stop");
	else
		wake_at(wake_us,
		        d->stop_us + d->stop_signals * FAST_STOP_US);
	return false;
}
