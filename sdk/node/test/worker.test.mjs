/*
 * What an action gets and gives, as a worker's supervisor sees it.
 */
import assert from 'node:assert/strict';
import { describe as suite, test } from 'node:test';
import { ACTIONS, COMPLETION, HEARTBEAT, Worked } from './supervisor.mjs';

const describe = (name, tests) => suite(name, { timeout: 60000 }, tests);
const SUCCEEDED = 0;
const FAILED = 1;
const LATER = 3;

describe('values', () => {
  test('come and go as they are', async (t) => {
    const worker = new Worked(t);
    for (const value of [
      null, true, 0, -1, 2 ** 53 - 1, 2n ** 53n, 2n ** 64n - 1n,
      -(2n ** 63n), -0, 0.1, 1e300, 5e-324, '', '\0', '😀 ü \u2028', [], {},
      [[], [{}], { a: [] }], { '': { ' ': [null] } },
      JSON.parse('{"__proto__": {"x": 1}, "constructor": 2}'),
    ]) {
      assert.deepStrictEqual(await worker.run('echo', value),
        [SUCCEEDED, value]);
      assert.deepStrictEqual(await worker.run('echo-sync', value),
        [SUCCEEDED, value]);
    }
    const large = { text: 'ü'.repeat(50000), list: Array(30000).fill(-1.5) };
    assert.deepStrictEqual(await worker.run('echo', large),
      [SUCCEEDED, large]);
  });

  test('what has no place in JSON is refused, with its place', async (t) => {
    const worker = new Worked(t);
    for (const [what, place] of Object.entries({
      nan: '$.a[1] is NaN', infinity: '$ is -Infinity',
      hole: '$.list[1] is undefined', function: '$.f is a function',
      symbol: '$[0] is a symbol', date: '$.when is a Date',
      map: '$ is a Map', set: '$.of is a Set',
      instance: '$[0] is an error (NotFound)', bytes: '$ is bytes',
      surrogate: '$.text is a string with half', key: 'half of a surrogate',
      cycle: 'a part of itself', deep: 'deeper than 32 levels',
      bigint: 'fit in 64 bits', promise: '$[0] is a promise', getter: 'threw Error: no x',
    })) {
      const [status, name, cause] = await worker.run('invalid', what);
      assert.deepStrictEqual([status, name], [FAILED, 'Rappel.ResultInvalid']);
      assert.ok(cause.includes(place), `${what}: ${cause}`);
    }
    assert.deepStrictEqual(await worker.run('noop'), [SUCCEEDED, null]);
  });

  test('what JSON.stringify() would do with the rest', async (t) => {
    const worker = new Worked(t);
    for (const [what, value] of Object.entries({
      undefined: null, left: { b: 1 }, json: { at: 'stands for it' },
      url: 'http://127.0.0.1/x', none: {},
      numbers: [0, -0, 1.5, 2 ** 53, 2n ** 63n, -(2n ** 63n), 5, 1e300],
    })) {
      assert.deepStrictEqual(await worker.run('valid', what),
        [SUCCEEDED, value], what);
    }
  });

  test('the largest value is what the environment says', async (t) => {
    const worker = new Worked(t, [ACTIONS], { RAPPEL_VALUE_BYTES_MAX: '100' });
    assert.deepStrictEqual(await worker.run('echo', 'x'.repeat(98)),
      [SUCCEEDED, 'x'.repeat(98)]);
    const [status, name, cause] = await worker.run('echo', 'x'.repeat(99));
    assert.deepStrictEqual([status, name],
      [FAILED, 'States.DataLimitExceeded']);
    assert.match(cause, /more than 100 bytes packed/);
  });
});

describe('errors', () => {
  const cases = {
    plain: ['Error', /^plain\n +at .*actions\.mjs[^]*caused by TypeError: inner/,
      undefined],
    class: ['OrderNotFound', /^order 17\n +at .*actions\.mjs/,
      ['NotFound', 'Error']],
    name: ['Quota.Exceeded', /^named\n/, ['RangeError', 'Error']],
    code: ['Error', /^no file\n/, ['ENOENT']],
    action: ['Order.Unknown', /^there is no 17$/, ['ActionError', 'Error']],
    text: ['Error', /^thrown: only text$/, undefined],
    nul: ['Error', /^a\?b\ufffd\n/, undefined],
    emitted: ['Error', /^emitted\n +at .*actions\.mjs/, undefined],
  };
  test('become names, causes and kinds', async (t) => {
    const worker = new Worked(t);
    for (const [what, [name, cause, kinds]] of Object.entries(cases)) {
      const answer = await worker.run('throw', what);
      assert.deepStrictEqual(answer.slice(0, 2), [FAILED, name], what);
      assert.match(answer[2], cause);
      assert.doesNotMatch(answer[2], /\/sdk\/node\/lib\/|node:/);
      assert.deepStrictEqual(answer[3]?.kinds, kinds, what);
    }
  });

  test('are cut to what the protocol takes', async (t) => {
    const worker = new Worked(t);
    const [, name, cause] = await worker.run('throw', 'long');
    assert.equal(name, 'x'.repeat(128));
    assert.equal(cause, 'ü'.repeat(16384));
  });

  test('of what nobody awaits are logged, and cost nobody', async (t) => {
    const worker = new Worked(t);
    assert.deepStrictEqual(await worker.run('stray'), [SUCCEEDED, 'fine']);
    assert.match(worker.stderr, /^ts=\S+ level=error comp=worker\/3 msg="unhandled rejection in an action" error=Error cause="nobody waits/m);
    assert.match(worker.stderr, /msg="uncaught exception in an action".*nor for this/);
    assert.deepStrictEqual(await worker.run('noop'), [SUCCEEDED, null]);
  });

  test('of an action that is not there', async (t) => {
    const worker = new Worked(t);
    const [status, name, cause] = await worker.run('nowhere');
    assert.deepStrictEqual([status, name], [FAILED, 'Rappel.UnknownAction']);
    assert.match(cause, /"nowhere"/);
  });
});

describe('the context', () => {
  test('says which attempt this is', async (t) => {
    const worker = new Worked(t);
    const id = '0199c1a2-6e5f-7000-8a3b-5c1d2e3f4a5b';
    const [, told] = await worker.run('context', [1],
      { activation: 70000, attempt: 3 });
    assert.deepStrictEqual(told, {
      action: 'context', instanceId: id, activation: 70000, attempt: 3,
      idempotencyKey: `${id}.70000`, taskToken: `${id}.70000.3`,
      deadline: null, timeLeft: null, input: [1],
    });
    const [, timed] = await worker.run('context', null,
      { timeout_us: 60000000, more: [30000000, 'more', ['parts']] });
    assert.ok(timed.timeLeft > 50000 && timed.timeLeft <= 60000, timed);
    assert.ok(Math.abs(timed.deadline - timed.timeLeft) < 50, timed);
  });

  test('logs with the ids of the attempt', async (t) => {
    const worker = new Worked(t);
    await worker.run('logs');
    await worker.until(() => worker.stderr.includes('\n'));
    assert.match(worker.stderr, new RegExp('^ts=\\d{4}-\\d\\d-\\d\\dT[\\d:.]+Z ' +
      'level=info comp=worker/3 msg="two \\\\"words\\\\"\\\\nand more" ' +
      'order_id=17 text="a b" action=logs ' +
      'instance=0199c1a2-6e5f-7000-8a3b-5c1d2e3f4a5b activation=7 ' +
      'attempt=1\\n$'));
  });

  test('sends heartbeats, a few a second, the first and the last', async (t) => {
    const worker = new Worked(t);
    const [token] = worker.dispatch({ action: 'beats', input: 20 });
    await worker.answer(token);
    const beats = worker.frames.filter(([type]) => type === HEARTBEAT);
    const took = worker.answers.get(token)[5] / 1e6;
    assert.ok(beats.length >= 2 && beats.length <= 2 + 4 * took,
      `${beats.length} in ${took} s`);
    assert.deepStrictEqual(beats[0].slice(3), [1, [[token, { done: 1 }]]]);
    assert.deepStrictEqual(beats.at(-1).slice(3), [1, [[token, { done: 20 }]]]);
    assert.equal(worker.frames.at(-1)[0], COMPLETION); // none behind it
  });

  test('sends them as often as the state wants them', async (t) => {
    const worker = new Worked(t);
    const [token] = worker.dispatch({ action: 'beats', input: 10,
      more: [200000] });
    await worker.answer(token);
    const beats = worker.frames.filter(([type]) => type === HEARTBEAT);
    // Every 50 ms, for 300 ms at least.
    assert.ok(beats.length >= 4, `${beats.length} heartbeats`);
    assert.ok(beats[2][4][0][1].done > beats[1][4][0][1].done);
  });

  test('sends a heartbeat though the loop is blocked', async (t) => {
    const worker = new Worked(t);
    const [token] = worker.dispatch({ action: 'beatsBlocked', input: 1000 });
    await worker.find(([type]) => type === HEARTBEAT);
    assert.ok(!worker.answers.has(token));
    await worker.answer(token);
  });

  test('refuses a progress of more than 4 KiB', async (t) => {
    const worker = new Worked(t);
    const [status, name, cause] = await worker.run('beatsTooMuch');
    assert.deepStrictEqual([status, name], [FAILED, 'TypeError']);
    assert.match(cause, /progress: \$ is more than 4096 bytes/);
  });

  test('of an action that somebody else finishes', async (t) => {
    const worker = new Worked(t);
    assert.deepStrictEqual(await worker.run('later'), [LATER]);
  });
});
