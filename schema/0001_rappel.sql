-- rappel's schema, version 1: definitions, instances, their journal, pools.
--
-- Applied by "rappelctl db migrate" in one transaction. Lock order, for every
-- transaction of rappel: worker_pools, then workflow_instances, then
-- everything else. Only a claim and the lease holder write
-- workflow_instances; wishes from outside are rows in commands.

CREATE SCHEMA rappel;

CREATE TABLE rappel.migrations (
	version int PRIMARY KEY,
	name text NOT NULL,
	applied_at timestamptz NOT NULL DEFAULT now()
);

-- The server this database belongs to. A restored dump on another server is
-- a copy: nothing is claimed there until "rappelctl db adopt".
CREATE TABLE rappel.home (
	one boolean PRIMARY KEY DEFAULT true CHECK (one),
	system_identifier text NOT NULL,
	adopted_at timestamptz NOT NULL DEFAULT now()
);
INSERT INTO rappel.home (system_identifier)
SELECT system_identifier::text FROM pg_catalog.pg_control_system();

---------------------------------------------------------------------------
-- Identities
---------------------------------------------------------------------------

-- A time-ordered id (UUID version 7): 48 bits of milliseconds, 12 bits of the
-- rest of the microseconds, 62 random bits.
CREATE FUNCTION rappel.uuid7(at timestamptz) RETURNS uuid
LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
	SELECT encode(
		int8send((us / 1000) << 16 | 28672 | (us % 1000) * 4096 / 1000)
		|| substring(uuid_send(gen_random_uuid()) FROM 9), 'hex')::uuid
	FROM (SELECT (extract(epoch FROM at) * 1000000)::bigint AS us) t
$$;

-- The smallest id of that moment: bounds of partitions, filters by time.
CREATE FUNCTION rappel.uuid7_floor(at timestamptz) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT encode(
		int8send((extract(epoch FROM at) * 1000)::bigint << 16)
		|| '\x0000000000000000'::bytea, 'hex')::uuid
$$;

CREATE FUNCTION rappel.uuid7_time(id uuid) RETURNS timestamptz
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT to_timestamp(
		('x' || substring(encode(uuid_send(id), 'hex') FOR 12))::bit(48)::bigint
		/ 1000.0)
$$;

---------------------------------------------------------------------------
-- Definitions
---------------------------------------------------------------------------

-- One immutable definition, by content. states[n + 1] is the name of the
-- state with number n in journal entries.
CREATE TABLE rappel.workflow_versions (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	workflow text NOT NULL
		CHECK (workflow ~ '^[A-Za-z0-9_.:-]{1,128}$'),
	version int NOT NULL,
	hash bytea NOT NULL,
	definition json NOT NULL,
	states text[] NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now(),
	UNIQUE (workflow, version),
	UNIQUE (workflow, hash)
);

-- The version that a start without one gets.
CREATE TABLE rappel.workflows (
	workflow text PRIMARY KEY,
	version_id bigint NOT NULL REFERENCES rappel.workflow_versions (id)
);

-- Makes definition the current version of workflow; the same text again
-- gives the version it had. Called by rappelctl, which has checked it.
CREATE FUNCTION rappel.register_checked(
	workflow text, definition json, states text[])
RETURNS int LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
	p_workflow ALIAS FOR $1;
	p_definition ALIAS FOR $2;
	p_states ALIAS FOR $3;
	v_hash bytea := sha256(convert_to(p_definition::text, 'UTF8'));
	v_id bigint;
	v_version int;
BEGIN
	-- Two who register the same name take turns.
	PERFORM pg_advisory_xact_lock(hashtextextended('rappel ' || p_workflow, 0));
	SELECT id, version INTO v_id, v_version
	FROM rappel.workflow_versions
	WHERE workflow = p_workflow AND hash = v_hash;
	IF NOT FOUND THEN
		INSERT INTO rappel.workflow_versions
			(workflow, version, hash, definition, states)
		SELECT p_workflow, coalesce(max(version), 0) + 1, v_hash,
			p_definition, p_states
		FROM rappel.workflow_versions WHERE workflow = p_workflow
		RETURNING id, version INTO v_id, v_version;
	END IF;
	INSERT INTO rappel.workflows (workflow, version_id)
	VALUES (p_workflow, v_id)
	ON CONFLICT (workflow) DO UPDATE SET version_id = excluded.version_id;
	RETURN v_version;
END
$$;

---------------------------------------------------------------------------
-- Pools
---------------------------------------------------------------------------

-- One life of a flusher. Every transaction of it first takes its row
-- (rappel.fence); whoever takes over deletes the row.
CREATE TABLE rappel.worker_pools (
	incarnation uuid PRIMARY KEY,
	name text NOT NULL,
	host text NOT NULL,
	boot_id text NOT NULL,
	dir text NOT NULL,
	pid int NOT NULL,
	version text NOT NULL,
	started_at timestamptz NOT NULL DEFAULT now()
);

-- Its sessions, so that a successor can end those that still hold locks.
CREATE TABLE rappel.pool_backends (
	incarnation uuid NOT NULL
		REFERENCES rappel.worker_pools ON DELETE CASCADE,
	pid int NOT NULL,
	backend_start timestamptz NOT NULL,
	PRIMARY KEY (incarnation, pid, backend_start)
);

-- What changes every two seconds, apart from the row that the fence reads.
-- Of beat only the change counts; idle asks whoever starts work to NOTIFY.
CREATE TABLE rappel.pool_heartbeats (
	incarnation uuid PRIMARY KEY
		REFERENCES rappel.worker_pools ON DELETE CASCADE,
	beat bigint NOT NULL DEFAULT 0,
	at timestamptz NOT NULL DEFAULT clock_timestamp(),
	idle boolean NOT NULL DEFAULT false
) WITH (fillfactor = 20, autovacuum_vacuum_threshold = 200,
	autovacuum_vacuum_scale_factor = 0);

-- Raises when the incarnation was taken over: in a pipeline an empty result
-- would not stop what follows.
CREATE FUNCTION rappel.fence(incarnation uuid) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
	PERFORM FROM rappel.worker_pools p WHERE p.incarnation = $1
	FOR KEY SHARE;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'pool incarnation % was taken over', $1
			USING ERRCODE = 'RP001';
	END IF;
END
$$;

---------------------------------------------------------------------------
-- Instances
---------------------------------------------------------------------------

CREATE TABLE rappel.workflow_instances (
	id uuid PRIMARY KEY,
	version_id bigint NOT NULL,
	priority smallint NOT NULL DEFAULT 0, -- higher goes first
	status text NOT NULL CHECK (status IN (
		'queued',    -- may be claimed now
		'waiting',   -- may be claimed at due_at
		'running',   -- leased to owner
		'succeeded', 'failed', 'timed_out', 'cancelled', -- ended
		'blocked')), -- set aside; reason says why
	owner uuid,                   -- incarnation of the pool, while running
	due_at timestamptz,
	started_at timestamptz,       -- by the first claim; never set again
	ended_at timestamptz,
	name text,                    -- what its starter calls it
	reason text,                  -- why it does not go on
	input json NOT NULL,
	output json,
	error text,
	cause text
) WITH (fillfactor = 70);

-- The claim reads this in order and stops at its limit.
CREATE INDEX instances_queued
	ON rappel.workflow_instances ((-priority), id)
	WHERE status = 'queued';
CREATE INDEX instances_due ON rappel.workflow_instances (due_at)
	WHERE status = 'waiting';
CREATE INDEX instances_owned ON rappel.workflow_instances (owner)
	WHERE owner IS NOT NULL;
CREATE INDEX instances_troubled
	ON rappel.workflow_instances (status, id)
	WHERE status IN ('failed', 'timed_out', 'cancelled', 'blocked');

CREATE TABLE rappel.idempotency_keys (
	workflow text NOT NULL,
	key text NOT NULL,
	instance_id uuid NOT NULL,
	input_hash bytea NOT NULL,
	created_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (workflow, key)
);

-- What somebody wants of an instance. The owner applies it, journals it and
-- deletes the row in one transaction.
CREATE TABLE rappel.commands (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	instance_id uuid NOT NULL,
	kind text NOT NULL CHECK (kind IN ('cancel')),
	cause text,
	created_at timestamptz NOT NULL DEFAULT now()
) WITH (autovacuum_vacuum_threshold = 200, autovacuum_vacuum_scale_factor = 0);

---------------------------------------------------------------------------
-- The journal
---------------------------------------------------------------------------

-- A row is what one batch brought for one instance: count entries, the first
-- with number seq (from 1, without gaps). engine/journal.h says how entries
-- look. Append-only. Partitioned by the instance's birth: old months go by
-- dropping their partition.
CREATE TABLE rappel.action_log (
	instance_id uuid NOT NULL,
	seq int NOT NULL,
	count int NOT NULL,
	at timestamptz NOT NULL,
	entries json NOT NULL,
	PRIMARY KEY (instance_id, seq)
) PARTITION BY RANGE (instance_id);

CREATE TABLE rappel.action_log_default
	PARTITION OF rappel.action_log DEFAULT;

---------------------------------------------------------------------------
-- Poison
---------------------------------------------------------------------------

-- How many flushers died while the engine worked on an instance, and how far
-- its journal was then: whoever gets on begins anew.
CREATE TABLE rappel.instance_deaths (
	instance_id uuid PRIMARY KEY,
	deaths int NOT NULL,
	seq int NOT NULL,
	at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The flusher that takes over says of what its predecessor died. At the third
-- time the instance is set aside. How many times; NULL: it does not run.
CREATE FUNCTION rappel.blame(instance uuid) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
	v_deaths int;
BEGIN
	IF NOT EXISTS (SELECT FROM rappel.workflow_instances i
			WHERE i.id = $1 AND i.status = 'running') THEN
		RETURN NULL;
	END IF;
	INSERT INTO rappel.instance_deaths AS d (instance_id, deaths, seq)
	VALUES ($1, 1, coalesce((SELECT max(l.seq + l.count)
		FROM rappel.action_log l WHERE l.instance_id = $1), 0))
	ON CONFLICT (instance_id) DO UPDATE SET
		deaths = CASE WHEN d.seq = excluded.seq THEN d.deaths ELSE 0 END
			+ 1,
		seq = excluded.seq, at = excluded.at
	RETURNING deaths INTO v_deaths;
	IF v_deaths >= 3 THEN
		UPDATE rappel.workflow_instances SET status = 'blocked',
			owner = NULL, due_at = NULL,
			reason = format('%s flushers died working on it',
				v_deaths)
		WHERE id = $1;
	END IF;
	RETURN v_deaths;
END
$$;

---------------------------------------------------------------------------
-- Partitions
---------------------------------------------------------------------------

-- Makes the monthly partitions of this month and the next ahead months where
-- they are missing; the number made. A month that already has rows in the
-- default partition stays there.
CREATE FUNCTION rappel.make_partitions(ahead int DEFAULT 3) RETURNS int
LANGUAGE plpgsql AS $$
DECLARE
	v_from timestamptz;
	v_low uuid;
	v_high uuid;
	v_name text;
	v_made int := 0;
BEGIN
	PERFORM pg_advisory_xact_lock(hashtextextended('rappel partitions', 0));
	FOR v_month IN 0..ahead LOOP
		v_from := (date_trunc('month', now() AT TIME ZONE 'UTC')
			+ make_interval(months => v_month)) AT TIME ZONE 'UTC';
		v_name := 'action_log_'
			|| to_char(v_from AT TIME ZONE 'UTC', 'YYYY_MM');
		v_low := rappel.uuid7_floor(v_from);
		v_high := rappel.uuid7_floor((v_from AT TIME ZONE 'UTC'
			+ interval '1 month') AT TIME ZONE 'UTC');
		CONTINUE WHEN to_regclass('rappel.' || v_name) IS NOT NULL;
		CONTINUE WHEN EXISTS (
			SELECT FROM rappel.action_log_default d
			WHERE d.instance_id >= v_low AND d.instance_id < v_high);
		EXECUTE format('CREATE TABLE rappel.%I PARTITION OF '
			'rappel.action_log FOR VALUES FROM (%L) TO (%L)',
			v_name, v_low, v_high);
		v_made := v_made + 1;
	END LOOP;
	RETURN v_made;
END
$$;
SELECT rappel.make_partitions();

---------------------------------------------------------------------------
-- Starting and cancelling, in the caller's own transaction
---------------------------------------------------------------------------

-- Wakes a pool that has nothing to do; busy ones look by themselves.
CREATE FUNCTION rappel.wake_idle() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	IF EXISTS (SELECT FROM rappel.pool_heartbeats h WHERE h.idle) THEN
		PERFORM pg_notify('rappel_work', '');
	END IF;
END
$$;

-- The version to start, by name and perhaps number; raises when there is none.
CREATE FUNCTION rappel.version_of(workflow text, version int) RETURNS bigint
LANGUAGE plpgsql STABLE AS $$
DECLARE
	v_id bigint;
BEGIN
	IF $2 IS NULL THEN
		SELECT w.version_id INTO v_id
		FROM rappel.workflows w WHERE w.workflow = $1;
	ELSE
		SELECT v.id INTO v_id FROM rappel.workflow_versions v
		WHERE v.workflow = $1 AND v.version = $2;
	END IF;
	IF v_id IS NULL THEN
		RAISE EXCEPTION 'workflow "%"% is not registered', $1,
			coalesce(' version ' || $2, '')
			USING ERRCODE = 'RP404',
			HINT = 'Register it: rappelctl workflow register FILE';
	END IF;
	RETURN v_id;
END
$$;

CREATE FUNCTION rappel.check_input(input json) RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
	IF $1 IS NULL THEN
		RAISE EXCEPTION 'the input is NULL; give JSON, such as {}'
			USING ERRCODE = 'RP400';
	END IF;
	IF octet_length($1::text) > 1048576 THEN
		RAISE EXCEPTION 'the input has % bytes; at most 1048576 fit',
			octet_length($1::text)
			USING ERRCODE = 'RP400',
			HINT = 'Store it elsewhere and pass a reference to it.';
	END IF;
END
$$;

-- Starts one instance and gives its id. With a key, the same start again
-- gives the same id, and a start with other input under that key is an error.
CREATE FUNCTION rappel.start_workflow(
	workflow text,
	input json DEFAULT '{}',
	key text DEFAULT NULL,
	priority int DEFAULT 0,
	start_at timestamptz DEFAULT NULL,
	name text DEFAULT NULL,
	version int DEFAULT NULL)
RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
	v_version bigint := rappel.version_of($1, $7);
	v_id uuid;
	v_hash bytea;
	v_old record;
BEGIN
	PERFORM rappel.check_input($2);
	IF $4 IS NULL OR $4 NOT BETWEEN -32767 AND 32767 THEN
		RAISE EXCEPTION 'priority % is not within -32767 and 32767', $4
			USING ERRCODE = 'RP400';
	END IF;
	v_id := rappel.uuid7(clock_timestamp());
	IF $3 IS NOT NULL THEN
		v_hash := sha256(convert_to($2::text, 'UTF8'));
		INSERT INTO rappel.idempotency_keys
			(workflow, key, instance_id, input_hash)
		VALUES ($1, $3, v_id, v_hash)
		ON CONFLICT DO NOTHING;
		IF NOT FOUND THEN
			SELECT k.instance_id, k.input_hash INTO STRICT v_old
			FROM rappel.idempotency_keys k
			WHERE k.workflow = $1 AND k.key = $3;
			IF v_old.input_hash <> v_hash THEN
				RAISE EXCEPTION 'key "%" of workflow "%" was used with other input, by instance %',
					$3, $1, v_old.instance_id
					USING ERRCODE = 'RP409';
			END IF;
			RETURN v_old.instance_id;
		END IF;
	END IF;
	INSERT INTO rappel.workflow_instances
		(id, version_id, priority, status, due_at, name, input)
	VALUES (v_id, v_version, $4,
		CASE WHEN $5 > clock_timestamp() THEN 'waiting' ELSE 'queued' END,
		CASE WHEN $5 > clock_timestamp() THEN $5 END, $6, $2);
	PERFORM rappel.wake_idle();
	RETURN v_id;
END
$$;

-- Starts one instance per input and gives their ids in the same order.
CREATE FUNCTION rappel.start_workflows(
	workflow text,
	inputs json[],
	keys text[] DEFAULT NULL,
	priority int DEFAULT 0,
	start_at timestamptz DEFAULT NULL,
	version int DEFAULT NULL)
RETURNS SETOF uuid LANGUAGE plpgsql AS $$
DECLARE
	v_version bigint := rappel.version_of($1, $6);
	v_wait boolean := coalesce($5 > clock_timestamp(), false);
BEGIN
	IF $3 IS NOT NULL AND cardinality($3) <> cardinality($2) THEN
		RAISE EXCEPTION '% keys for % inputs',
			cardinality($3), cardinality($2)
			USING ERRCODE = 'RP400';
	END IF;
	IF $4 IS NULL OR $4 NOT BETWEEN -32767 AND 32767 THEN
		RAISE EXCEPTION 'priority % is not within -32767 and 32767', $4
			USING ERRCODE = 'RP400';
	END IF;
	IF $3 IS NOT NULL THEN
		RETURN QUERY SELECT rappel.start_workflow(
			$1, t.i, t.k, $4, $5, NULL, $6)
		FROM unnest($2, $3) WITH ORDINALITY t (i, k, n) ORDER BY t.n;
		RETURN;
	END IF;
	PERFORM rappel.check_input(t.i) FROM unnest($2) t (i);
	RETURN QUERY INSERT INTO rappel.workflow_instances
		(id, version_id, priority, status, due_at, input)
	SELECT rappel.uuid7(clock_timestamp()), v_version, $4,
		CASE WHEN v_wait THEN 'waiting' ELSE 'queued' END,
		CASE WHEN v_wait THEN $5 END, t.i
	FROM unnest($2) WITH ORDINALITY t (i, n) ORDER BY t.n
	RETURNING id;
	PERFORM rappel.wake_idle();
END
$$;

-- Asks for an instance to be ended as cancelled. False when it has ended
-- already; raises when there is no such instance.
CREATE FUNCTION rappel.cancel_workflow(id uuid, cause text DEFAULT NULL)
RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
	v_status text;
BEGIN
	SELECT i.status INTO v_status
	FROM rappel.workflow_instances i WHERE i.id = $1;
	IF NOT FOUND THEN
		RAISE EXCEPTION 'there is no instance %', $1
			USING ERRCODE = 'RP404';
	END IF;
	IF v_status IN ('succeeded', 'failed', 'timed_out', 'cancelled') THEN
		RETURN false;
	END IF;
	INSERT INTO rappel.commands (instance_id, kind, cause)
	VALUES ($1, 'cancel', $2);
	PERFORM pg_notify('rappel_command', '');
	RETURN true;
END
$$;

---------------------------------------------------------------------------
-- Views for people
---------------------------------------------------------------------------

CREATE VIEW rappel.instances AS
SELECT i.id, v.workflow, v.version, i.status, i.priority, i.name,
	rappel.uuid7_time(i.id) AS created_at, i.started_at, i.ended_at,
	i.due_at, p.name AS pool, i.reason, i.input, i.output, i.error, i.cause
FROM rappel.workflow_instances i
JOIN rappel.workflow_versions v ON v.id = i.version_id
LEFT JOIN rappel.worker_pools p ON p.incarnation = i.owner;

-- A JSON string as text; NUL, which text cannot hold, as U+FFFD.
CREATE FUNCTION rappel.text_of(value json) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
	SELECT replace($1::text, '\u0000', '\ufffd')::json #>> '{}'
$$;

-- One entry of the journal a row. at is when the attempt ended or the event
-- happened, run how long the attempt ran in its worker (the slot's number).
CREATE VIEW rappel.history AS
SELECT l.instance_id, l.seq + e.n::int - 1 AS seq,
	CASE (e.e ->> 0)
		WHEN '1' THEN 'succeeded'
		WHEN '2' THEN 'failed'
		WHEN '5' THEN 'failed' -- with its worker
		WHEN '3' THEN 'fired'
		WHEN '4' THEN 'cancelled'
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
		AS cause
FROM rappel.action_log l
JOIN rappel.workflow_instances i ON i.id = l.instance_id
JOIN rappel.workflow_versions v ON v.id = i.version_id
CROSS JOIN LATERAL json_array_elements(l.entries) WITH ORDINALITY e (e, n);

INSERT INTO rappel.migrations (version, name) VALUES (1, 'rappel');
