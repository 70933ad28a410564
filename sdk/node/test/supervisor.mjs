/*
 * supervisor - a worker under test, and the socket that rappeld would hold.
 *
 *     const worker = new Worked(t, ['actions.mjs'], { RAPPEL_CONCURRENCY: 4 });
 *     await worker.hello;
 *     worker.dispatch({ action: 'echo', input: 1 });
 *     await worker.answer();
 *
 * t is the test: what it started ends with it.
 */
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const { Packer, Unpacker } = require('../lib/msgpack.js');

export const HELLO = 1;
export const DISPATCH = 10;
export const COMPLETION = 11;
export const DRAIN = 15;
export const CANCEL = 20;
export const RECALL = 21;
export const HEARTBEAT = 22;

export const INSTANCE = Buffer.from('0199c1a26e5f70008a3b5c1d2e3f4a5b', 'hex');
export const WORKER = fileURLToPath(new URL('../bin/worker.js',
  import.meta.url));
export const ACTIONS = fileURLToPath(new URL('actions.mjs', import.meta.url));

/** Any value of the protocol: as Unpacker.value(), and bin too. */
function unpackAny(unpacker) {
  const type = unpacker.buffer[unpacker.at];
  if ((type & 0xf0) === 0x90 || type === 0xdc || type === 0xdd) {
    return Array.from({ length: unpacker.array() }, () => unpackAny(unpacker));
  }
  if (type >= 0xc4 && type <= 0xc6) {
    const [from, to] = unpacker.bin();
    return Buffer.from(unpacker.buffer.subarray(from, to));
  }
  return unpacker.value();
}

function packAny(packer, value) {
  if (Buffer.isBuffer(value)) {
    packer.raw(Buffer.concat([Buffer.from([0xc4, value.length]), value]));
  } else if (Array.isArray(value)) {
    packer.array(value.length);
    for (const part of value) packAny(packer, part);
  } else {
    packer.value(value);
  }
}

export function frame(...parts) {
  const packer = new Packer();
  packAny(packer, parts);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(packer.at);
  return Buffer.concat([length, packer.bytes()]);
}

export class Worked {
  constructor(t, modules = [ACTIONS], env = {}, program = [WORKER]) {
    this.slot = 3;
    this.spawn = 1;
    this.frames = [];
    this.waiting = [];
    this.stdout = '';
    this.stderr = '';
    this.token = 2n ** 55n; // so that tokens are BigInts, as real ones
    this.answers = new Map(); // token to answer
    this.process = spawn(process.execPath, [...program, ...modules], {
      stdio: ['ignore', 'pipe', 'pipe', 'pipe'],
      env: {
        PATH: process.env.PATH,
        RAPPEL_FD: '3',
        RAPPEL_SLOT: String(this.slot),
        RAPPEL_SPAWN: String(this.spawn),
        RAPPEL_VALUE_BYTES_MAX: String(1 << 20),
        ...env,
      },
    });
    this.process.stdout.setEncoding('utf8').on('data', (text) => {
      this.stdout += text;
    });
    this.process.stderr.setEncoding('utf8').on('data', (text) => {
      this.stderr += text;
      this.#wake();
    });
    this.exit = new Promise((resolve) => {
      this.process.on('close', (code, signal) => {
        this.exited = true;
        resolve(code ?? signal);
        this.#wake();
      });
    });
    [, , , this.socket] = this.process.stdio;
    this.socket.on('error', () => {}); // it ended; the test will see
    let got = Buffer.alloc(0);
    this.socket.on('data', (bytes) => {
      got = Buffer.concat([got, bytes]);
      for (;;) {
        if (got.length < 4 || got.length < 4 + got.readUInt32BE(0)) break;
        const end = 4 + got.readUInt32BE(0);
        const body = new Unpacker(got, 4, end);
        this.#frame(unpackAny(body));
        body.done();
        got = got.subarray(end);
      }
      this.#wake();
    });
    this.hello = this.find((found) => found[0] === HELLO);
    this.hello.catch(() => {}); // a test that expects none asks for none
    t?.after(() => {
      this.process.kill('SIGKILL');
      return this.exit;
    });
  }

  #frame(found) {
    this.frames.push(found);
    if (found[0] !== COMPLETION) return;
    for (const item of found[4]) this.answers.set(BigInt(item[0]), item);
  }

  #wake() {
    for (const check of [...this.waiting]) check();
  }

  /** What condition() gives as soon as it gives something. */
  until(condition, what = condition.toString()) {
    return new Promise((resolve, reject) => {
      const end = (settle, value) => {
        clearTimeout(timer);
        this.waiting = this.waiting.filter((other) => other !== check);
        settle(value);
      };
      const check = () => {
        const found = condition();
        if (found) end(resolve, found);
        else if (this.exited) fail('the worker ended');
      };
      const fail = (why) => end(reject,
        new Error(`${why} before: ${what}\n${this.stderr}`));
      const timer = setTimeout(fail, 20000, 'too late');
      this.waiting.push(check);
      check();
    });
  }

  find(condition) {
    return this.until(() => this.frames.find(condition));
  }

  send(type, count, payload) {
    this.socket.write(frame(type, this.slot, this.spawn, count, payload));
  }

  /** Dispatches these, in one frame; their tokens. */
  dispatch(...items) {
    const tokens = items.map(() => { this.token += 1n; return this.token; });
    this.send(DISPATCH, items.length, items.map((item, i) => [
      tokens[i], item.instance ?? INSTANCE, item.activation ?? 7,
      item.attempt ?? 1, item.action, item.timeout_us ?? 0, 1024,
      item.input ?? null, ...(item.more ?? []),
    ]));
    return tokens;
  }

  /** The answer under a token: [status, run_us, ...]. */
  async answer(token) {
    const item = await this.until(() => this.answers.get(token),
      `an answer under ${token}`);
    return item.slice(4);
  }

  /** Runs one; what it answers, without run_us. */
  async run(action, input, more = {}) {
    const [token] = this.dispatch({ action, input, ...more });
    const [status, , ...rest] = await this.answer(token);
    return [status, ...rest];
  }

  recall(...tokens) {
    this.send(RECALL, tokens.length, tokens);
  }

  cancel(...tokens) {
    this.send(CANCEL, tokens.length, tokens);
  }

  drain() {
    this.send(DRAIN, 0, null);
  }
}
