/*
 * replay - see replay.h.
 */
#include "flusher/replay.h"

#include "engine/journal.h"
#include "flusher/db.h"
#include "flusher/lease.h"
#include "flusher/params.h"

bool
replay_journal(struct lease *lease, const PGresult *r, struct error *err)
{
	struct effects ignored = { NULL, 0, 0 };
	int rows = PQntuples(r);
	bool good = true;

	for (int i = 0; i < rows && good; i++) {
		struct slice text = {
			(const uint8_t *)PQgetvalue(r, i, 4),
			(size_t)PQgetlength(r, i, 4)
		};
		struct journal_reader *reader;
		struct event event;
		uint32_t applied = 0;
		int more = 0;

		if ((uint32_t)db_int32(r, i, 1) != lease->seq + 1) {
			error_set(err, "journal row %d begins with entry %d "
			               "where %u was expected",
			          i + 1, db_int32(r, i, 1), lease->seq + 1);
			good = false;
			break;
		}
		reader = journal_reader_create(
		    text, params_time_us(db_int64(r, i, 3)), err);
		while (reader != NULL &&
		       (more = journal_reader_next(reader, &event, err)) > 0) {
			if (instance_apply(lease->engine, &event, &ignored) <
			    0) {
				error_set(err, "journal entry %u does not fit "
				               "the definition",
				          lease->seq + applied + 1);
				more = -1;
				break;
			}
			applied++;
			effects_clear(&ignored);
		}
		if (reader != NULL && more == 0 &&
		    applied != (uint32_t)db_int32(r, i, 2)) {
			error_set(err, "journal row %d says %d entries and "
			               "holds %u",
			          i + 1, db_int32(r, i, 2), applied);
			more = -1;
		}
		good = reader != NULL && more == 0;
		journal_reader_destroy(&reader);
		lease->seq += applied;
	}
	effects_fini(&ignored);
	return good;
}
