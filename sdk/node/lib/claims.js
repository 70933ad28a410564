/*
 * claims - who may begin or give back an action: one word each, shared.
 *
 * Dispatched actions are numbered from 0 on. The thread that reads offers
 * them; the main thread claims each before it begins it, in order, and passes
 * it; the reader takes back what was not claimed. Both by compare-and-swap on
 * the action's word, so that exactly one of them has it.
 */
'use strict';

const PLACES = 1 << 14; // actions offered and not passed yet, recalled too
const MASK = PLACES - 1;
const PASSED = 0; // index of: how many the main thread is past
const WORDS = 16; // index of the first word; away from PASSED's cache line

const GONE = 0;
const WAITING = 1;
const TAKEN_BACK = 2;

class Claims {
  constructor(shared) {
    this.shared = shared ??
      new SharedArrayBuffer((WORDS + PLACES) * Int32Array.BYTES_PER_ELEMENT);
    this.words = new Int32Array(this.shared);
  }

  // ---- the reader's ----

  /** How many numbers from number on are passed or not; may be negative. */
  isPassed(number) {
    return ((number - Atomics.load(this.words, PASSED)) | 0) < 0;
  }

  /** Whether count from number on have room. */
  hasRoom(number, count) {
    return ((number + count - Atomics.load(this.words, PASSED)) | 0) <= PLACES;
  }

  offer(number) {
    Atomics.store(this.words, WORDS + (number & MASK), WAITING);
  }

  /** True: it will not be begun. */
  takeBack(number) {
    return Atomics.compareExchange(this.words, WORDS + (number & MASK),
      WAITING, TAKEN_BACK) === WAITING;
  }

  // ---- the main thread's ----

  isTakenBack(number) {
    return Atomics.load(this.words, WORDS + (number & MASK)) === TAKEN_BACK;
  }

  /** True: it may be begun. Either way it is passed. */
  claim(number) {
    const found = Atomics.compareExchange(this.words,
      WORDS + (number & MASK), WAITING, GONE);
    Atomics.store(this.words, PASSED, (number + 1) | 0);
    return found === WAITING;
  }
}

module.exports = { Claims, PLACES };
