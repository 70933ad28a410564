-- rappel's schema, version 2: what runs says more, and others may finish it.
--
-- An attempt that waits for somebody else is finished under its task token,
-- "<instance>.<activation>.<attempt>". Whoever does so leaves a row in
-- rappel.commands; the owner of the instance applies it, journals it and
-- deletes the row in one transaction, as it does with a cancel.

---------------------------------------------------------------------------
-- Progress
---------------------------------------------------------------------------

-- What a running attempt last said of itself: written by the pool that runs
-- it, and gone with it. The journal has nothing of this.
CREATE TABLE rappel.action_progress (
	instance_id uuid NOT NULL,
	activation int NOT NULL,
	attempt int NOT NULL,
	state text,
	progress json,
	at timestamptz NOT NULL,
	incarnation uuid NOT NULL
		REFERENCES rappel.worker_pools ON DELETE CASCADE,
	PRIMARY KEY (instance_id, activation)
) WITH (fillfactor = 50, autovacuum_vacuum_threshold = 200,
	autovacuum_vacuum_scale_factor = 0);

-- The successor of a pool deletes what that one wrote.
CREATE INDEX action_progress_incarnation
	ON rappel.action_progress (incarnation);

---------------------------------------------------------------------------
-- Views for people
---------------------------------------------------------------------------

-- One entry of the journal a row. at is when the attempt ended or the event
-- happened, run how long the attempt ran in its worker (the slot's number),
-- details what the worker said beside that. A fired entry with an attempt is
-- the end of one that nobody finished in time.
CREATE OR REPLACE VIEW rappel.history AS
SELECT l.instance_id, l.seq + e.n::int - 1 AS seq,
	CASE (e.e ->> 0)
		WHEN '1' THEN 'succeeded'
		WHEN '2' THEN 'failed'
		WHEN '5' THEN 'failed' -- with its worker
		WHEN '3' THEN 'fired'
		WHEN '4' THEN 'cancelled'
		WHEN '6' THEN 'pending'
		WHEN '7' THEN 'heartbeat'
		ELSE e.e ->> 0
	END AS event,
	(e.e ->> 2)::bigint AS action,
	v.states[(e.e ->> 4)::int + 1] AS state,
	(e.e ->> 5)::int AS index,
	nullif((e.e ->> 3)::int, 0) AS attempt,
	(e.e ->> 6)::int AS worker,
	l.at + (e.e ->> 1)::bigint * interval '1 microsecond' AS at,
	(e.e ->> 7)::bigint * interval '1 microsecond' AS run,
	CASE WHEN (e.e ->> 0) = '1' THEN e.e -> 8 END AS result,
	CASE WHEN (e.e ->> 0) IN ('2', '5') THEN rappel.text_of(e.e -> 8) END
		AS error,
	CASE WHEN (e.e ->> 0) IN ('2', '4', '5') THEN rappel.text_of(e.e -> 9) END
		AS cause,
	CASE WHEN (e.e ->> 0) <> '7' THEN e.e -> 10
		WHEN e.e -> 8 IS NOT NULL
			THEN json_build_object('progress', e.e -> 8)
	END AS details
FROM rappel.action_log l
JOIN rappel.workflow_instances i ON i.id = l.instance_id
JOIN rappel.workflow_versions v ON v.id = i.version_id
CROSS JOIN LATERAL json_array_elements(l.entries) WITH ORDINALITY e (e, n);

INSERT INTO rappel.migrations (version, name) VALUES (2, 'tasks');
