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

-- PostgreSQL looks into no JSON that has a NUL in a string anywhere: here
-- U+FFFD stands for it. What is an escaped backslash and "u0000" stays.
CREATE FUNCTION rappel.readable(value json) RETURNS json
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT CASE WHEN position('\u0000' IN $1::text) = 0 THEN $1
		ELSE regexp_replace($1::text, '(?<!\\)((?:\\\\)*)\\u0000',
			'\1\\ufffd', 'g')::json END
$$;

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
CROSS JOIN LATERAL json_array_elements(rappel.readable(l.entries))
	WITH ORDINALITY e (e, n);

---------------------------------------------------------------------------
-- Finishing a task under its token, in the caller's own transaction
---------------------------------------------------------------------------

ALTER TABLE rappel.commands
	DROP CONSTRAINT commands_kind_check,
	ADD CHECK (kind IN (
		'cancel',
		'task_succeed', 'task_fail', 'task_heartbeat')),
	-- Of a task: which attempt, and what is said of it.
	ADD COLUMN activation int,
	ADD COLUMN attempt int,
	ADD COLUMN result json, -- of a heartbeat its progress
	ADD COLUMN error text,
	ADD CHECK ((kind = 'cancel') = (activation IS NULL)
		AND (activation IS NULL) = (attempt IS NULL));

-- Whoever takes an instance looks for what is wanted of it.
CREATE INDEX commands_instance ON rappel.commands (instance_id, id);

-- Of two who answer for one attempt the second waits for the first, and then
-- finds that it came too late.
CREATE UNIQUE INDEX commands_answer
	ON rappel.commands (instance_id, activation, attempt)
	WHERE kind IN ('task_succeed', 'task_fail');

-- The three parts of a task token; raises when it is none.
CREATE FUNCTION rappel.task_of(token text,
	OUT instance_id uuid, OUT activation int, OUT attempt int)
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
	v_parts text[] := regexp_match($1, '^([0-9a-f]{8}(?:-[0-9a-f]{4}){3}'
		'-[0-9a-f]{12})\.([1-9][0-9]{0,8})\.([1-9][0-9]{0,8})$');
BEGIN
	IF v_parts IS NULL THEN
		RAISE EXCEPTION '% is no task token', coalesce(
			'"' || left($1, 100) || '"', 'NULL')
			USING ERRCODE = 'RP400', HINT = 'A task token has '
			'an instance''s id and two numbers: '
			'0199c1a2-6e5f-7000-8a3b-5c1d2e3f4a5b.7.1';
	END IF;
	instance_id := v_parts[1]::uuid;
	activation := v_parts[2]::int;
	attempt := v_parts[3]::int;
END
$$;

-- True while the attempt may still be finished, as far as the tables tell;
-- raises when there never was such a one. What a Task has not answered yet is
-- in no table: it counts as there.
CREATE FUNCTION rappel.task_is_open(
	instance_id uuid, activation int, attempt int)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	v_status text;
	v_waited boolean; -- it was a Wait, or a delay
	v_ended boolean;
	v_entries bigint;
	v_over boolean; -- the instance has ended
	v_last bigint; -- no activation was later; NULL: that is not known
BEGIN
	SELECT i.status, i.status IN
		('succeeded', 'failed', 'timed_out', 'cancelled')
	INTO v_status, v_over
	FROM rappel.workflow_instances i WHERE i.id = $1;
	IF v_status IS NULL THEN
		RAISE EXCEPTION 'task token %.%.%: there is no instance %',
			$1, $2, $3, $1
			USING ERRCODE = 'RP404', HINT = 'Is it the token of '
			'this database?';
	END IF;
	SELECT bool_or(e.e ->> 0 = '3'
			AND coalesce((e.e ->> 3)::int, 0) = 0),
		bool_or((e.e ->> 3)::bigint > $3 OR ((e.e ->> 3)::bigint = $3
			AND e.e ->> 0 IN ('1', '2', '3', '5')))
	INTO v_waited, v_ended
	FROM rappel.action_log l
	CROSS JOIN LATERAL json_array_elements(rappel.readable(l.entries)) e (e)
	WHERE l.instance_id = $1 AND (e.e ->> 2)::bigint = $2
	-- Only rows that may have such an entry are parsed: the journal is
	-- written without spaces, [kind,time,activation,attempt,...].
	AND position(format(',%s,', $2) IN l.entries::text) > 0;
	-- Each attempt but the first follows an entry, and no instance has
	-- more than a million activations.
	IF $3 > 1 AND v_ended IS NOT TRUE THEN
		SELECT sum(l.count) INTO v_entries
		FROM rappel.action_log l WHERE l.instance_id = $1;
	END IF;
	-- Of an instance that has ended without ever having two at once: the
	-- last that was written down, and what ran when it ended otherwise.
	IF v_over AND v_ended IS NULL THEN
		SELECT coalesce((SELECT max((e.e ->> 2)::bigint)
				FROM rappel.action_log l
				CROSS JOIN LATERAL json_array_elements(
					rappel.readable(l.entries)) e (e)
				WHERE l.instance_id = $1), 0)
			+ (v_status <> 'succeeded')::int
		INTO v_last
		FROM rappel.workflow_instances i
		JOIN rappel.workflow_versions v ON v.id = i.version_id
		WHERE i.id = $1 AND NOT EXISTS (SELECT
			FROM json_each(v.definition -> 'States') s
			WHERE s.value ->> 'Type' IN ('Parallel', 'Map'));
	END IF;
	IF v_waited OR $2 > 1000000 OR $2 > v_last OR ($3 > 1 AND v_ended IS NOT TRUE
			AND $3 > 1 + coalesce(v_entries, 0)) THEN
		RAISE EXCEPTION 'task token %.%.% names no attempt of a task',
			$1, $2, $3
			USING ERRCODE = 'RP404', HINT = format('See what '
			'there was: rappelctl run history %s', $1);
	END IF;
	IF v_status = 'blocked' AND v_ended IS NOT TRUE THEN
		RAISE EXCEPTION 'instance % is blocked and does not go on', $1
			USING ERRCODE = 'RP409', HINT = format('See why: '
			'rappelctl run show %s', $1);
	END IF;
	RETURN NOT v_over AND v_ended IS NOT TRUE;
END
$$;

CREATE FUNCTION rappel.check_size(what text, value text, bytes_max int)
RETURNS void LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	IF octet_length($2) > $3 THEN
		RAISE EXCEPTION 'the % has % bytes; at most % fit', $1,
			octet_length($2), $3
			USING ERRCODE = 'RP400', HINT =
			'Store it elsewhere and pass a reference to it.';
	END IF;
END
$$;

-- Leaves the answer for the owner. The look at the journal comes behind the
-- row, which waited for whoever was quicker.
CREATE FUNCTION rappel.task_answer(token text, kind text, result json,
	error text, cause text)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	v_task record;
	v_id bigint;
BEGIN
	SELECT * INTO v_task FROM rappel.task_of($1);
	IF NOT rappel.task_is_open(v_task.instance_id, v_task.activation,
			v_task.attempt) THEN
		RETURN false;
	END IF;
	INSERT INTO rappel.commands (instance_id, kind, activation, attempt,
		result, error, cause)
	VALUES (v_task.instance_id, $2, v_task.activation, v_task.attempt,
		$3, $4, $5)
	ON CONFLICT DO NOTHING
	RETURNING id INTO v_id;
	IF v_id IS NULL THEN
		RETURN false;
	END IF;
	IF NOT rappel.task_is_open(v_task.instance_id, v_task.activation,
			v_task.attempt) THEN
		DELETE FROM rappel.commands c WHERE c.id = v_id;
		RETURN false;
	END IF;
	PERFORM pg_notify('rappel_command', '');
	RETURN true;
END
$$;

-- Finishes the attempt that the token names, with a result. False when it has
-- ended already or somebody else answered for it before; true when this is
-- the answer, unless the attempt ends in another way before its owner comes to
-- it: its time is over, the instance is cancelled.
CREATE FUNCTION rappel.task_succeed(token text, result json)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	PERFORM rappel.check_size('result', $2::text, 1048576);
	RETURN rappel.task_answer($1, 'task_succeed', $2, NULL, NULL);
END
$$;

-- The same with an error, which Retry and Catch meet as if the action had
-- failed with it.
CREATE FUNCTION rappel.task_fail(token text,
	error text DEFAULT 'States.TaskFailed', cause text DEFAULT NULL)
RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	IF coalesce($2, '') = '' THEN
		RAISE EXCEPTION 'the error has no name'
			USING ERRCODE = 'RP400', HINT = 'Give one, such as '
			'States.TaskFailed.';
	END IF;
	PERFORM rappel.check_size('error''s name', $2, 128);
	PERFORM rappel.check_size('cause', $3, 32768);
	RETURN rappel.task_answer($1, 'task_fail', NULL, $2, $3);
END
$$;

-- Whoever works on the attempt lives: HeartbeatSeconds count from now on
-- again. False when it has ended or an answer for it is there.
CREATE FUNCTION rappel.task_heartbeat(token text, progress json DEFAULT NULL)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	v_task record;
BEGIN
	PERFORM rappel.check_size('progress', $2::text, 4096);
	SELECT * INTO v_task FROM rappel.task_of($1);
	IF NOT rappel.task_is_open(v_task.instance_id, v_task.activation,
			v_task.attempt) OR EXISTS (
			SELECT FROM rappel.commands c
			WHERE c.instance_id = v_task.instance_id
			AND c.activation = v_task.activation
			AND c.attempt = v_task.attempt
			AND c.kind IN ('task_succeed', 'task_fail')) THEN
		RETURN false;
	END IF;
	INSERT INTO rappel.commands (instance_id, kind, activation, attempt,
		result)
	VALUES (v_task.instance_id, 'task_heartbeat', v_task.activation,
		v_task.attempt, $2);
	PERFORM pg_notify('rappel_command', '');
	RETURN true;
END
$$;

INSERT INTO rappel.migrations (version, name) VALUES (2, 'tasks');
