#!/usr/bin/env node
/*
 * rate - no-op actions per second of one worker process, without a pool.
 *
 *     node sdk/node/test/rate.mjs [SECONDS [IN_A_FRAME [IN_FLIGHT]]]
 *
 * The supervisor's place is this process, which only sends frames made
 * beforehand and counts answers, so what is measured is the worker.
 */
import { createRequire } from 'node:module';
import { COMPLETION, DISPATCH, INSTANCE, Worked, frame } from './supervisor.mjs';

const require = createRequire(import.meta.url);
const { frameEnd } = require('../lib/frames.js');

const [seconds, each, flight] = [2, 3, 4].map((i, at) =>
  Number(process.argv[i] ?? [3, 64, 256][at]));
const worker = new Worked(null);
await worker.hello;
worker.socket.removeAllListeners('data');

let token = 2 ** 50;
const dispatch = () => frame(DISPATCH, worker.slot, worker.spawn, each,
  Array.from({ length: each }, () =>
    [token++, INSTANCE, 7, 1, 'noop', 0, 1024, { order: 17, items: [1, 2] }]));
const frames = Array.from({ length: 64 }, dispatch);

let answered = 0;
let sent = 0;
let got = Buffer.alloc(0);
const feed = () => {
  while (sent - answered + each <= flight) {
    worker.socket.write(frames[(sent / each) % frames.length]);
    sent += each;
  }
};
worker.socket.on('data', (bytes) => {
  got = got.length === 0 ? bytes : Buffer.concat([got, bytes]);
  let at = 0;
  for (;;) {
    const end = frameEnd(got, at);
    if (end === 0) break;
    // [length][0x95][type][slot][spawn][0xce count]: all of them are short.
    if (got[at + 5] !== COMPLETION) throw new Error('not a COMPLETION');
    answered += got.readUInt32BE(at + 9);
    at = end;
  }
  got = got.subarray(at);
  feed();
});

feed();
await new Promise((resolve) => { setTimeout(resolve, 500); });
const before = answered;
const begun = performance.now();
await new Promise((resolve) => { setTimeout(resolve, seconds * 1000); });
const rate = (answered - before) / (performance.now() - begun) * 1000;
console.log(`${Math.round(rate)} no-op actions/s of one worker, ${each} in a ` +
  `frame, ${flight} in flight`);
process.exit(0);
