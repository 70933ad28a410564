/*
 * link - the thread that has the worker's socket.
 *
 * Reads and writes it alone, so that an action which blocks the main thread
 * holds up neither what it says nor what the flusher wants back: RECALL and
 * CANCEL of what has not begun are answered here, by the words in claims.js.
 * All other frames go to the main thread as they are, checked only as far as
 * their headers; it sends back bytes to write.
 *
 * From the main thread: bytes, or "finish": everything is to be written, and
 * then to be said. To it: whole frames as bytes, or {finished}, {gone} (the
 * supervisor) or {broken: why}.
 */
'use strict';

const net = require('node:net');
const { parentPort, workerData } = require('node:worker_threads');

const { Claims } = require('./claims.js');
const frames = require('./frames.js');
const { Packer, ProtocolError, Unpacker } = require('./msgpack.js');

const { FRAME, STATUS } = frames;
const ROOM_POLL_MS = 5;
// For the main thread to exit by itself when the supervisor is gone.
const GONE_MS = 100;

const address = new frames.Address(workerData.slot, workerData.spawn);
const claims = new Claims(workerData.claims);
const packer = new Packer();
const writer = new frames.FrameWriter(packer, address);

let socket;
let pending = []; // pieces of a frame that is not whole
let pendingBytes = 0;
let wanted = 0; // how many bytes make it whole, as far as that is known
let next = 0; // number of the next action
let kept = []; // DISPATCH frames in which something may not have begun
let ended = false;

function gone() {
  if (ended) return;
  ended = true;
  parentPort.postMessage({ gone: true });
  // Actions may keep the main thread from hearing of it.
  setTimeout(() => process.kill(process.pid, 'SIGKILL'), GONE_MS);
}

function broken(error) {
  ended = true;
  socket.pause();
  if (!(error instanceof ProtocolError)) throw error;
  parentPort.postMessage({ broken: error.message });
}

/** The heads of a kept frame's items; read when first asked for. */
function headsOf(dispatch) {
  if (dispatch.heads === undefined) {
    const body = new Unpacker(dispatch.bytes, dispatch.at);
    dispatch.heads = [];
    for (let i = 0; i < dispatch.count; i++) {
      const head = frames.readHead(body);
      for (let left = head.parts - 4; left > 0; left--) body.skip(1);
      dispatch.heads.push(head);
    }
  }
  return dispatch.heads;
}

/** Gives back what of these has not begun. */
function takeBack(tokens) {
  let count = 0;
  packer.clear();
  writer.beginArray(FRAME.COMPLETION);
  for (const dispatch of kept) {
    headsOf(dispatch).forEach((head, i) => {
      if (!tokens.has(head.token) || claims.isPassed(dispatch.number + i) ||
          !claims.takeBack(dispatch.number + i)) {
        return;
      }
      packer.array(6);
      packer.raw(dispatch.bytes, head.start, head.end);
      packer.number(STATUS.TAKEN_BACK);
      packer.number(0);
      count++;
    });
  }
  if (count === 0) return;
  writer.endArray(count);
  socket.write(packer.bytes());
}

/** False when there is no room for what it brings now. */
function dispatched(header, bytes, at, end) {
  const { count } = header;
  if (count > frames.WINDOW_MAX) {
    throw new ProtocolError(`${count} actions in one frame`);
  }
  if (!claims.hasRoom(next, count)) return false;
  while (kept.length > 0 &&
         claims.isPassed(kept[0].number + kept[0].count - 1)) {
    kept.shift();
  }
  if (frames.readCount(header) === 0) return true;
  kept.push({
    number: next,
    count,
    bytes: bytes.subarray(at, end),
    at: header.body.at - at,
  });
  for (let i = 0; i < count; i++) claims.offer(next++);
  return true;
}

/**
 * Everything whole in bytes. What is for the main thread goes there in one
 * piece; what is left stays pending.
 */
function take(bytes) {
  let at = 0; // of the next frame
  let from = 0; // of what is to be passed on
  const pass = (to) => {
    if (to <= from) return;
    // A copy: a subarray would take all of its ArrayBuffer along, and this
    // thread keeps what it may have to give back.
    const copy = Uint8Array.prototype.slice.call(bytes, from, to);
    parentPort.postMessage(copy, [copy.buffer]);
  };
  try {
    for (;;) {
      const end = frames.frameEnd(bytes, at);
      if (end === 0) break;
      const header = frames.readHeader(bytes, at, end, address);
      if (header.type === FRAME.DISPATCH &&
          !dispatched(header, bytes, at, end)) {
        // The main thread has thousands to pass over; it must come first.
        pass(at);
        socket.pause();
        setTimeout(resume, ROOM_POLL_MS, bytes.subarray(at));
        return;
      }
      if (header.type === FRAME.RECALL || header.type === FRAME.CANCEL) {
        takeBack(frames.readTokens(header));
      }
      if (header.type === FRAME.RECALL) {
        pass(at);
        from = end;
      }
      at = end;
    }
  } catch (error) {
    pass(at);
    broken(error);
    return;
  }
  pass(at);
  const rest = at === 0 ? bytes : bytes.subarray(at);
  pending = rest.length > 0 ? [rest] : [];
  pendingBytes = rest.length;
  wanted = frames.frameWants(rest);
}

function resume(bytes) {
  socket.resume();
  take(bytes);
}

function read(bytes) {
  if (ended) return;
  if (pending.length === 0) {
    take(bytes);
    return;
  }
  pending.push(bytes);
  pendingBytes += bytes.length;
  if (pendingBytes >= wanted) take(Buffer.concat(pending, pendingBytes));
}

function write(message) {
  if (message !== 'finish') {
    socket.write(message);
    return;
  }
  socket.write('', () => parentPort.postMessage({ finished: true }));
}

socket = new net.Socket({
  fd: workerData.fd, readable: true, writable: true,
});
socket.on('data', read);
socket.on('end', gone);
socket.on('close', gone);
socket.on('error', gone);
parentPort.on('message', write);
