/*
 * journal - events as the JSON entries of action_log, both ways.
 *
 * One row holds the entries that one batch brought for one instance, as a
 * JSON array of arrays:
 *
 *   [kind, at, activation, attempt, state, index, worker, run_us,
 *    value | error, cause, extra]
 *
 * at is in microseconds after the row's "at" column; state is the number in
 * workflow_versions.states or null; index the Map item or branch or null;
 * worker null where there was none. extra is what a worker said of the
 * attempt beside how it ended.
 * Trailing nulls are left out. The view rappel.history shows an entry a row.
 */
#ifndef ENGINE_JOURNAL_H
#define ENGINE_JOURNAL_H

#include "common/assert.h"
#include "common/buf.h"
#include "common/error.h"
#include "engine/event.h"

/* What an entry says beside its event. state_no < 0: none. index < 0: none. */
struct journal_place {
	int64_t state_no;
	int64_t index;
};

/*
 * Appends "[…]" for the event, after "," unless *json ends in "[". The
 * caller brackets the row.
 */
void journal_entry_add(struct buf *json, int64_t row_at_us,
                       const struct event *e,
                       const struct journal_place *place);

/* Reads a row's entries one after the other. */
struct journal_reader;

/*
 * Parses a row's text. NULL with err when it is not what journal_entry_add()
 * writes. Release with journal_reader_destroy().
 */
struct journal_reader *journal_reader_create(struct slice json,
                                             int64_t row_at_us,
                                             struct error *err) MUST_CHECK;
void journal_reader_destroy(struct journal_reader **r);
uint32_t journal_reader_count(const struct journal_reader *r);
/*
 * The next event, borrowed from the reader until it is destroyed. 1; 0 at the
 * end; -EPROTO with err when the entry is none of ours.
 */
int journal_reader_next(struct journal_reader *r, struct event *out,
                        struct error *err) MUST_CHECK;

#endif
