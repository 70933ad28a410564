/*
 * worker - the main thread of a worker: begins actions, gathers answers.
 *
 * The link thread (link.js) has the socket. Actions begin here in the order
 * in which they came, at most as many at once as the concurrency says. All
 * that becomes ready within one callback of the event loop goes out as one
 * frame behind it; an action that is not known to be quick begins in a turn
 * of its own, so that what was ready before is out.
 */
'use strict';

const path = require('node:path');
const { Worker: Thread } = require('node:worker_threads');

const { Answers } = require('./answers.js');
const { Claims } = require('./claims.js');
const {
  Context, abortContext, endContext, thrownBy,
} = require('./context.js');
const { failureOf } = require('./errors.js');
const frames = require('./frames.js');
const { Packer, ProtocolError } = require('./msgpack.js');
const { Queue } = require('./queue.js');
const { LATER, registered } = require('./registry.js');

const { FRAME } = frames;
const EXIT_PROTOCOL = 70;
const WINDOW = 256; // at least, and four times the concurrency
const TURN_MS = 2; // then the event loop is to turn
const HOLD_MS = 1; // an answer waits no longer for others
const BLOCKS_MS = 1; // an action that holds the loop so long is not quick
const STOP_MS = 500; // for what runs to end after SIGTERM
const QUICK_AGAIN = 16; // times, before it counts as quick again

class Worker {
  #address;
  #log;
  #concurrency;
  #claims = new Claims();
  #queue = new Queue(this.#claims);
  #answers;
  #beats = new Packer();
  #thread;
  #actions = new Map(); // name to {run, name, quick}
  #running = new Map(); // run to its context
  #draining = false;
  #stopping = false;
  #ended = false;
  #pumping = false;
  #pumpAsked = false;
  #flushAsked = false;
  #turnEnd = 0; // of the turn in which actions were begun last
  #begunInTurn = false;
  #oldest = 0; // when the first of the answers was ready

  /** about: {fd, slot, spawn, concurrency, valueBytesMax}. */
  constructor(about, log) {
    this.#address = new frames.Address(about.slot, about.spawn);
    this.#log = log;
    this.#concurrency = about.concurrency;
    this.#answers = new Answers(this.#address, about.valueBytesMax);
    for (const { name, run } of registered().values()) {
      this.#actions.set(name, { name, run, quick: 0 });
    }
    this.#thread = new Thread(path.join(__dirname, 'link.js'), {
      workerData: {
        fd: about.fd,
        slot: about.slot,
        spawn: about.spawn,
        claims: this.#claims.shared,
      },
      execArgv: [],
    });
    this.#thread.on('message', (message) => this.#heard(message));
    this.#thread.on('error', (error) => this.#bug('its link', error));
    process.on('SIGTERM', () => this.#stop());
    process.on('unhandledRejection', (reason) =>
      this.#stray('unhandled rejection', reason));
    process.on('uncaughtException', (error) =>
      this.#stray('uncaught exception', error));
    this.#hello();
  }

  #hello() {
    const packer = new Packer();
    const writer = new frames.FrameWriter(packer, this.#address);
    writer.begin(FRAME.HELLO);
    packer.value({
      protocol: frames.PROTOCOL_VERSION,
      pid: process.pid,
      actions: [...this.#actions.keys()],
      window: Math.min(frames.WINDOW_MAX,
        Math.max(4 * this.#concurrency, WINDOW)),
      concurrency: this.#concurrency,
      recall: true,
      cancel: true,
      language: 'node',
    });
    writer.end(0);
    this.#send(packer.bytes());
  }

  #send(bytes) {
    this.#thread.postMessage(bytes, [bytes.buffer]);
  }

  // ---- what goes wrong ----

  /** What an action left behind; the others go on. */
  #stray(what, thrown) {
    const { name, cause } = failureOf(thrown);
    this.#log.line('error', `${what} in an action`, {
      error: name, cause, hint: 'await every promise that an action makes',
    });
  }

  #bug(where, error) {
    if (error instanceof ProtocolError) this.#broken(error.message);
    this.#log.line('error', `worker: ${where} failed`, {
      error: error.stack ?? String(error),
    });
    process.exit(EXIT_PROTOCOL);
  }

  #broken(why) {
    this.#log.line('error', `frame refused: ${why}`);
    process.exit(EXIT_PROTOCOL);
  }

  // ---- what is heard ----

  #heard(message) {
    if (message instanceof Uint8Array) {
      try {
        this.#frames(message);
      } catch (error) {
        this.#bug('reading', error);
      }
      this.#openTurn();
      this.#pump();
    } else if (message.gone) {
      process.exit(0);
    } else if (message.broken !== undefined) {
      this.#broken(message.broken);
    } else if (message.finished) {
      process.exit(0);
    }
  }

  #frames(array) {
    const bytes = Buffer.from(array.buffer, array.byteOffset, array.length);
    for (let at = 0; at < bytes.length;) {
      const end = frames.frameEnd(bytes, at);
      const header = frames.readHeader(bytes, at, end, this.#address);
      if (header.type === FRAME.DISPATCH) {
        this.#queue.add(header);
      } else if (header.type === FRAME.CANCEL) {
        this.#cancel(frames.readTokens(header));
      } else if (header.type === FRAME.DRAIN) {
        header.body.skip();
        header.body.done();
        this.#draining = true;
      }
      at = end;
    }
  }

  // What of these has not begun is the link thread's.
  #cancel(tokens) {
    for (const [run, context] of this.#running) {
      if (tokens.has(run.token())) {
        abortContext(context, 'Rappel.Cancelled', 'it is not wanted any more');
      }
    }
  }

  #stop() {
    if (this.#stopping) return;
    this.#stopping = true;
    for (const context of this.#running.values()) {
      abortContext(context, 'Rappel.Cancelled', 'its worker was told to stop');
    }
    // Not for longer than SIGKILL would wait.
    setTimeout(() => {
      this.#running.clear();
      this.#finishIfDone();
    }, STOP_MS);
    this.#finishIfDone();
  }

  // ---- actions ----

  #openTurn() {
    this.#turnEnd = performance.now() + TURN_MS;
    this.#begunInTurn = false;
  }

  #askPump() {
    if (this.#pumpAsked) return;
    this.#pumpAsked = true;
    setImmediate(() => {
      this.#pumpAsked = false;
      this.#openTurn();
      this.#pump();
    });
  }

  /** Begins what there is room for, and time in this turn. */
  #pump() {
    if (this.#pumping || this.#stopping) return;
    this.#pumping = true;
    try {
      while (this.#running.size < this.#concurrency) {
        const item = this.#queue.peek();
        if (item === undefined) break;
        const action = this.#actions.get(item.action);
        if (this.#begunInTurn && (performance.now() >= this.#turnEnd ||
            (action !== undefined && action.quick <= 0))) {
          this.#askPump();
          break;
        }
        if (this.#queue.take()) this.#begin(item, action);
      }
    } catch (error) {
      this.#bug('beginning an action', error);
    } finally {
      this.#pumping = false;
    }
    this.#finishIfDone();
  }

  #begin(item, action) {
    const run = new Run(item);
    this.#begunInTurn = true;
    if (action === undefined) {
      this.#failed(run, {
        name: 'Rappel.UnknownAction',
        cause: `this worker has no action "${item.action.slice(0, 128)}"`,
        kinds: [],
      });
      return;
    }
    const context = new Context(this, run, action.name);
    this.#running.set(run, context);
    const perform = action.run; // as a plain function, without a this
    let result;
    let thrown;
    let threw = false;
    try {
      result = perform(item.input, context);
    } catch (error) {
      threw = true;
      thrown = error;
    }
    this.#judge(action, performance.now() - run.started);
    if (threw) {
      this.#threw(run, thrown);
    } else if (result !== null && typeof result === 'object' &&
               typeof result.then === 'function') {
      Promise.prototype.then.call(
        result instanceof Promise ? result : Promise.resolve(result),
        (value) => this.#returned(run, value),
        (error) => this.#threw(run, error));
    } else {
      this.#returned(run, result);
    }
  }

  /** How long it held the event loop before it first waited. */
  #judge(action, blockedMs) {
    if (blockedMs > BLOCKS_MS) action.quick = -QUICK_AGAIN;
    else if (action.quick <= 0) action.quick++;
    else return;
    if (action.quick === 0) action.quick = 1;
  }

  #end(run) {
    const context = this.#running.get(run);
    this.#running.delete(run);
    endContext(context);
    run.ended = true;
    return context;
  }

  #returned(run, result) {
    if (!this.#running.has(run)) return; // SIGTERM did not wait for it
    const runMs = performance.now() - run.started;
    this.#end(run);
    if (result === LATER) this.#answers.later(run, runMs);
    else this.#answers.succeeded(run, runMs, result);
    this.#answered(run.started + runMs);
  }

  #threw(run, thrown) {
    if (!this.#running.has(run)) return;
    this.#failed(run, failureOf(thrownBy(this.#end(run), thrown)));
  }

  #failed(run, failure) {
    const now = performance.now();
    this.#answers.failed(run, now - run.started, failure);
    this.#answered(now);
  }

  // ---- answers ----

  #answered(now) {
    if (this.#answers.count === 1) this.#oldest = now;
    if (this.#answers.isFull || now - this.#oldest > HOLD_MS) {
      this.#flush();
    } else if (!this.#flushAsked) {
      // Behind this callback and all promises that it settles.
      this.#flushAsked = true;
      process.nextTick(() => {
        this.#flushAsked = false;
        this.#flush();
      });
    }
    if (this.#stopping || this.#queue.isEmpty) this.#finishIfDone();
    else if (now < this.#turnEnd) this.#pump();
    else this.#askPump();
  }

  #flush() {
    if (this.#answers.count > 0) this.#send(this.#answers.take());
  }

  /** After DRAIN or SIGTERM: exits when nothing runs any more. */
  #finishIfDone() {
    if (this.#ended || this.#running.size > 0) return;
    if (!this.#stopping && !(this.#draining && this.#queue.isEmpty)) return;
    this.#ended = true;
    this.#flush();
    this.#thread.postMessage('finish');
  }

  // ---- what contexts ask of their host ----

  log(level, message, fields) {
    this.#log.line(level, message, fields);
  }

  /** At once: an action that blocks the loop may be the one that calls. */
  beat(run, progress) {
    const packer = this.#beats;
    const writer = new frames.FrameWriter(packer, this.#address);
    packer.clear();
    writer.beginArray(FRAME.HEARTBEAT);
    packer.array(2);
    packer.raw(run.head, 0, run.tokenEnd);
    packer.raw(progress);
    writer.endArray(1);
    this.#send(packer.bytes());
  }
}

/** One action that was begun. */
class Run {
  constructor(item) {
    this.head = item.head;
    this.tokenEnd = item.tokenEnd;
    this.timeoutMs = item.timeoutMs;
    this.heartbeatMs = item.heartbeatMs;
    this.started = performance.now();
    this.ended = false;
  }

  token() {
    return frames.readToken(this.head);
  }
}

module.exports = { Worker };
