/*
 * rappel/client - starts workflows and looks after them, over your own
 * connection of pg and in its current transaction. See docs/node.md.
 */
'use strict';

const { setTimeout: sleep } = require('node:timers/promises');

const errors = require('./lib/client_errors.js');
const { fromJson, toJson } = require('./lib/json.js');
const { Refused } = require('./lib/msgpack.js');

const { InvalidRequest, NotEnded, NotFound, RunFailed, WaitTimeout } = errors;

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;
const ENDED = Object.freeze(['succeeded', 'failed', 'timed_out', 'cancelled']);
const PAUSE_FIRST_MS = 10;
const PAUSE_MOST_MS = 1000;

const iso = (column) => `to_char(${column} AT TIME ZONE 'UTC', ` +
  `'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS ${column}`;

const START = 'SELECT rappel.start_workflow($1::text, $2::json, ' +
  'key => $3::text, priority => $4::int, start_at => $5::timestamptz, ' +
  'name => $6::text, version => $7::int)::text AS id';
const START_MANY = 'SELECT id::text AS id FROM rappel.start_workflows(' +
  '$1::text, $2::text[]::json[], keys => $3::text[], priority => $4::int, ' +
  'start_at => $5::timestamptz, version => $6::int) ' +
  'WITH ORDINALITY s (id, n) ORDER BY n';
const RUN = 'SELECT id::text AS id, workflow, version, status, priority, ' +
  `name, ${['created_at', 'started_at', 'ended_at', 'due_at'].map(iso)
    .join(', ')}, reason, error, cause, now()::text AS seen ` +
  'FROM rappel.instances WHERE id = $1::uuid';
// Whether the row is this transaction's own (or a savepoint's of it), and
// whether its snapshot will never show another one.
const WAITED = 'SELECT coalesce(age(i.xmin) <= 0 AND pg_xact_status((' +
  'pg_current_xact_id_if_assigned()::text::bigint - age(i.xmin))' +
  "::text::xid8) = 'in progress', false)::text AS own, " +
  "(current_setting('transaction_isolation') IN " +
  "('repeatable read', 'serializable'))::text AS fixed, " +
  'now()::text AS seen ' +
  'FROM rappel.workflow_instances i WHERE i.id = $1::uuid';
const RESULT = 'SELECT status, output::text AS output, error, cause ' +
  'FROM rappel.instances WHERE id = $1::uuid';
const HISTORY = 'SELECT seq, event, action, state, index, attempt, worker, ' +
  `${iso('at')}, extract(epoch FROM run)::float8 AS run, ` +
  'result::text AS result, error, cause, details::text AS details ' +
  'FROM rappel.history WHERE instance_id = $1::uuid ORDER BY seq';
const CANCEL = 'SELECT rappel.cancel_workflow($1::uuid, $2::text)::text AS yes';
const SUCCEED = 'SELECT rappel.task_succeed($1::text, $2::json)::text AS yes';
const FAIL =
  'SELECT rappel.task_fail($1::text, $2::text, $3::text)::text AS yes';
const HEARTBEAT =
  'SELECT rappel.task_heartbeat($1::text, $2::json)::text AS yes';

async function rowsOf(db, text, values) {
  if (typeof db?.query !== 'function') {
    throw new InvalidRequest('the first argument is no connection',
      'pass a Client, PoolClient or Pool of pg');
  }
  try {
    return (await db.query(text, values)).rows;
  } catch (error) {
    throw errors.translated(error);
  }
}

async function yes(db, text, values) {
  const [row] = await rowsOf(db, text, values);
  return row.yes === 'true' || row.yes === 't';
}

// ---- arguments and rows ----

function idOf(id) {
  if (typeof id === 'string' && UUID.test(id)) return id;
  throw new InvalidRequest(`${JSON.stringify(id) ?? id} is no id of a run`,
    'start() gives one, a UUID');
}

function jsonOf(value, what) {
  try {
    return toJson(value);
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    throw new InvalidRequest(`${what}: ${error.where}`);
  }
}

function timeOf(at) {
  if (at === undefined || at === null) return null;
  if (at instanceof Date && !Number.isNaN(at.getTime())) {
    return at.toISOString();
  }
  throw new InvalidRequest(`startAt ${JSON.stringify(at)} is no time`,
    'pass a Date');
}

/** Only these options; a slip of the pen must not go unnoticed. */
function optionsOf(options, ...known) {
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) {
      throw new InvalidRequest(`unknown option ${JSON.stringify(key)}`,
        `there are ${known.join(', ')}`);
    }
  }
  return options;
}

const numberOf = (value) => (value === null ? null : Number(value));
const dateOf = (text) => (text === null ? null : new Date(text));
const valueOf = (text) => (text === null ? null : fromJson(text));

function only(rows, id) {
  if (rows.length === 0) {
    throw new NotFound(`there is no run ${id}`,
      'was its start committed, and in this database?');
  }
  return rows[0];
}

function runOf(row) {
  return {
    id: row.id,
    workflow: row.workflow,
    version: Number(row.version),
    status: row.status,
    hasEnded: ENDED.includes(row.status),
    priority: Number(row.priority),
    name: row.name,
    createdAt: dateOf(row.created_at),
    startedAt: dateOf(row.started_at),
    endedAt: dateOf(row.ended_at),
    dueAt: dateOf(row.due_at),
    reason: row.reason,
    error: row.error,
    cause: row.cause,
  };
}

// ---- starting ----

async function start(db, workflow, input = {}, options = {}) {
  const { key, priority, startAt, name, version } = optionsOf(options,
    'key', 'priority', 'startAt', 'name', 'version');
  const [row] = await rowsOf(db, START, [workflow, jsonOf(input, 'input'),
    key ?? null, priority ?? 0, timeOf(startAt), name ?? null,
    version ?? null]);
  return row.id;
}

async function startMany(db, workflow, inputs, options = {}) {
  const { keys, priority, startAt, version } = optionsOf(options,
    'keys', 'priority', 'startAt', 'version');
  const texts = Array.from(inputs, (input, i) => jsonOf(input, `inputs[${i}]`));
  const rows = await rowsOf(db, START_MANY, [workflow, texts, keys ?? null,
    priority ?? 0, timeOf(startAt), version ?? null]);
  return rows.map(({ id }) => id);
}

// ---- looking ----

async function status(db, id) {
  return runOf(only(await rowsOf(db, RUN, [idOf(id)]), id));
}

async function result(db, id) {
  const row = only(await rowsOf(db, RESULT, [idOf(id)]), id);
  if (!ENDED.includes(row.status)) {
    throw new NotEnded(`run ${id} has not ended, it is ${row.status}`,
      'wait() for it');
  }
  if (row.status !== 'succeeded') {
    throw new RunFailed(id, row.status, row.error, row.cause);
  }
  return valueOf(row.output);
}

/** Refuses to wait in a transaction that will never show the end. */
async function canChange(db, id, seen) {
  const row = only(await rowsOf(db, WAITED, [id]), id);
  if (row.own === 'true') {
    throw new InvalidRequest(`run ${id} was started by this transaction, ` +
      'which has not committed', 'commit before wait()');
  }
  if (row.fixed === 'true' && row.seen === seen) {
    throw new InvalidRequest("the transaction's isolation level shows the " +
      'same state of the run for ever',
    'wait() outside of a transaction, or with READ COMMITTED');
  }
}

async function wait(db, id, options = {}) {
  const { timeoutMs = Infinity, signal } = optionsOf(options, 'timeoutMs',
    'signal');
  const until = performance.now() + timeoutMs;
  let pause = PAUSE_FIRST_MS;
  for (let first = true; ; first = false) {
    signal?.throwIfAborted();
    const row = only(await rowsOf(db, RUN, [idOf(id)]), id);
    if (ENDED.includes(row.status)) return runOf(row);
    if (first) await canChange(db, id, row.seen);
    const left = until - performance.now();
    if (left <= 0) {
      throw new WaitTimeout(`run ${id} is still ${row.status} after ` +
        `${timeoutMs} ms; it goes on`);
    }
    await sleep(Math.min(pause, left), undefined, { signal });
    pause = Math.min(pause * 1.5, PAUSE_MOST_MS);
  }
}

async function history(db, id) {
  const rows = await rowsOf(db, HISTORY, [idOf(id)]);
  if (rows.length === 0) await status(db, id); // or it is not there
  return rows.map((row) => ({
    seq: Number(row.seq),
    event: row.event,
    activation: numberOf(row.action),
    state: row.state,
    index: numberOf(row.index),
    attempt: numberOf(row.attempt),
    worker: numberOf(row.worker),
    at: dateOf(row.at),
    seconds: numberOf(row.run),
    result: valueOf(row.result),
    error: row.error,
    cause: row.cause,
    details: valueOf(row.details),
  }));
}

// ---- ending ----

async function cancel(db, id, cause = null) {
  return yes(db, CANCEL, [idOf(id), cause]);
}

async function taskSucceed(db, token, value = null) {
  return yes(db, SUCCEED, [token, jsonOf(value, 'result')]);
}

async function taskFail(db, token, error = 'States.TaskFailed', cause = null) {
  return yes(db, FAIL, [token, error, cause]);
}

async function taskHeartbeat(db, token, progress = null) {
  return yes(db, HEARTBEAT, [token, jsonOf(progress, 'progress')]);
}

const {
  translated: _, // ours
  ...classes
} = errors;

module.exports = {
  ...classes, ENDED, cancel, history, result, start, startMany, status,
  taskFail, taskHeartbeat, taskSucceed, wait,
};
