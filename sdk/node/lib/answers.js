/*
 * answers - results and errors on their way out, gathered into frames.
 *
 * Each becomes a part of the COMPLETION frame that is filled; the worker says
 * when that goes. What cannot be packed becomes an error.
 */
'use strict';

const { cutText, failureOf } = require('./errors.js');
const { FRAME, FrameWriter, STATUS } = require('./frames.js');
const { Packer, Refused } = require('./msgpack.js');

const CAUSE_BYTES_MAX = 32 << 10;
const FRAME_BYTES = 64 << 10; // then it goes

/** The failure that a result with no place in JSON is. */
function invalidResult(error) {
  if (error instanceof Refused) {
    return {
      name: error.tooLarge ? 'States.DataLimitExceeded'
        : 'Rappel.ResultInvalid',
      cause: cutText(error.where, CAUSE_BYTES_MAX),
      kinds: [],
    };
  }
  // A getter or a toJSON() of the result threw.
  const { name, cause } = failureOf(error);
  return {
    name: 'Rappel.ResultInvalid',
    cause: cutText(`reading the result threw ${name}: ${cause}`,
      CAUSE_BYTES_MAX),
    kinds: [],
  };
}

class Answers {
  #packer;
  #writer;
  count = 0;

  constructor(address, valueBytesMax) {
    this.#packer = new Packer(valueBytesMax, 2 * FRAME_BYTES);
    this.#writer = new FrameWriter(this.#packer, address);
  }

  get isFull() {
    return this.#packer.at >= FRAME_BYTES;
  }

  #begin(run, parts, status, runMs) {
    const packer = this.#packer;
    if (this.count === 0) this.#writer.beginArray(FRAME.COMPLETION);
    packer.array(parts);
    packer.raw(run.head);
    packer.number(status);
    packer.number(Math.max(0, Math.round(runMs * 1000)));
    this.count++;
  }

  succeeded(run, runMs, result) {
    const packer = this.#packer;
    const { at } = packer;
    const { count } = this;
    try {
      this.#begin(run, 7, STATUS.SUCCEEDED, runMs);
      packer.value(result === undefined ? null : result);
    } catch (error) {
      packer.at = at;
      this.count = count;
      this.failed(run, runMs, invalidResult(error));
    }
  }

  failed(run, runMs, failure) {
    const packer = this.#packer;
    const { kinds } = failure;
    this.#begin(run, kinds.length > 0 ? 9 : 8, STATUS.FAILED, runMs);
    packer.text(failure.name);
    packer.text(failure.cause);
    if (kinds.length === 0) return;
    packer.map(1);
    packer.text('kinds');
    packer.array(kinds.length);
    for (const kind of kinds) packer.text(kind);
  }

  /** Somebody else finishes it. */
  later(run, runMs) {
    this.#begin(run, 6, STATUS.LATER, runMs);
  }

  /** The frame, as bytes; what was gathered is forgotten. */
  take() {
    this.#writer.endArray(this.count);
    const bytes = this.#packer.bytes();
    this.#packer.clear();
    this.count = 0;
    return bytes;
  }
}

module.exports = { Answers, invalidResult };
