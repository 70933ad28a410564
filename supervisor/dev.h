/*
 * dev - the private PostgreSQL of --dev, and the migration of its schema.
 *
 * Runs in the supervisor. Nothing here waits: making the cluster, starting it
 * and migrating are phases that dev_step() moves along as children end. With
 * a configured database there is no cluster and only the migration is done.
 */
#ifndef SUPERVISOR_DEV_H
#define SUPERVISOR_DEV_H

#include <stdbool.h>
#include <stdint.h>

#include "common/assert.h"
#include "common/error.h"

struct dev;
struct supervisor;

/*
 * Prepares the directories and writes DIR/rappel.conf. database is the
 * configured one, or NULL for a private cluster. On failure fills err and
 * returns the exit status.
 */
int dev_open(struct supervisor *s, const char *database, struct dev **out,
             struct error *err) MUST_CHECK;
void dev_close(struct dev **dev);

/* The conninfo of the private cluster, or NULL when there is none. */
const char *dev_database(const struct dev *dev);
/* True when the flusher has a database to start with. */
bool dev_ready(const struct dev *dev);

/* Starts what is due; lowers *wake_us to when it must be called again. */
void dev_step(struct dev *dev, uint64_t now_us, uint64_t *wake_us);
/* The same at the end: stops it all. True when nothing is left. */
bool dev_stop_step(struct dev *dev, bool immediate, uint64_t now_us,
                   uint64_t *wake_us);

/* A child of ours has ended with that wait status. */
void dev_helper_ended(struct dev *dev, int status, uint64_t now_us);
void dev_postgres_ended(struct dev *dev, int status, uint64_t now_us);

#endif
