/*
 * context - what an action knows about the attempt that it is.
 *
 * One for each action that runs, so nothing is made before it is asked for.
 * Its host (the worker, or the test harness) gives it heartbeats and a log,
 * and tells it when it is to be aborted.
 */
'use strict';

const { AbortReason } = require('./errors.js');
const { Packer, Refused, Unpacker } = require('./msgpack.js');

const PROGRESS_BYTES_MAX = 4 << 10;
const BEAT_MS = 250; // a few times a second at most, says the protocol
const TIMER_MS_MAX = 2 ** 31 - 1;
const progressPacker = new Packer(PROGRESS_BYTES_MAX, 1 << 13);

function uuidText(bytes) {
  const hex = bytes.toString('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-` +
    `${hex.slice(16, 20)}-${hex.slice(20)}`;
}

class Context {
  #host;
  #run;
  #name;
  #identity;
  #controller;
  #reason;
  #timer;
  #beatTimer;
  #beaten = -Infinity; // when the last heartbeat went out
  #progress;
  #waits = false; // the progress was not sent yet

  /**
   * run: {head, tokenEnd, started, timeoutMs, heartbeatMs}; head is packed
   * [token, instance, activation, attempt], started by performance.now().
   */
  constructor(host, run, name) {
    this.#host = host;
    this.#run = run;
    this.#name = name;
  }

  #read() {
    if (this.#identity === undefined) {
      const head = new Unpacker(this.#run.head, this.#run.tokenEnd);
      const [from, to] = head.bin();
      this.#identity = {
        instanceId: uuidText(this.#run.head.subarray(from, to)),
        activation: head.uint(),
        attempt: head.uint(),
      };
    }
    return this.#identity;
  }

  get action() {
    return this.#name;
  }

  get instanceId() {
    return this.#read().instanceId;
  }

  get activation() {
    return this.#read().activation;
  }

  get attempt() {
    return this.#read().attempt;
  }

  get idempotencyKey() {
    const { instanceId, activation } = this.#read();
    return `${instanceId}.${activation}`;
  }

  get taskToken() {
    return `${this.idempotencyKey}.${this.attempt}`;
  }

  get deadline() {
    const { timeoutMs, started } = this.#run;
    if (timeoutMs === 0) return null;
    return new Date(performance.timeOrigin + started + timeoutMs);
  }

  timeLeft() {
    const { timeoutMs, started } = this.#run;
    if (timeoutMs === 0) return Infinity;
    return Math.max(0, started + timeoutMs - performance.now());
  }

  get signal() {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#reason !== undefined) this.#controller.abort(this.#reason);
      else this.#armDeadline();
    }
    return this.#controller.signal;
  }

  #armDeadline() {
    const left = this.timeLeft();
    if (left === Infinity) return;
    if (left === 0) {
      abortContext(this, 'States.Timeout', 'its time is over');
      return;
    }
    this.#timer = setTimeout(() => this.#armDeadline(),
      Math.min(Math.ceil(left), TIMER_MS_MAX));
    this.#timer.unref();
  }

  log(level, message, fields) {
    this.#host.log(level, message, {
      ...fields,
      action: this.#name,
      instance: this.instanceId,
      activation: this.activation,
      attempt: this.attempt,
    });
  }

  heartbeat(progress = null) {
    if (this.#run.ended) return;
    progressPacker.clear();
    try {
      progressPacker.value(progress);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      throw new TypeError(`progress: ${error.where}`);
    }
    this.#progress = progressPacker.bytes();
    this.#waits = true;
    const wait = this.#beaten + this.#beatEvery() - performance.now();
    if (wait <= 0) {
      this.#beat();
    } else if (this.#beatTimer === undefined) {
      this.#beatTimer = setTimeout(() => this.#beat(), wait);
      this.#beatTimer.unref();
    }
  }

  // A state that wants heartbeats gets them often enough to miss one or two.
  #beatEvery() {
    if (this.#host.everyBeat) return 0;
    const { heartbeatMs } = this.#run;
    return heartbeatMs > 0 ? Math.min(BEAT_MS, heartbeatMs / 4) : BEAT_MS;
  }

  #beat() {
    clearTimeout(this.#beatTimer);
    this.#beatTimer = undefined;
    this.#waits = false;
    this.#beaten = performance.now();
    this.#host.beat(this.#run, this.#progress);
  }

  // ---- for the host ----

  static abort(context, name, cause) {
    if (context.#reason !== undefined) return;
    context.#reason = new AbortReason(name, cause);
    clearTimeout(context.#timer);
    context.#controller?.abort(context.#reason);
  }

  /** Before its answer: the last progress goes out, and nothing later. */
  static end(context) {
    clearTimeout(context.#timer);
    if (context.#waits) context.#beat();
  }

  /** The reason of its abort instead of the AbortError that came of it. */
  static thrownBy(context, thrown) {
    const reason = context.#reason;
    if (reason === undefined || thrown === reason) return thrown;
    const aborted = thrown instanceof Error && (thrown.name === 'AbortError' ||
      thrown.cause === reason);
    return aborted ? reason : thrown;
  }
}

const { abort: abortContext, end: endContext, thrownBy } = Context;
// They are the host's: an action sees only what is its own.
delete Context.abort;
delete Context.end;
delete Context.thrownBy;

module.exports = {
  Context, abortContext, endContext, thrownBy, uuidText,
};
