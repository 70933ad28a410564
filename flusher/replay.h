/*
 * replay - an instance as its journal says it is.
 */
#ifndef FLUSHER_REPLAY_H
#define FLUSHER_REPLAY_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "common/error.h"

struct lease;

/*
 * Applies the rows of sql_log_read, in order, to the lease's fresh instance
 * and counts lease->seq up. False with err when a row's number does not
 * follow the one before it (a gap or an overlap), or an entry is none of ours
 * or does not fit: the instance is to be set aside as it is.
 */
bool replay_journal(struct lease *lease, const PGresult *rows,
                    struct error *err);

#endif
