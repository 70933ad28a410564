/*
 * rappel/client against a real PostgreSQL, and its JSON.
 */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';
import * as rappel from 'rappel/client';
import { Stage, task } from './stage.mjs';

const require = createRequire(import.meta.url);
const { fromJson, toJson } = require('../lib/json.js');

const NOBODY = '0199c1a2-6e5f-7000-8a3b-5c1d2e3f4a5b';

describe('JSON', () => {
  const pairs = [
    [null, 'null'], [true, 'true'], [0, '0'], [-0, '-0.0'], [1.5, '1.5'],
    [2 ** 53 - 1, '9007199254740991'], [2n ** 53n, '9007199254740992'],
    [2 ** 53, '9007199254740992.0'], [2n ** 64n - 1n, '18446744073709551615'],
    [-(2n ** 63n), '-9223372036854775808'], [1e300, '1e+300'],
    [0.12345678901234568, '0.12345678901234568'],
    ['"\\1234567890123456789', '"\\"\\\\1234567890123456789"'],
    [{ '12345678901234567890': [12345678901234567890n, 1] },
      '{"12345678901234567890":[12345678901234567890,1]}'],
    ['ü\u2028😀\0', '"ü\u2028😀\\u0000"'], [[], '[]'], [{}, '{}'],
  ];
  for (const [value, text] of pairs) {
    test(`${text.slice(0, 40)} is exact both ways`, () => {
      assert.equal(toJson(value), text);
      assert.deepStrictEqual(fromJson(text), value);
    });
  }

  test('integers among what looks like them', () => {
    assert.deepStrictEqual(
      fromJson('[ 1.00000000000000000, -12345678901234567890e-1 ,' +
        '123456789012345678901234567890, "x\\"1234567890123456789", 7 ]'),
      [1, -1234567890123456789, 123456789012345678901234567890n,
        'x"1234567890123456789', 7]);
    const proto = fromJson('{"__proto__": {"a": 12345678901234567890}}');
    assert.deepStrictEqual(Object.keys(proto), ['__proto__']);
    assert.equal(toJson(proto), '{"__proto__":{"a":12345678901234567890}}');
    assert.throws(() => fromJson('[12345678901234567890'), SyntaxError);
  });
});

describe('a client', { timeout: 100000 }, () => {
  let stage;
  let db;
  before(async () => {
    stage = await Stage.open();
    ({ db } = stage);
    await stage.register('ship', task('nobody-serves-it'));
    await stage.register('pass',
      { StartAt: 'P', States: { P: { Type: 'Pass', End: true } } });
  });
  after(() => stage?.close());

  test('starts in your transaction, if and when it commits', async () => {
    const mine = await stage.connect();
    await mine.query('BEGIN');
    const gone = await rappel.start(mine, 'ship', { order: 1 });
    await mine.query('ROLLBACK');
    await assert.rejects(rappel.status(db, gone), rappel.NotFound);
    await mine.query('BEGIN');
    const id = await rappel.start(mine, 'ship', { order: 2 });
    await assert.rejects(rappel.status(db, id), rappel.NotFound);
    await mine.query('COMMIT');
    const run = await rappel.status(db, id);
    assert.equal(run.id, id);
    assert.deepStrictEqual([run.workflow, run.version, run.status,
      run.hasEnded, run.priority, run.endedAt, run.error],
    ['ship', 1, 'queued', false, 0, null, null]);
    assert.ok(Math.abs(run.createdAt - Date.now()) < 60000, run.createdAt);
  });

  test('passes every option', async () => {
    const startAt = new Date(Date.now() + 3600000);
    const id = await rappel.start(db, 'ship', { order: 3 },
      { key: 'k', priority: 5, startAt, name: 'lamp', version: 1 });
    const run = await rappel.status(db, id);
    assert.deepStrictEqual([run.status, run.priority, run.name, run.dueAt],
      ['waiting', 5, 'lamp', startAt]);
    assert.equal(await rappel.start(db, 'ship', { order: 3 }, { key: 'k' }),
      id);
    await assert.rejects(rappel.start(db, 'ship', { order: 4 }, { key: 'k' }),
      (error) => error instanceof rappel.Conflict &&
        error.cause.code === 'RP409' && /used with other input/.test(error));
  });

  test('inputs are stored as they are', async () => {
    const input = { integer: 2n ** 63n, double: 2 ** 53, zero: -0, deep: [[]],
      text: 'ü😀\u2028' };
    const id = await rappel.start(db, 'ship', input);
    const { rows: [row] } = await db.query(
      'SELECT input::text FROM rappel.instances WHERE id = $1', [id]);
    assert.equal(row.input, '{"integer":9223372036854775808,' +
      '"double":9007199254740992.0,"zero":-0.0,"deep":[[]],' +
      '"text":"ü😀\u2028"}');
    const none = await rappel.start(db, 'ship');
    const { rows: [empty] } = await db.query(
      'SELECT input::text FROM rappel.instances WHERE id = $1', [none]);
    assert.equal(empty.input, '{}');
  });

  test('starts many in one statement', async () => {
    const inputs = Array.from({ length: 300 }, (_, i) => ({ i, text: '"{,}\\' }));
    const ids = await rappel.startMany(db, 'ship', inputs);
    assert.equal(new Set(ids).size, 300);
    const { rows } = await db.query('SELECT id::text, input FROM ' +
      'rappel.instances WHERE id = ANY($1::uuid[])', [ids]);
    const byId = new Map(rows.map((row) => [row.id, row.input]));
    assert.deepStrictEqual(ids.map((id) => byId.get(id)), inputs);
    const keyed = await rappel.startMany(db, 'ship', [1, 2],
      { keys: ['a', 'b'] });
    assert.deepStrictEqual(
      await rappel.startMany(db, 'ship', [1, 2], { keys: ['a', 'b'] }), keyed);
    await assert.rejects(
      rappel.startMany(db, 'ship', [1, 2], { keys: ['a'] }),
      rappel.InvalidRequest);
    assert.deepStrictEqual(await rappel.startMany(db, 'ship', []), []);
  });

  test('says what is wrong', async () => {
    const wrong = [
      [() => rappel.start(db, 'nowhere'), rappel.NotFound,
        /workflow "nowhere" is not registered \(Register it/],
      [() => rappel.start(db, 'ship', 1, { version: 9 }), rappel.NotFound,
        /version 9/],
      [() => rappel.start(db, 'ship', 1, { priority: 99999 }), rappel.InvalidRequest,
        /priority 99999/],
      [() => rappel.start(db, 'ship', { when: new Date() }), rappel.InvalidRequest,
        /input: \$\.when is a Date/],
      [() => rappel.startMany(db, 'ship', [1, NaN]), rappel.InvalidRequest,
        /inputs\[1\]: \$ is NaN/],
      [() => rappel.start(db, 'ship', 1, { startAt: 'now' }), rappel.InvalidRequest,
        /startAt "now" is no time/],
      [() => rappel.start(db, 'ship', 1, { keys: 'x' }), rappel.InvalidRequest,
        /unknown option "keys" \(there are key,/],
      [() => rappel.start(db, 'ship', 'x'.repeat(1 << 20)), rappel.InvalidRequest,
        /bytes; at most 1048576 fit/],
      [() => rappel.start({}, 'ship'), rappel.InvalidRequest, /no connection/],
      [() => rappel.status(db, 'x'), rappel.InvalidRequest, /"x" is no id of a run/],
      [() => rappel.history(db, NOBODY), rappel.NotFound, /there is no run/],
      [() => rappel.cancel(db, NOBODY), rappel.NotFound, /there is no instance/],
      [() => rappel.wait(db, NOBODY), rappel.NotFound, /was its start committed/],
    ];
    for (const [promise, type, text] of wrong) {
      await assert.rejects(promise, (error) => {
        assert.ok(error instanceof type, error);
        assert.ok(error instanceof rappel.RappelError);
        assert.match(error.message, text);
        return true;
      });
    }
    await assert.rejects(rappel.start(await stage.connect(
      { database: 'postgres' }), 'ship'), (error) =>
      error instanceof rappel.SchemaMissing && /db migrate/.test(error.hint));
  });

  test('waits no longer than it can come true', async () => {
    const mine = await stage.connect();
    await mine.query('BEGIN');
    const id = await rappel.start(mine, 'ship');
    await assert.rejects(rappel.wait(mine, id), /commit before wait\(\)/);
    await mine.query('SAVEPOINT s');
    const nested = await rappel.start(mine, 'ship');
    await assert.rejects(rappel.wait(mine, nested), /commit before wait\(\)/);
    await mine.query('COMMIT');
    await mine.query('BEGIN ISOLATION LEVEL REPEATABLE READ');
    await assert.rejects(rappel.wait(mine, id), /same state of the run/);
    await mine.query('ROLLBACK');
    await mine.query("SET default_transaction_isolation = 'serializable'");
    await assert.rejects(rappel.wait(mine, id, { timeoutMs: 60 }),
      (error) => error instanceof rappel.WaitTimeout &&
        /still queued after 60 ms/.test(error.message));
    await assert.rejects(
      rappel.wait(db, id, { signal: AbortSignal.timeout(50) }));
    await assert.rejects(rappel.result(db, id), rappel.NotEnded);
  });

  test('cancels, and sees it', async () => {
    // Nothing runs it: the wish is recorded, once for each time.
    const id = await rappel.start(db, 'ship');
    assert.equal(await rappel.cancel(db, id, 'not wanted'), true);
    const { rows } = await db.query(
      'SELECT kind, cause FROM rappel.commands WHERE instance_id = $1', [id]);
    assert.deepStrictEqual(rows, [{ kind: 'cancel', cause: 'not wanted' }]);
  });
});
