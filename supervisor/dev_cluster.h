/*
 * dev_cluster - files and programs of a private PostgreSQL cluster.
 *
 * Small synchronous file operations on the pool's own directory; no
 * processes, no loop.
 */
#ifndef SUPERVISOR_DEV_CLUSTER_H
#define SUPERVISOR_DEV_CLUSTER_H

#include <stdbool.h>
#include <sys/types.h>

#include "common/assert.h"
#include "common/error.h"
#include "supervisor/account.h"

#define DEV_PORT "5432"

struct dev_cluster {
	char *dir;     /* the pool's */
	char *data;    /* DIR/pg */
	char *fresh;   /* DIR/pg.init: a cluster that is being made */
	char *sockets; /* DIR/pg-socket */
	char *log;     /* DIR/pg.log */
	char *conninfo;
	char *bin;        /* folder with postgres and initdb */
	struct account account; /* whom it runs as; no name: ourselves */
	uid_t uid;
	gid_t gid;
};

/* On failure fills err and returns the exit status. */
int dev_cluster_open(struct dev_cluster *c, const char *dir,
                     struct error *err) MUST_CHECK;
void dev_cluster_close(struct dev_cluster *c);

bool dev_cluster_exists(const struct dev_cluster *c);
bool dev_cluster_half_made(const struct dev_cluster *c);
/* The new cluster takes its place. 0 or -errno. */
int dev_cluster_adopt(const struct dev_cluster *c) MUST_CHECK;
/* An empty folder for initdb, owned by its user. 0 or -errno. */
int dev_cluster_make_fresh(const struct dev_cluster *c) MUST_CHECK;
/* A postmaster that runs on the data directory, or 0. */
pid_t dev_cluster_postmaster(const struct dev_cluster *c);
/* True when that postmaster says that it takes connections. */
bool dev_cluster_accepts(const struct dev_cluster *c, pid_t pid);
/* For appending, or -errno. */
int dev_cluster_open_log(const struct dev_cluster *c) MUST_CHECK;
/* DIR/rappel.conf, unless somebody wrote one of their own. */
int dev_cluster_write_config(const struct dev_cluster *c) MUST_CHECK;

#endif
