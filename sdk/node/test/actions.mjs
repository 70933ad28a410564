/*
 * actions - what the tests of the worker have it run.
 */
import { EventEmitter } from 'node:events';
import { ActionError, LATER, action, actions } from 'rappel';
import { setTimeout as sleep } from 'node:timers/promises';

class NotFound extends Error {}
class OrderNotFound extends NotFound {}

let running = 0;
let most = 0;
const order = [];
const gates = [];

action('noop', async () => {});
action('echo', async (input) => input);
action('echo-sync', (input) => input);

actions({
  /** Holds the event loop. */
  block(ms) {
    const end = performance.now() + ms;
    while (performance.now() < end);
    return 'blocked';
  },
  /** Runs until another one opens it; tells how many ran at once. */
  async gate(name) {
    running++;
    most = Math.max(most, running);
    order.push(name);
    await new Promise((resolve) => { gates.push(resolve); });
    running--;
    return name;
  },
  open() {
    for (const open of gates.splice(0)) open();
    const told = { most, order: [...order] };
    most = running;
    return told;
  },
  /** What has no place in JSON, by name. */
  async invalid(what) {
    const cycle = { list: [] };
    cycle.list.push(cycle);
    let deep = 1;
    for (let i = 0; i < 33; i++) deep = [deep];
    return {
      nan: { a: [1, NaN] },
      infinity: -Infinity,
      hole: { list: [1, , 3] }, // eslint-disable-line no-sparse-arrays
      function: { f() {} },
      symbol: [Symbol('s')],
      date: { when: new Date(0) },
      map: new Map(),
      set: { of: new Set() },
      instance: [new NotFound('x'), 1],
      bytes: Buffer.from('x'),
      surrogate: { text: 'half \ud83d' },
      key: { 'half \ud83d': 1 },
      cycle,
      deep,
      bigint: 2n ** 64n,
      large: 'x'.repeat(1 << 20),
      promise: [sleep(0)],
      getter: { get x() { throw new Error('no x'); } },
    }[what];
  },
  async valid(what) {
    return {
      undefined: undefined,
      left: { a: undefined, b: 1 },
      json: { at: { toJSON: () => 'stands for it' } },
      url: new URL('http://127.0.0.1/x'),
      none: Object.create(null),
      numbers: [0, -0, 1.5, 2 ** 53, 2n ** 63n, -(2n ** 63n), 5n, 1e300],
    }[what];
  },
  throw(what) {
    switch (what) {
      case 'class': throw new OrderNotFound('order 17');
      case 'name': {
        const error = new RangeError('named');
        error.name = 'Quota.Exceeded';
        throw error;
      }
      case 'code': throw Object.assign(new Error('no file'), { code: 'ENOENT' });
      case 'action': throw new ActionError('Order.Unknown', 'there is no 17');
      case 'text': throw 'only text'; // eslint-disable-line no-throw-literal
      case 'nul': throw new Error('a\0b\ud800');
      case 'emitted':
        return new EventEmitter().on('x', () => {
          throw new Error('emitted');
        }).emit('x');
      case 'long': throw new ActionError('x'.repeat(500), 'ü'.repeat(40000));
      default: throw new Error('plain', { cause: new TypeError('inner') });
    }
  },
  async stray() {
    Promise.reject(new Error('nobody waits for it'));
    setTimeout(() => { throw new Error('nor for this'); });
    await sleep(20);
    return 'fine';
  },
  async context(input, ctx) {
    return {
      action: ctx.action,
      instanceId: ctx.instanceId,
      activation: ctx.activation,
      attempt: ctx.attempt,
      idempotencyKey: ctx.idempotencyKey,
      taskToken: ctx.taskToken,
      deadline: ctx.deadline === null ? null : ctx.deadline.getTime() - Date.now(),
      timeLeft: ctx.timeLeft() === Infinity ? null : ctx.timeLeft(),
      input,
    };
  },
  async wait(_, ctx) {
    ctx.heartbeat('begun');
    await sleep(60000, null, { signal: ctx.signal });
  },
  async deaf() {
    await sleep(60000);
  },
  async beats(count, ctx) {
    for (let i = 1; i <= count; i++) {
      ctx.heartbeat({ done: i });
      await sleep(30);
    }
  },
  /** The first one goes out though the loop does not turn. */
  beatsBlocked(ms, ctx) {
    ctx.heartbeat('at once');
    const end = performance.now() + ms;
    while (performance.now() < end);
  },
  async beatsTooMuch(_, ctx) {
    ctx.heartbeat('x'.repeat(5000));
  },
  async later() {
    return LATER;
  },
  async logs(_, ctx) {
    ctx.log('info', 'two "words"\nand more', { orderId: 17, text: 'a b' });
    ctx.log('debug', 'not shown');
  },
});
