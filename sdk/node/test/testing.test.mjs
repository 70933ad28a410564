/*
 * rappel/testing: actions inline behave as in a worker.
 */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ActionError, LATER, action } from 'rappel';
import { ActionFailed, attempt, run } from 'rappel/testing';

const require = createRequire(import.meta.url);

class PaymentError extends Error {}
class CardDeclined extends PaymentError {}

const charge = action('charge', async ({ card }, ctx) => {
  if (card === 'none') throw new CardDeclined(`attempt ${ctx.attempt}`);
  return { card, key: ctx.idempotencyKey };
});

action('import-rows', async (rows, ctx) => {
  for (let i = 1; i <= rows; i++) {
    ctx.heartbeat({ rows: i });
    await sleep(1, null, { signal: ctx.signal });
  }
  ctx.log('info', 'imported', { rows });
});

describe('rappel/testing', () => {
  test('gives the result, by function or by name', async () => {
    const want = { card: 'blue',
      key: '0199c1a2-6e5f-7000-8a3b-5c1d2e3f4a5b.1' };
    assert.deepStrictEqual(await run(charge, { card: 'blue' }), want);
    assert.deepStrictEqual(await run('charge', { card: 'blue' }), want);
    assert.equal(await run(() => undefined), null);
    assert.equal(await run(() => LATER), LATER);
    assert.equal((await attempt(() => LATER)).later, true);
  });

  test('an error is what Retry and Catch see', async () => {
    await assert.rejects(run(charge, { card: 'none' }, { attempt: 2 }),
      (error) => {
        assert.ok(error instanceof ActionFailed);
        assert.equal(error.error, 'CardDeclined');
        assert.match(error.causeText, /^attempt 2\n/);
        for (const name of ['CardDeclined', 'PaymentError', 'Error',
          'States.ALL', 'States.TaskFailed']) assert.ok(error.matches(name));
        assert.ok(!error.matches('TypeError'));
        assert.ok(error.cause instanceof CardDeclined);
        return true;
      });
    const { error } = await attempt(() => {
      throw new ActionError('Shop.SoldOut', 'no lamps left');
    });
    assert.deepStrictEqual([error.error, error.causeText],
      ['Shop.SoldOut', 'no lamps left']);
  });

  test('heartbeats, logs and a cancel', async () => {
    const whole = await attempt('import-rows', 3);
    assert.deepStrictEqual(whole.heartbeats,
      [{ rows: 1 }, { rows: 2 }, { rows: 3 }]);
    assert.equal(whole.logs[0].message, 'imported');
    assert.equal(whole.logs[0].fields.rows, 3);
    const cut = await attempt('import-rows', 10, { cancelAfter: 2 });
    assert.equal(cut.heartbeats.length, 2);
    assert.equal(cut.error.error, 'Rappel.Cancelled');
  });

  test('its time', async () => {
    const { error } = await attempt(
      (_, ctx) => sleep(60000, null, { signal: ctx.signal }), null,
      { timeoutMs: 20 });
    assert.equal(error.error, 'States.Timeout');
    assert.ok(!error.matches('States.TaskFailed'));
  });

  test('the checks of a worker', async () => {
    const { error } = await attempt(() => ({ when: new Date() }));
    assert.equal(error.error, 'Rappel.ResultInvalid');
    assert.match(error.causeText, /^\$\.when is a Date: /);
    assert.equal(typeof await run((input) => input, 2n ** 60n), 'bigint');
    assert.equal(typeof await run((input) => input, 5n), 'number');
    await assert.rejects(run((input) => input, [NaN]), /\$\[0\] is NaN/);
    await assert.rejects(run('nowhere'), /there is no action "nowhere"/);
    await assert.rejects(run(() => 1, null, { tries: 1 }),
      /unknown option "tries": there are attempt/);
    await assert.rejects(run(() => 1, null, { instanceId: 'x' }), /no UUID/);
  });

  test('required is the same as imported', () => {
    assert.equal(require('rappel').action, action);
    assert.equal(require('rappel/testing').run, run);
  });
});
