/*
 * queue - what was dispatched to this worker and has not begun, in order.
 *
 * Holds frames as they came and reads one item at a time, when it is its
 * turn; a frame is checked as a whole before any of it begins. Items that the
 * link thread took back (claims.js) are passed over.
 */
'use strict';

const frames = require('./frames.js');
const { Unpacker } = require('./msgpack.js');

const US_PER_MS = 1000;

/** Passes over one that is as it must be; what its input holds is seen later. */
function checkItem(body) {
  const { parts } = frames.readHead(body);
  body.text();
  body.uint();
  frames.readWithin(body, 0, frames.PLACE_MAX, 'place');
  for (let left = parts - frames.ITEM_PARTS; left >= 0; left--) body.skip(1);
}

class Queue {
  #claims;
  #frames = []; // {body, left}
  #next = 0; // number of the next item
  #item; // that was read and not begun

  constructor(claims) {
    this.#claims = claims;
  }

  get isEmpty() {
    return this.#item === undefined && this.#frames.length === 0;
  }

  /** Takes a DISPATCH; throws ProtocolError when anything in it is wrong. */
  add(header) {
    const { body } = header;
    const left = frames.readCount(header);
    const check = new Unpacker(body.buffer, body.at, body.end);
    for (let i = 0; i < left; i++) checkItem(check);
    check.done();
    if (left > 0) this.#frames.push({ body, left });
  }

  /** The item whose turn it is, or undefined; it stays until it is taken. */
  peek() {
    while (this.#item === undefined && this.#frames.length > 0) {
      const { body } = this.#frames[0];
      if (this.#claims.isTakenBack(this.#next)) {
        body.skip(1);
        this.#pass();
      } else {
        this.#item = this.#read(body);
      }
    }
    return this.#item;
  }

  #read(body) {
    const head = frames.readHead(body);
    const action = body.text();
    const timeoutUs = body.uint();
    body.uint(); // the place: none of ours, whatever it says
    const input = body.value();
    let parts = frames.ITEM_PARTS;
    let heartbeatUs = 0;
    if (head.parts > parts) {
      heartbeatUs = body.uint();
      parts++;
    }
    for (; parts < head.parts; parts++) body.skip(1);
    return {
      // A copy: the frame is not kept for as long as the action runs.
      head: Buffer.from(body.buffer.subarray(head.start, head.end)),
      tokenEnd: head.tokenEnd - head.start,
      action,
      timeoutMs: Number(timeoutUs) / US_PER_MS,
      heartbeatMs: Number(heartbeatUs) / US_PER_MS,
      input,
    };
  }

  #pass() {
    const taken = this.#claims.claim(this.#next++);
    const first = this.#frames[0];
    if (--first.left === 0) this.#frames.shift();
    return taken;
  }

  /** Takes what peek() gave. False: it was taken back meanwhile. */
  take() {
    this.#item = undefined;
    return this.#pass();
  }
}

module.exports = { Queue };
