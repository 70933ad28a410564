/*
 * sql - every statement that the flusher sends, and what a session is set to.
 *
 * The three sessions of a pool: the *writer* commits batches, the *claimer*
 * claims and reads journals, the *keeper* holds the lease. Lock order, in
 * every transaction: the own row in worker_pools (the fence), then
 * workflow_instances, then the rest.
 */
#ifndef FLUSHER_SQL_H
#define FLUSHER_SQL_H

#include "flusher/db.h"

/* Prepared when a session begins; the others when it joins. */
extern const struct db_statement *const sql_session_statements[];
extern const struct db_statement *const sql_writer_statements[];
extern const struct db_statement *const sql_claimer_statements[];
extern const struct db_statement *const sql_keeper_statements[];

/* Every session */
extern const struct db_statement sql_session_set;
extern const struct db_statement sql_session_check;
extern const struct db_statement sql_fence;
extern const struct db_statement sql_backend_add;
/* Writer */
extern const struct db_statement sql_log_insert;
extern const struct db_statement sql_instances_end;
extern const struct db_statement sql_commands_delete;
extern const struct db_statement sql_pool_row_lock;
extern const struct db_statement sql_log_probe;
extern const struct db_statement sql_ends_probe;
/* Claimer */
extern const struct db_statement sql_peek;
extern const struct db_statement sql_claim_queued;
extern const struct db_statement sql_claim_due;
extern const struct db_statement sql_first_queued;
extern const struct db_statement sql_first_due;
extern const struct db_statement sql_claim_commanded;
extern const struct db_statement sql_blocked_cancel;
extern const struct db_statement sql_owned;
extern const struct db_statement sql_still_owned;
extern const struct db_statement sql_log_read;
extern const struct db_statement sql_commands_of;
extern const struct db_statement sql_version_read;
extern const struct db_statement sql_release;
extern const struct db_statement sql_reason_set;
extern const struct db_statement sql_commands_read;
extern const struct db_statement sql_commands_sweep;
/* Keeper */
extern const struct db_statement sql_pool_add;
extern const struct db_statement sql_heartbeat_add;
extern const struct db_statement sql_heartbeat;
extern const struct db_statement sql_pools_read;
extern const struct db_statement sql_lock_timeout_short;
extern const struct db_statement sql_pool_delete;
extern const struct db_statement sql_instances_requeue;
extern const struct db_statement sql_blame;
extern const struct db_statement sql_instances_inherit;
extern const struct db_statement sql_progress_write;
extern const struct db_statement sql_progress_delete;
extern const struct db_statement sql_progress_clear;
extern const struct db_statement sql_orphans_requeue;
extern const struct db_statement sql_backends_end;
extern const struct db_statement sql_backends_count;
extern const struct db_statement sql_partitions;
extern const struct db_statement sql_workflows_mark;
extern const struct db_statement sql_workflows_name;
extern const struct db_statement sql_listen_work;
extern const struct db_statement sql_listen_command;
extern const struct db_statement sql_wake;

/* SQLSTATEs of our own, as schema/ raises them. */
#define SQLSTATE_FENCED "RP001"

#endif
