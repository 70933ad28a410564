/*
 * status - see status.h. The names of the project's starting notes are kept
 * where the thing exists: process_completion_db is the writer's transaction,
 * start_unstarted a claim, fetch_and_dispatch a round of dispatching.
 */
#include "flusher/status.h"

#include "common/clock.h"
#include "common/value.h"
#include "flusher/claim.h"
#include "flusher/commit.h"
#include "flusher/dispatch.h"
#include "flusher/flusher.h"
#include "flusher/groups.h"
#include "flusher/keeper.h"
#include "flusher/lease.h"
#include "flusher/session.h"
#include "flusher/timers.h"

enum flusher_health
status_health(const struct flusher *f)
{
	if (f->phase == FLUSHER_STARTING)
		return keeper_away(f->keeper) ? HEALTH_DATABASE_AWAY :
		                                HEALTH_STARTING;
	if (f->phase != FLUSHER_WORKING)
		return HEALTH_DRAINING;
	if (!keeper_ready(f->keeper) || !keeper_holds(f->keeper) ||
	    !commit_ready(f->commit) || !claim_ready(f->claim))
		return f->worked_once ? HEALTH_DATABASE_AWAY : HEALTH_STARTING;
	return HEALTH_WORKING;
}

static uint64_t
average(uint64_t sum, uint64_t count)
{
	return count == 0 ? 0 : sum / count;
}

void
status_pack(const struct flusher *f, struct buf *out)
{
	static const char *const healths[] = { "starting", "working",
		                               "database-away", "draining" };
	const struct counters *n = &f->counters;
	char incarnation[UUID_TEXT_SIZE];
	const struct {
		const char *name;
		uint64_t value;
	} numbers[] = {
		{ "instances_active", leases_count(f->leases) },
		{ "actions_queued", dispatch_queued(f->dispatch) },
		{ "actions_running", dispatch_flights(f->dispatch) },
		{ "timers", timers_count(f->timers) },
		{ "workers_ready", dispatch_slots_ready(f->dispatch) },
		{ "instances_claimed", n->claimed },
		{ "instances_recovered", n->recovered },
		{ "instances_ended", n->ended },
		{ "instances_parked", n->parked },
		{ "completions", n->completions },
		{ "completions_late", n->completions_late },
		{ "actions_adopted", n->adopted },
		{ "actions_dispatched", n->dispatched },
		{ "actions_recalled", n->recalled },
		{ "actions_timed_out", n->timeouts },
		{ "actions_cancelled", n->cancelled },
		{ "heartbeats", n->heartbeats },
		{ "heartbeats_stray", n->heartbeats_stray },
		{ "workers_lost", n->workers_lost },
		{ "commits", n->commits },
		{ "commits_refused", n->commits_refused },
		{ "commits_unknown", n->commits_unknown },
		{ "journal_rows", n->rows },
		{ "journal_entries", n->entries },
		{ "takeovers", n->takeovers },
		{ "claims", n->claims },
		{ "process_completion_db_avg_us",
		  average(n->commit_us, n->commits) },
		{ "process_completion_inbox_avg_us",
		  average(n->apply_us, n->entries) },
		{ "start_unstarted_avg_us", average(n->claim_us, n->claims) },
		{ "fetch_and_dispatch_calls", n->dispatch_calls },
		{ "fetch_and_dispatch_avg_us",
		  average(n->dispatch_us, n->dispatch_calls) },
	};
	const uint32_t count = sizeof(numbers) / sizeof(numbers[0]);

	const char *trouble = sessions_trouble(f->sessions);

	if (trouble == NULL)
		trouble = commit_trouble(f->commit);
	if (trouble == NULL)
		trouble = claim_trouble(f->claim);
	uuid_text(&f->incarnation, incarnation);
	value_pack_map(out, count + 8);
	value_pack_text(out, "pool");
	value_pack_text(out, f->config.pool_name);
	value_pack_text(out, "incarnation");
	value_pack_text(out, incarnation);
	value_pack_text(out, "health");
	value_pack_text(out, healths[status_health(f)]);
	value_pack_text(out, "trouble");
	if (trouble != NULL)
		value_pack_text(out, trouble);
	else
		value_pack_null(out);
	value_pack_text(out, "idle");
	value_pack_bool(out, claim_idle(f->claim));
	value_pack_text(out, "actions");
	dispatch_pack_actions(f->dispatch, out);
	value_pack_text(out, "groups");
	groups_pack(f->groups, out);
	for (uint32_t i = 0; i < count; i++) {
		value_pack_text(out, numbers[i].name);
		value_pack_uint(out, numbers[i].value);
	}
	value_pack_text(out, "histograms");
	value_pack_map(out, 4);
	value_pack_text(out, "commit_us");
	histogram_pack(&n->commit_us_of, out);
	value_pack_text(out, "commit_entries");
	histogram_pack(&n->commit_entries_of, out);
	value_pack_text(out, "claim_us");
	histogram_pack(&n->claim_us_of, out);
	value_pack_text(out, "action_us");
	histogram_pack(&n->action_us_of, out);
}
