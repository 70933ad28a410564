/*
 * pool_actions - what the tests with a real pool have it run.
 */
import { action, actions, LATER } from 'rappel';
import { setTimeout as sleep } from 'node:timers/promises';

class NotFound extends Error {}
class OrderNotFound extends NotFound {}

let running = 0;
let most = 0;

action('echo', async (input) => input);

actions({
  noop() {},
  whoami: async () => process.pid,
  type: async (input) => typeof input,
  fails() {
    throw new OrderNotFound('order 17');
  },
  async blocks(ms) {
    const end = performance.now() + ms;
    while (performance.now() < end);
    return process.pid;
  },
  async together(ms) {
    running++;
    most = Math.max(most, running);
    await sleep(ms);
    running--;
    return most;
  },
  async waits(_, ctx) {
    ctx.heartbeat({ waiting: true });
    ctx.log('info', 'waiting', { forWhat: 'the signal' });
    await sleep(60000, null, { signal: ctx.signal });
  },
  async silent() {
    await sleep(60000);
  },
  async beats(count, ctx) {
    for (let i = 0; i < count; i++) {
      ctx.heartbeat(i);
      await sleep(100);
    }
    return count;
  },
  async handsOut(_, ctx) {
    ctx.log('info', 'handed out', { token: ctx.taskToken });
    return LATER;
  },
});
