/*
 * The worker, as its supervisor sees it: every frame, in real processes.
 */
import assert from 'node:assert/strict';
import { describe as suite, test } from 'node:test';
import { ACTIONS, COMPLETION, HEARTBEAT, Worked } from './supervisor.mjs';

const describe = (name, tests) => suite(name, { timeout: 60000 }, tests);
const SUCCEEDED = 0;
const FAILED = 1;
const TAKEN_BACK = 2;
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
  };
  test('become names, causes and kinds', async (t) => {
    const worker = new Worked(t);
    for (const [what, [name, cause, kinds]] of Object.entries(cases)) {
      const answer = await worker.run('throw', what);
      assert.deepStrictEqual(answer.slice(0, 2), [FAILED, name], what);
      assert.match(answer[2], cause);
      assert.ok(!answer[2].includes('/sdk/node/lib/'), answer[2]);
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

describe('concurrency', () => {
  test('is what the environment says, and begins in order', async (t) => {
    const worker = new Worked(t, [ACTIONS], { RAPPEL_CONCURRENCY: '3' });
    const [, , , , hello] = await worker.hello;
    assert.deepStrictEqual([hello.concurrency, hello.window, hello.recall,
      hello.cancel, hello.language, hello.protocol],
    [3, 256, true, true, 'node', 1]);
    assert.equal(hello.scoreboard, undefined);
    const names = Array.from({ length: 8 }, (_, i) => `n${i}`);
    const tokens = worker.dispatch(
      ...names.slice(0, 2).map((input) => ({ action: 'gate', input })),
      { action: 'open' },
      ...names.slice(2).map((input) => ({ action: 'gate', input })));
    // One of three opens the two before it; three run then, three wait.
    const [, , first] = await worker.answer(tokens[2]);
    assert.deepStrictEqual(first, { most: 2, order: ['n0', 'n1'] });
    await Promise.all([0, 1].map((i) => worker.answer(tokens[i])));
    // They hold all three places: this one waits, and no answer is there.
    const [late] = worker.dispatch({ action: 'noop' });
    await new Promise((resolve) => { setTimeout(resolve, 50); });
    assert.equal(worker.answers.size, 3);
    worker.recall(late, ...tokens.slice(3));
    assert.deepStrictEqual(await worker.answer(late), [TAKEN_BACK, 0]);
    for (const token of tokens.slice(6)) {
      assert.deepStrictEqual(await worker.answer(token), [TAKEN_BACK, 0]);
    }
    assert.equal(worker.answers.size, 7);
    assert.ok(!worker.exited);
  });

  test('has a default, and a window four times as large', async (t) => {
    const [, , , , hello] = await new Worked(t).hello;
    assert.deepStrictEqual([hello.concurrency, hello.window], [16, 256]);
    const [, , , , more] = await new Worked(t, [ACTIONS],
      { RAPPEL_CONCURRENCY: '200' }).hello;
    assert.deepStrictEqual([more.concurrency, more.window], [200, 800]);
    const [, , , , most] = await new Worked(t, [ACTIONS],
      { RAPPEL_CONCURRENCY: '1024' }).hello;
    assert.deepStrictEqual([most.concurrency, most.window], [1024, 1024]);
  });

  test('many at once are answered together', async (t) => {
    const worker = new Worked(t);
    await worker.run('noop');
    const before = worker.frames.length;
    const tokens = worker.dispatch(
      ...Array.from({ length: 200 }, () => ({ action: 'noop' })));
    await Promise.all(tokens.map((token) => worker.answer(token)));
    const frames = worker.frames.length - before;
    assert.ok(frames <= 20, `${frames} frames for 200 answers`);
  });

  test('what is quick is answered before what blocks begins', async (t) => {
    const worker = new Worked(t);
    for (let round = 0; round < 3; round++) {
      const [quick, slow] = worker.dispatch({ action: 'noop' },
        { action: 'block', input: 200 });
      await worker.answer(quick);
      assert.ok(!worker.answers.has(slow), `round ${round}`);
      await worker.answer(slow);
    }
  });
});

describe('RECALL', () => {
  test('gets back what waits behind a blocked loop', async (t) => {
    const worker = new Worked(t);
    const [slow, ...rest] = worker.dispatch({ action: 'block', input: 1500 },
      ...Array.from({ length: 50 }, () => ({ action: 'noop' })));
    const begun = performance.now();
    // Until it has begun, it may be taken back as well.
    await new Promise((resolve) => { setTimeout(resolve, 300); });
    worker.recall(slow, ...rest.slice(0, 40));
    const answers = await Promise.all(rest.slice(0, 40).map((token) =>
      worker.answer(token)));
    assert.ok(answers.every(([status]) => status === TAKEN_BACK));
    assert.ok(performance.now() - begun < 1300, 'the loop was not waited for');
    assert.ok(!worker.answers.has(slow));
    assert.deepStrictEqual((await worker.answer(slow))[2], 'blocked');
    for (const token of rest.slice(40)) {
      assert.equal((await worker.answer(token))[0], SUCCEEDED);
    }
  });

  test('of what runs, has ended or is unknown says nothing', async (t) => {
    const worker = new Worked(t);
    const [runs] = worker.dispatch({ action: 'gate', input: 'x' });
    const [done] = worker.dispatch({ action: 'noop' });
    await worker.answer(done); // so the one before it has begun
    worker.recall(done, runs, 1, 2n ** 60n);
    const [open] = worker.dispatch({ action: 'open' });
    await worker.answer(open);
    assert.equal((await worker.answer(runs))[0], SUCCEEDED);
    assert.equal(worker.frames.filter(([type]) => type === COMPLETION)
      .flatMap((found) => found[4]).length, 3);
  });

  test('whatever is taken back never begins, a thousand times', async (t) => {
    const worker = new Worked(t, [ACTIONS], { RAPPEL_CONCURRENCY: '2' });
    let runs = 0;
    let back = 0;
    for (let round = 0; round < 40; round++) {
      const tokens = worker.dispatch(...Array.from({ length: 50 }, (_, i) =>
        (i % 10 === 0 ? { action: 'block', input: 1 } : { action: 'noop' })));
      worker.recall(...tokens.filter((_, i) => i % 3 === 0));
      for (const token of tokens) {
        const [status] = await worker.answer(token);
        if (status === TAKEN_BACK) back++;
        else runs++;
      }
    }
    assert.equal(runs + back, 2000);
    assert.ok(back > 0, 'none was taken back');
    // One answer each, no more.
    assert.equal(worker.frames.filter(([type]) => type === COMPLETION)
      .flatMap((found) => found[4]).length, 2000);
  });

  test('more than there is room for waits for its turn', async (t) => {
    const worker = new Worked(t);
    const [slow] = worker.dispatch({ action: 'block', input: 1500 });
    await new Promise((resolve) => { setTimeout(resolve, 200); });
    // Each thousand is recalled behind the blocked loop, and passed by it
    // only later: 20,000 are more than it can be behind.
    let tokens;
    for (let round = 0; round < 20; round++) {
      tokens = worker.dispatch(
        ...Array.from({ length: 1000 }, () => ({ action: 'noop' })));
      worker.recall(...tokens);
    }
    await worker.answer(slow);
    for (const token of tokens) await worker.answer(token);
    assert.equal(worker.answers.size, 20001);
    assert.deepStrictEqual(await worker.run('noop'), [SUCCEEDED, null]);
  });
});

describe('CANCEL', () => {
  test('aborts the signal of what runs', async (t) => {
    const worker = new Worked(t);
    const [token, other] = worker.dispatch({ action: 'wait' },
      { action: 'gate', input: 'goes on' });
    await worker.find(([type]) => type === HEARTBEAT);
    worker.cancel(token, 12345);
    const [status, , name, , { kinds }] = await worker.answer(token);
    assert.deepStrictEqual([status, name], [FAILED, 'Rappel.Cancelled']);
    assert.ok(kinds.includes('AbortError'), kinds);
    await worker.run('open');
    assert.equal((await worker.answer(other))[0], SUCCEEDED);
  });

  test('of what has not begun answers it at once', async (t) => {
    const worker = new Worked(t, [ACTIONS], { RAPPEL_CONCURRENCY: '1' });
    const [, waits] = worker.dispatch({ action: 'deaf' }, { action: 'noop' });
    worker.cancel(waits);
    assert.deepStrictEqual(await worker.answer(waits), [TAKEN_BACK, 0]);
  });
});

describe('time', () => {
  test('aborts the signal when it is over', async (t) => {
    const worker = new Worked(t);
    const [token] = worker.dispatch({ action: 'wait', timeout_us: 100000 });
    const [status, runUs, name] = await worker.answer(token);
    assert.deepStrictEqual([status, name], [FAILED, 'States.Timeout']);
    assert.ok(runUs >= 99000 && runUs < 5000000, runUs);
  });

  test('counts from the begin, not from the dispatch', async (t) => {
    const worker = new Worked(t, [ACTIONS], { RAPPEL_CONCURRENCY: '1' });
    const [, token] = worker.dispatch({ action: 'block', input: 400 },
      { action: 'context', timeout_us: 300000 });
    const [, , { timeLeft }] = await worker.answer(token);
    assert.ok(timeLeft > 200, timeLeft);
  });
});

describe('the end', () => {
  test('DRAIN lets all that came before it end', async (t) => {
    const worker = new Worked(t, [ACTIONS], { RAPPEL_CONCURRENCY: '2' });
    const tokens = worker.dispatch({ action: 'beats', input: 3 },
      ...Array.from({ length: 20 }, () => ({ action: 'noop' })));
    worker.drain();
    assert.equal(await worker.exit, 0);
    for (const token of tokens) {
      assert.equal(worker.answers.get(token)[4], SUCCEEDED);
    }
  });

  test('DRAIN of one that has nothing to do', async (t) => {
    const worker = new Worked(t);
    await worker.hello;
    worker.drain();
    assert.equal(await worker.exit, 0);
    assert.equal(worker.stderr, '');
  });

  test('a result larger than the socket holds is out before', async (t) => {
    const worker = new Worked(t);
    const text = 'x'.repeat(1000000);
    const tokens = worker.dispatch(
      ...Array.from({ length: 5 }, () => ({ action: 'echo', input: text })));
    worker.drain();
    assert.equal(await worker.exit, 0);
    for (const token of tokens) {
      assert.equal(worker.answers.get(token)[6], text);
    }
  });

  test('end of file ends it at once, running or not', async (t) => {
    const worker = new Worked(t);
    worker.dispatch({ action: 'deaf' });
    await worker.hello;
    worker.socket.end();
    assert.equal(await worker.exit, 0);
  });

  test('end of file ends one whose loop is blocked', async (t) => {
    const worker = new Worked(t);
    await worker.run('noop');
    worker.dispatch({ action: 'block', input: 60000 });
    await new Promise((resolve) => { setTimeout(resolve, 100); });
    const begun = performance.now();
    worker.socket.destroy();
    assert.equal(await worker.exit, 'SIGKILL');
    assert.ok(performance.now() - begun < 5000);
  });

  test('SIGTERM aborts what runs and begins nothing more', async (t) => {
    const worker = new Worked(t, [ACTIONS], { RAPPEL_CONCURRENCY: '1' });
    const [runs, waits] = worker.dispatch({ action: 'wait' },
      { action: 'noop' });
    const [beat] = worker.dispatch({ action: 'noop' });
    await worker.find(([type]) => type === HEARTBEAT);
    worker.process.kill('SIGTERM');
    assert.equal(await worker.exit, 0);
    assert.equal(worker.answers.get(runs)[6], 'Rappel.Cancelled');
    assert.ok(!worker.answers.has(waits) && !worker.answers.has(beat));
  });

  test('SIGTERM waits for no action that goes on', async (t) => {
    const worker = new Worked(t);
    const [deaf, noop] = worker.dispatch({ action: 'deaf' },
      { action: 'noop' });
    await worker.answer(noop);
    const begun = performance.now();
    worker.process.kill('SIGTERM');
    assert.equal(await worker.exit, 0);
    assert.ok(performance.now() - begun < 1000);
    assert.ok(!worker.answers.has(deaf));
  });
});
