/*
 * Node's workers in a real pool: rappeld, its flusher and PostgreSQL.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import * as rappel from 'rappel/client';
import { Stage, task } from './stage.mjs';

const ACTIONS = fileURLToPath(new URL('pool_actions.mjs', import.meta.url));
const LIMIT = { timeoutMs: 30000 };

/** Until condition() gives something. */
async function until(what, condition) {
  for (const end = performance.now() + 20000; performance.now() < end;) {
    const found = await condition();
    if (found) return found;
    await sleep(10);
  }
  throw new Error(`too late: ${what}`);
}

describe('a pool of Node workers', { timeout: 110000 }, () => {
  let stage;
  let db;

  before(async () => {
    stage = await Stage.open();
    ({ db } = stage);
    for (const name of ['echo', 'noop', 'whoami', 'type', 'fails', 'blocks',
      'together', 'waits', 'silent', 'handsOut']) {
      await stage.register(name, task(name));
    }
    await stage.pool([ACTIONS], { RAPPEL_CONCURRENCY: 4 }, { workers: 2 });
  });
  after(() => stage?.close());

  const start = (name, input) => rappel.start(db, name, input);
  const end = (id) => rappel.wait(db, id, LIMIT);
  async function output(name, input) {
    const id = await start(name, input);
    await end(id);
    return rappel.result(db, id);
  }

  test('200 KiB byte for byte', async () => {
    let text = '';
    for (let i = 0; text.length < 200 << 10; i++) {
      text += String.fromCodePoint(1 + (i * 7919) % 0xd7ff);
    }
    assert.equal(await output('echo', text), text);
    const bytes = 'x'.repeat(200 << 10);
    const id = await start('echo', { bytes });
    await end(id);
    const { rows: [row] } = await db.query(
      'SELECT input::text = output::text AS same, octet_length(output::text)' +
      ' AS bytes FROM rappel.instances WHERE id = $1', [id]);
    assert.deepStrictEqual(row, { same: true, bytes: bytes.length + 12 });
  });

  test('integers, doubles, Unicode, containers', async () => {
    const value = {
      integers: [0, -1, 2 ** 53 - 1, 2n ** 53n, -(2n ** 53n), 2n ** 63n,
        2n ** 64n - 1n, -(2n ** 63n)],
      doubles: [-0, 0.1, 1e300, -1e-300, 5e-324, 1.7976931348623157e308,
        2 ** 53, 1e21],
      texts: ['', 'ü€😀', '\u0001\u001f"\\/\u2028\ufeff', '\u{10ffff}'],
      containers: [[], {}, [[]], { '': { a: [null, true, false] } }],
    };
    assert.deepStrictEqual(await output('echo', value), value);
    assert.equal(await output('type', 2n ** 53n), 'bigint');
    assert.equal(await output('type', 2 ** 53 - 1), 'number');
    let deep = 1;
    for (let i = 0; i < 32; i++) deep = [deep];
    assert.deepStrictEqual(await output('echo', deep), deep);
  });

  test('Catch takes a class above the error\'s own', async () => {
    await stage.register('caught', {
      StartAt: 'T',
      States: {
        T: { Type: 'Task', Resource: 'fails', End: true,
          Catch: [{ ErrorEquals: ['RangeError'], Next: 'Wrong' },
            { ErrorEquals: ['NotFound'], ResultPath: '$.error', Next: 'P' }] },
        P: { Type: 'Pass', End: true },
        Wrong: { Type: 'Fail' },
      },
    });
    const { error } = await output('caught', { order: 17 });
    assert.equal(error.Error, 'OrderNotFound');
    assert.match(error.Cause, /^order 17\n +at .*pool_actions\.mjs/);
    const id = await start('fails');
    const run = await end(id);
    assert.deepStrictEqual([run.status, run.error], ['failed',
      'OrderNotFound']);
    await assert.rejects(rappel.result(db, id), (failed) =>
      failed instanceof rappel.RunFailed && failed.error === 'OrderNotFound');
    const [entry] = await rappel.history(db, id);
    assert.deepStrictEqual([entry.event, entry.state, entry.attempt,
      entry.error, entry.details.kinds],
    ['failed', 'T', 1, 'OrderNotFound', ['NotFound', 'Error']]);
  });

  test('as many run at once as the group says', async () => {
    const ids = await rappel.startMany(db, 'together', Array(24).fill(200));
    await Promise.all(ids.map(end));
    const most = await Promise.all(ids.map((id) => rappel.result(db, id)));
    assert.equal(Math.max(...most), 4);
  });

  test('a cancelled run aborts the signal, and its worker lives', async () => {
    const before = await stage.pids();
    const id = await start('waits');
    await until('it waits', async () =>
      (await stage.log()).includes('for_what="the signal"'));
    assert.match(await stage.log(), new RegExp('comp=worker/\\d msg="waiting" ' +
      `for_what="the signal" action=waits instance=${id} activation=\\d+ ` +
      'attempt=1 slot=\\d spawn=1'));
    assert.equal(await rappel.cancel(db, id), true);
    assert.equal((await end(id)).status, 'cancelled');
    assert.equal(await rappel.cancel(db, id), false);
    await sleep(1500); // the grace of one that does not hear
    assert.deepStrictEqual((await stage.pids()).sort(), before.sort());
  });

  test('an action that goes on in spite of it costs its worker', async () => {
    const before = await stage.pids();
    const id = await start('silent');
    await until('it runs', async () =>
      (await rappel.status(db, id)).status === 'running');
    await sleep(200);
    await rappel.cancel(db, id);
    assert.equal((await end(id)).status, 'cancelled');
    await until('another worker', async () => {
      const now = await stage.pids();
      return now.length === 2 && now.some((pid) => !before.includes(pid));
    });
    assert.equal(await output('type', 'works'), 'string');
  });

  test('HeartbeatSeconds', async () => {
    await stage.register('beating', task('beats', { HeartbeatSeconds: 1 }));
    await stage.register('mute', task('silent', { HeartbeatSeconds: 1,
      TimeoutSeconds: 20 }));
    const beating = await start('beating', 20);
    const mute = await end(await start('mute'));
    assert.equal(mute.error, 'States.HeartbeatTimeout');
    assert.equal((await end(beating)).status, 'succeeded');
  });

  test('somebody else finishes it', async () => {
    const id = await start('handsOut');
    const token = await until('a token', async () => new RegExp(
      `token=(${id}\\S+)`).exec(await stage.log())?.[1]);
    await until('it is open', async () =>
      (await rappel.history(db, id)).length > 0);
    assert.equal(await rappel.taskHeartbeat(db, token, { half: 2n ** 60n }),
      true);
    assert.equal(await rappel.taskSucceed(db, token, { big: 2n ** 63n }),
      true);
    assert.equal((await end(id)).status, 'succeeded');
    assert.deepStrictEqual(await rappel.result(db, id), { big: 2n ** 63n });
    assert.equal(await rappel.taskFail(db, token, 'Too.Late'), false);
    await assert.rejects(rappel.taskSucceed(db, 'x', 1),
      rappel.InvalidRequest);
  });

  // With one place it is what waits that is taken back, with several also
  // what has a place that the loop does not come to.
  for (const places of [1, 4]) {
    test(`an action that blocks one of ${places} delays nobody`, async () => {
      await stage.pool([ACTIONS], { RAPPEL_CONCURRENCY: places },
        { workers: 2 });
      for (let i = 0; i < 3; i++) { // so that noop is known to be quick
        const warm = await rappel.startMany(db, 'noop', Array(50).fill(null));
        await Promise.all(warm.map(end));
      }
      const slow = await start('blocks', 2500);
      await sleep(100);
      const begun = performance.now();
      const quick = await rappel.startMany(db, 'noop', Array(300).fill(null));
      for (const id of quick) {
        assert.equal((await end(id)).status, 'succeeded');
      }
      const took = performance.now() - begun;
      assert.equal((await rappel.status(db, slow)).hasEnded, false);
      assert.ok(took < 2200, `${took} ms`);
      assert.equal((await end(slow)).status, 'succeeded');
    });
  }
});
