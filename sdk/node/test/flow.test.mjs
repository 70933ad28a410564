/*
 * How a worker runs what it holds: how many at once, what is taken back or
 * cancelled, and how it ends.
 */
import assert from 'node:assert/strict';
import { describe as suite, test } from 'node:test';
import { ACTIONS, COMPLETION, HEARTBEAT, Worked } from './supervisor.mjs';

const describe = (name, tests) => suite(name, { timeout: 60000 }, tests);
const SUCCEEDED = 0;
const FAILED = 1;
const TAKEN_BACK = 2;

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
    assert.ok(frames <= 100, `${frames} frames for 200 answers`);
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
    const [slow, ...rest] = worker.dispatch(
      { action: 'beatsBlocked', input: 1500 },
      ...Array.from({ length: 50 }, () => ({ action: 'noop' })));
    await worker.find(([type]) => type === HEARTBEAT);
    const begun = performance.now();
    worker.recall(slow, ...rest.slice(0, 40));
    const answers = await Promise.all(rest.slice(0, 40).map((token) =>
      worker.answer(token)));
    assert.ok(answers.every(([status]) => status === TAKEN_BACK));
    assert.ok(performance.now() - begun < 1300, 'the loop was not waited for');
    assert.ok(!worker.answers.has(slow));
    assert.equal((await worker.answer(slow))[0], SUCCEEDED);
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
    const [slow] = worker.dispatch({ action: 'beatsBlocked', input: 1500 });
    await worker.find(([type]) => type === HEARTBEAT);
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
    worker.dispatch({ action: 'beatsBlocked', input: 60000 });
    await worker.find(([type]) => type === HEARTBEAT);
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
