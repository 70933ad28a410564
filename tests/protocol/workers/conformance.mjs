/*
 * conformance - the actions of ../README.md with rappel's package for Node.
 *
 *	rappel-node-worker tests/protocol/workers/conformance.mjs
 */
import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

import { ActionError, LATER, actions } from 'rappel';

const PLANES = 'é €\0\x1f\x7f\x85\u2028\ud7ff\ue000\ufeff\ufffd\uffff' +
  '\u{10000}\u{1f600}\u{fffff}\u{10ffff}';

function arrays(depth) {
  let value = [];
  for (let i = 1; i < depth; i++) value = [value];
  return value;
}

function cyclic() {
  const value = [];
  value.push(value);
  return value;
}

function written(stream, text) {
  return new Promise((done) => { stream.write(text, done); });
}

const VALUES = {
  null: null,
  true: true,
  false: false,
  zero: 0,
  minus_one: -1,
  int53: 9007199254740993n,
  int64_max: 2n ** 63n - 1n,
  int64_min: -(2n ** 63n),
  uint64_max: 2n ** 64n - 1n,
  minus_zero: -0,
  tenth: 0.1,
  third: 1 / 3,
  subnormal: 5e-324,
  huge: 1e308,
  largest: Number.MAX_VALUE,
  empty_text: '',
  nul: 'a\0b',
  planes: PLANES,
  empty_array: [],
  empty_map: {},
  nested: { b: [1, { c: [], a: {} }, 'x'], a: null, '': true },
  deep: arrays(32),
  text200k: '0123456789abcdef'.repeat(12800),
  largest_text: 'x'.repeat(1048571),
};

const BAD = {
  nan: NaN,
  infinity: Infinity,
  minus_infinity: -Infinity,
  binary: Buffer.from('bytes'),
  int_too_large: 2n ** 64n,
  int_too_small: -(2n ** 63n) - 1n,
  too_deep: arrays(33),
  key_no_text: new Map([[1, 'one']]),
  lone_surrogate: '\ud800',
  object: () => {},
  cyclic: cyclic(),
  within: { a: [NaN] },
  too_large: 'x'.repeat(1048572),
};

actions({
  echo: (input) => input,

  async sleep(input) {
    await sleep(input.ms);
    return input;
  },

  fail({ error, cause }) {
    throw new ActionError(error, cause);
  },

  value: ({ name }) => VALUES[name],

  bad({ what }) {
    if (what === 'error_not_text') {
      throw new ActionError('Not\ud800Text', 'a cause\udfff');
    }
    if (!(what in BAD)) throw new ActionError('Fixture.UnknownName', what);
    return BAD[what];
  },

  async beat({ times, ms, bytes }, ctx) {
    for (let n = 1; n <= times; n++) {
      ctx.heartbeat(bytes === undefined ? { n } : 'x'.repeat(bytes));
      if (ms > 0) await sleep(ms);
    }
    return { beats: times };
  },

  async until_cancelled(_, ctx) {
    try {
      await sleep(20000, null, { signal: ctx.signal });
    } catch (error) {
      await written(process.stdout, 'until_cancelled: cancelled\n');
      throw error;
    }
    throw new ActionError('Fixture.NotCancelled', 'for 20 s');
  },

  later: () => LATER,

  crash() {
    process.kill(process.pid, 'SIGKILL');
  },

  async chatty({ text, lines = 1 }) {
    for (let i = 0; i < lines; i++) {
      await written(process.stdout, `${text}\n`);
      await written(process.stderr, `err: ${text}\n`);
    }
    return { lines };
  },

  block(input) {
    const end = performance.now() + input.ms;
    while (performance.now() < end);
    return input;
  },

  whoami(_, ctx) {
    const left = ctx.timeLeft();
    return {
      instance: ctx.instanceId,
      activation: ctx.activation,
      attempt: ctx.attempt,
      token: ctx.taskToken,
      key: ctx.idempotencyKey,
      remaining_ms: left === Infinity ? null : left,
    };
  },

  raise_subclass({ levels }) {
    let kind = Error;
    for (let level = levels; level >= 0; level--) {
      const name = `Level${level}`;
      kind = { [name]: class extends kind {} }[name];
    }
    throw new kind('raised on purpose'); // eslint-disable-line new-cap
  },

  descriptors: () =>
    execFileSync('ls', ['-l', '/proc/self/fd'], { encoding: 'utf8' }),
});
