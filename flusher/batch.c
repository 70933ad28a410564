/*
 * batch - see batch.h. Rows and their buffers are kept for the next use.
 */
#include "flusher/batch.h"

#include <stdlib.h>

#include "common/assert.h"
#include "common/mem.h"
#include "engine/journal.h"
#include "flusher/commit.h"
#include "flusher/dispatch.h"
#include "flusher/flusher.h"
#include "flusher/lease.h"
#include "flusher/mark.h"
#include "flusher/rebuild.h"
#include "flusher/timers.h"

struct batch_command {
	int64_t id;
	struct uuid instance;
};

struct batch {
	struct batch_row **rows; /* row_cap of them exist */
	uint32_t row_count;
	uint32_t row_cap;
	uint32_t entries;
	uint64_t bytes;
	struct lease **ends;
	uint32_t end_count;
	uint32_t end_cap;
	struct batch_command *commands;
	uint32_t command_count;
	uint32_t command_cap;
};

struct batch *
batch_create(void)
{
	return mem_zalloc(sizeof(struct batch));
}

void
batch_destroy(struct batch **bp)
{
	struct batch *b = *bp;

	if (b == NULL)
		return;
	for (uint32_t i = 0; i < b->row_cap; i++) {
		buf_fini(&b->rows[i]->json);
		effects_fini(&b->rows[i]->effects);
		free(b->rows[i]);
	}
	free(b->rows);
	free(b->ends);
	free(b->commands);
	free(b);
	*bp = NULL;
}

uint32_t
batch_rows(const struct batch *b)
{
	return b->row_count;
}

struct batch_row *
batch_row(struct batch *b, uint32_t index)
{
	return b->rows[index];
}

uint32_t
batch_entries(const struct batch *b)
{
	return b->entries;
}

uint64_t
batch_bytes(const struct batch *b)
{
	return b->bytes;
}

bool
batch_empty(const struct batch *b)
{
	return b->row_count == 0 && b->end_count == 0 && b->command_count == 0;
}

uint32_t
batch_ends(const struct batch *b)
{
	return b->end_count;
}

struct lease *
batch_end(struct batch *b, uint32_t index)
{
	return b->ends[index];
}

uint32_t
batch_commands(const struct batch *b)
{
	return b->command_count;
}

int64_t
batch_command(const struct batch *b, uint32_t index)
{
	return b->commands[index].id;
}

bool
batch_has_command(const struct batch *b, int64_t command)
{
	for (uint32_t i = 0; i < b->command_count; i++)
		if (b->commands[i].id == command)
			return true;
	return false;
}

void
batch_clear(struct batch *b)
{
	b->row_count = 0;
	b->entries = 0;
	b->bytes = 0;
	b->end_count = 0;
	b->command_count = 0;
}

void
batch_seal(struct batch *b)
{
	for (uint32_t i = 0; i < b->row_count; i++)
		b->rows[i]->lease->row = NULL;
}

static struct batch_row *
row_add(struct batch *b)
{
	struct batch_row *row;

	if (b->row_count == b->row_cap) {
		uint32_t cap = b->row_cap ? b->row_cap * 2 : 64;

		b->rows = mem_realloc(b->rows, cap * sizeof(*b->rows));
		for (uint32_t i = b->row_cap; i < cap; i++)
			b->rows[i] = mem_zalloc(sizeof(struct batch_row));
		b->row_cap = cap;
	}
	row = b->rows[b->row_count++];
	row->lease = NULL;
	row->count = 0;
	row->json.len = 0;
	effects_clear(&row->effects);
	return row;
}

static void
ends_push(struct batch *b, struct lease *lease)
{
	if (b->end_count == b->end_cap) {
		b->end_cap = b->end_cap ? b->end_cap * 2 : 64;
		b->ends = mem_realloc(b->ends,
		                      b->end_cap * sizeof(*b->ends));
	}
	b->ends[b->end_count++] = lease;
}

static void
commands_push(struct batch *b, const struct batch_command *command)
{
	if (b->command_count == b->command_cap) {
		b->command_cap = b->command_cap ? b->command_cap * 2 : 64;
		b->commands = mem_realloc(b->commands,
		                          b->command_cap *
		                              sizeof(*b->commands));
	}
	b->commands[b->command_count++] = *command;
}

void
batch_move_commands(struct batch *b, struct batch *to)
{
	for (uint32_t i = 0; i < b->command_count; i++)
		commands_push(to, &b->commands[i]);
	b->command_count = 0;
}

bool
batch_drop_commands(struct batch *b, const struct uuid *instance)
{
	uint32_t kept = 0, before = b->command_count;

	for (uint32_t i = 0; i < before; i++)
		if (!uuid_equal(&b->commands[i].instance, instance))
			b->commands[kept++] = b->commands[i];
	b->command_count = kept;
	return kept != before;
}

static bool
has_row(const struct batch *b, const struct lease *lease)
{
	for (uint32_t i = 0; i < b->row_count; i++)
		if (b->rows[i]->lease == lease)
			return true;
	return false;
}

uint32_t
batch_instances(const struct batch *b)
{
	uint32_t count = b->row_count;

	for (uint32_t i = 0; i < b->end_count; i++)
		count += !has_row(b, b->ends[i]);
	return count;
}

uint64_t
batch_wire_bytes(const struct batch *b)
{
	uint64_t bytes = b->bytes;
	struct end_view end;

	for (uint32_t i = 0; i < b->end_count; i++) {
		instance_end(b->ends[i]->engine, &end);
		bytes += end.output != NULL ? end.output->s.len : 0;
		bytes += end.cause.len;
	}
	return bytes;
}

/* What a command brought is in its instance's row: it stays with that. */
static void
commands_split(struct batch *b, struct batch *to)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < b->command_count; i++) {
		bool stays = false;

		for (uint32_t n = 0; n < b->row_count && !stays; n++)
			stays = uuid_equal(&b->rows[n]->lease->id,
			                   &b->commands[i].instance);
		if (stays)
			b->commands[kept++] = b->commands[i];
		else
			commands_push(to, &b->commands[i]);
	}
	b->command_count = kept;
}

void
batch_split(struct batch *b, struct batch *to)
{
	uint32_t half = (b->row_count + 1) / 2;
	uint32_t kept = 0;

	ASSERT(batch_empty(to) && batch_instances(b) > 1);
	if (b->row_count == 0) {
		for (uint32_t i = b->end_count / 2; i < b->end_count; i++)
			ends_push(to, b->ends[i]);
		b->end_count /= 2;
		batch_move_commands(b, to); /* they came too late */
		return;
	}
	for (uint32_t i = half; i < b->row_count; i++) {
		struct batch_row *moved = b->rows[i];
		struct batch_row *spare = row_add(to);

		to->rows[to->row_count - 1] = moved;
		b->rows[i] = spare;
		to->entries += moved->count;
		to->bytes += moved->json.len;
		b->entries -= moved->count;
		ASSERT(b->bytes >= moved->json.len);
		b->bytes -= moved->json.len;
	}
	b->row_count = half;
	/* An end stays with its instance's row; those without one move. */
	for (uint32_t i = 0; i < b->end_count; i++) {
		if (!has_row(b, b->ends[i]))
			ends_push(to, b->ends[i]);
		else
			b->ends[kept++] = b->ends[i];
	}
	b->end_count = kept;
	commands_split(b, to);
}

void
batch_merge(struct batch *b, struct batch *to)
{
	for (uint32_t i = 0; i < b->row_count; i++) {
		struct batch_row *moved = b->rows[i];
		struct batch_row *spare = row_add(to);

		to->rows[to->row_count - 1] = moved;
		b->rows[i] = spare;
	}
	to->entries += b->entries;
	to->bytes += b->bytes;
	for (uint32_t i = 0; i < b->end_count; i++)
		ends_push(to, b->ends[i]);
	batch_move_commands(b, to);
	batch_clear(b);
}

static struct batch_row *
row_of(struct batch *b, struct lease *lease, int64_t at_us)
{
	struct batch_row *row = lease->row;

	if (row == NULL) {
		row = row_add(b);
		row->lease = lease;
		row->seq = lease->seq + 1;
		row->at_us = at_us;
		buf_add_byte(&row->json, '[');
		b->bytes += row->json.len;
		lease->row = row;
		lease->batches++;
	}
	return row;
}

bool
batch_apply(struct flusher *f, struct lease *lease, const struct event *event)
{
	struct batch *b = commit_filling(f->commit);
	struct journal_place place = { .state_no = -1, .index = -1 };
	struct place_view view;
	struct batch_row *row;
	size_t before;

	if (lease->engine == NULL || lease->ended)
		return false;
	if (rebuild_takes(f, lease, event))
		return true;
	mark_set(f->mark, &lease->id);
	row = row_of(b, lease, event->at_us);
	if (instance_place(lease->engine, event->activation, &view)) {
		place.state_no = view.state_no;
		place.index = view.has_index ? (int64_t)view.index : -1;
	}
	before = row->json.len;
	/* The event's slices may be of the instance: written before it moves. */
	journal_entry_add(&row->json, row->at_us, event, &place);
	if (instance_apply(lease->engine, event, &row->effects) < 0) {
		row->json.len = before;
		mark_clear(f->mark);
		f->counters.completions_late++;
		if (row->count == 0) {
			/* The row was made for this entry: it is the last. */
			ASSERT(b->rows[b->row_count - 1] == row);
			b->row_count--;
			b->bytes -= row->json.len;
			lease->row = NULL;
			lease->batches--;
		}
		return false;
	}
	mark_clear(f->mark);
	row->count++;
	lease->seq++;
	b->entries++;
	b->bytes += row->json.len - before;
	if (instance_status(lease->engine) != INSTANCE_RUNNING)
		batch_add_end(f, lease);
	flusher_turn_wanted(f);
	return true;
}

void
batch_add_end(struct flusher *f, struct lease *lease)
{
	lease->ended = true;
	lease->batches++;
	ends_push(commit_filling(f->commit), lease);
	flusher_turn_wanted(f);
}

void
batch_discard(struct flusher *f, struct lease *lease)
{
	struct batch *b = commit_filling(f->commit);
	struct batch_row *row = lease->row;

	for (uint32_t i = 0; row != NULL && i < b->row_count; i++) {
		if (b->rows[i] != row)
			continue;
		b->rows[i] = b->rows[--b->row_count];
		b->rows[b->row_count] = row;
		b->entries -= row->count;
		b->bytes -= row->json.len;
		lease->row = NULL;
		lease->batches--;
		break;
	}
	for (uint32_t i = 0; i < b->end_count; i++) {
		if (b->ends[i] != lease)
			continue;
		b->ends[i] = b->ends[--b->end_count];
		lease->batches--;
		break;
	}
}

void
batch_add_command(struct flusher *f, const struct uuid *instance,
                  int64_t command)
{
	commands_push(commit_filling(f->commit),
	              &(struct batch_command){ command, *instance });
	flusher_turn_wanted(f);
}

void
batch_perform(struct flusher *f, struct lease *lease,
              const struct effects *effects)
{
	struct pending_view pending;
	int64_t due_us;

	for (uint32_t i = 0; i < effects->count; i++) {
		const struct effect *e = &effects->list[i];

		switch (e->kind) {
		case EFFECT_ACTION:
			dispatch_ready(f, lease, e->activation, e->attempt);
			break;
		case EFFECT_TIMER:
			if (instance_timer(lease->engine, e->activation,
			                   &due_us))
				timers_add(f->timers, lease, TIMER_FIRE,
				           e->activation, due_us);
			break;
		case EFFECT_PENDING:
			/* A heartbeat puts it off. */
			timers_cancel(f->timers, lease, e->activation);
			if (instance_pending(lease->engine, e->activation,
			                     &pending) &&
			    pending.due_us != 0)
				timers_add(f->timers, lease, TIMER_FIRE,
				           e->activation, pending.due_us);
			break;
		case EFFECT_ABANDON:
			dispatch_abandon(f, lease, e->activation);
			timers_cancel(f->timers, lease, e->activation);
			break;
		case EFFECT_END:
			break; /* committed with the batch that has it */
		}
	}
}
