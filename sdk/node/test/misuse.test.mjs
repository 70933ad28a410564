/*
 * The worker against a supervisor that breaks the protocol, or only tests it.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import {
  ACTIONS, CANCEL, COMPLETION, DISPATCH, DRAIN, INSTANCE, RECALL, Worked,
  frame,
} from './supervisor.mjs';

const SUCCEEDED = 0;
const AT_ONCE = 4;

describe('misuse', { timeout: 60000 }, () => {
  const item = (more = {}) => {
    const parts = { token: 5, instance: INSTANCE, activation: 1, attempt: 1,
      action: 'noop', timeout: 0, place: 1024, input: null, ...more };
    return Object.values(parts);
  };
  const dispatch = (...items) => frame(DISPATCH, 3, 1, items.length, items);
  const length = (bytes) => {
    const head = Buffer.alloc(4);
    head.writeUInt32BE(bytes.length);
    return Buffer.concat([head, bytes]);
  };
  const cases = {
    'another slot': frame(DISPATCH, 4, 1, 0, []),
    'another spawn': frame(DRAIN, 3, 2, 0, null),
    'a slot that is text': frame(DRAIN, 'x', 1, 0, null),
    'a count that is wrong': frame(DISPATCH, 3, 1, 2, [item()]),
    'a payload that is no array': frame(DISPATCH, 3, 1, 0, {}),
    'a RECALL that is no array': frame(RECALL, 3, 1, 1, 'x'),
    'a CANCEL of texts': frame(CANCEL, 3, 1, 1, ['x']),
    'a body of four': length(Buffer.from('940a0301c0', 'hex')),
    'a body with more behind it': length(Buffer.concat([
      dispatch(item()).subarray(4), Buffer.from([0xc0])])),
    'an empty body': length(Buffer.alloc(0)),
    'a body that is too long': Buffer.from([0x7f, 0xff, 0xff, 0xff]),
    'an item of seven': dispatch(item().slice(0, 7)),
    'an item that is no array': dispatch('x'),
    'a token that is text': dispatch(item({ token: 'x' })),
    'a token that is negative': dispatch(item({ token: -1 })),
    'a token of 2^61': dispatch(item({ token: 2n ** 61n })),
    'the token 0': dispatch(item({ token: 0 })),
    'an attempt of 2^32': dispatch(item({ attempt: 2 ** 32 })),
    'the place 1025': dispatch(item({ place: 1025 })),
    'an instance of 15 bytes': dispatch(
      item({ instance: INSTANCE.subarray(1) })),
    'an action that is a number': dispatch(item({ action: 1 })),
    'bytes as input': dispatch(item({ input: INSTANCE })),
    'text that is no UTF-8': Buffer.from(dispatch(item({ input: 'abc' }))
      .toString('latin1').replace('abc', 'a\xffc'), 'latin1'),
    'a thing that is none of msgpack': Buffer.from(
      dispatch(item({ input: 'abc' })).toString('latin1')
        .replace('\xa3abc', '\xa3ab\xc1'), 'latin1'),
  };
  const misuse = async (t, [name, bytes]) => {
    const worker = new Worked(t);
    await worker.hello;
    worker.socket.write(bytes);
    assert.equal(await worker.exit, 70, name);
    assert.match(worker.stderr,
      /^ts=\S+ level=error comp=worker\/3 msg="frame refused: .+"\n$/, name);
    assert.equal(worker.answers.size, 0, name);
  };
  const all = Object.entries(cases);
  for (let at = 0; at < all.length; at += AT_ONCE) {
    const some = all.slice(at, at + AT_ONCE);
    test(`${some.map(([name]) => name).join(', ')} end it with 70`, (t) =>
      Promise.all(some.map((one) => misuse(t, one))));
  }

  test('a type that is not known is skipped', async (t) => {
    const worker = new Worked(t);
    await worker.hello;
    worker.socket.write(Buffer.concat([
      dispatch(item({ token: 1 })), frame(99, 3, 1, 2, { any: [1] }),
      frame(COMPLETION, 3, 1, 0, []), dispatch(item({ token: 2 }))]));
    assert.equal((await worker.answer(1n))[0], SUCCEEDED);
    assert.equal((await worker.answer(2n))[0], SUCCEEDED);
  });

  test('frames in pieces of a byte, and many in one piece', async (t) => {
    const worker = new Worked(t);
    await worker.hello;
    for (const byte of dispatch(item({ token: 9, action: 'noop' }))) {
      worker.socket.write(Buffer.from([byte]));
      await new Promise((resolve) => { setImmediate(resolve); });
    }
    assert.equal((await worker.answer(9n))[0], SUCCEEDED);
    worker.socket.write(Buffer.concat(Array.from({ length: 500 }, (_, i) =>
      dispatch(item({ token: 1000 + i })))));
    for (let i = 0; i < 500; i++) {
      assert.equal((await worker.answer(BigInt(1000 + i)))[0], SUCCEEDED);
    }
  });

  test('an input of many megabytes', async (t) => {
    const worker = new Worked(t, [ACTIONS],
      { RAPPEL_VALUE_BYTES_MAX: String(12 << 20) });
    const text = 'x'.repeat(10 << 20);
    const [token] = worker.dispatch({ action: 'echo', input: text });
    assert.equal((await worker.answer(token))[2], text);
  });
});
