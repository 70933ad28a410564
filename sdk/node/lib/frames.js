/*
 * frames - the frames of docs/protocol.md, as far as a worker needs them.
 *
 * Used by both threads of a worker; pure.
 */
'use strict';

const { ProtocolError, Unpacker } = require('./msgpack.js');

const FRAME = Object.freeze({
  HELLO: 1,
  DISPATCH: 10,
  COMPLETION: 11,
  DRAIN: 15,
  CANCEL: 20,
  RECALL: 21,
  HEARTBEAT: 22,
});

const STATUS = Object.freeze({
  SUCCEEDED: 0, FAILED: 1, TAKEN_BACK: 2, LATER: 3,
});

const PROTOCOL_VERSION = 1;
const FRAME_BYTES_MAX = 16 << 20;
const LENGTH_BYTES = 4;
const WINDOW_MAX = 1024; // no worker may hold more
const HEADER_PARTS = 5;
const ITEM_PARTS = 8;
const INSTANCE_BYTES = 16;
const PLACE_MAX = 1024; // which is none
const TOKEN_MAX = 2n ** 61n - 1n;
const UINT32_MAX = 2 ** 32 - 1;
const TYPE_ARRAY32 = 0xdd;
const TYPE_UINT32 = 0xce;

/** Who this worker is in the header of each frame. */
class Address {
  constructor(slot, spawn) {
    this.slot = slot;
    this.spawn = spawn;
  }
}

/** Writes one frame into a Packer: begin, the payload, end. */
class FrameWriter {
  constructor(packer, address) {
    this.packer = packer;
    this.address = address;
    this.begun = 0;
  }

  begin(type) {
    const { packer } = this;
    this.begun = packer.at;
    // Four bytes for the length, of which the hole's type is the first.
    packer.hole(0);
    packer.at--;
    packer.array(HEADER_PARTS);
    packer.number(type);
    packer.number(this.address.slot);
    packer.number(this.address.spawn);
    this.countAt = packer.hole(TYPE_UINT32);
  }

  /** As begin(), for a payload that is an array of as many as end() says. */
  beginArray(type) {
    this.begin(type);
    this.arrayAt = this.packer.hole(TYPE_ARRAY32);
  }

  end(count) {
    const { packer, begun } = this;
    packer.fill(begun, packer.at - begun - LENGTH_BYTES);
    packer.fill(this.countAt, count);
  }

  endArray(count) {
    this.packer.fill(this.arrayAt, count);
    this.end(count);
  }
}

/** Where the next frame in bytes[at..) ends; 0 when it is not whole yet. */
function frameEnd(bytes, at) {
  if (bytes.length - at < LENGTH_BYTES) return 0;
  const length = bytes[at] * 0x1000000 + (bytes[at + 1] << 16) +
    (bytes[at + 2] << 8) + bytes[at + 3];
  if (length > FRAME_BYTES_MAX) {
    throw new ProtocolError(
      `a frame of ${length} bytes is longer than ${FRAME_BYTES_MAX}`);
  }
  const end = at + LENGTH_BYTES + length;
  return end <= bytes.length ? end : 0;
}

/** How long bytes must be for the frame at its start; 0: cannot be told. */
function frameWants(bytes) {
  if (bytes.length < LENGTH_BYTES) return 0;
  return LENGTH_BYTES + bytes.readUInt32BE(0);
}

/**
 * The header of the frame in bytes[at..end), for this worker, and body, an
 * Unpacker that stands at its payload. Its type may be one that came up later.
 */
function readHeader(bytes, at, end, address) {
  const body = new Unpacker(bytes, at + LENGTH_BYTES, end);
  if (body.array() !== HEADER_PARTS) {
    throw new ProtocolError(`a frame is no array of ${HEADER_PARTS}`);
  }
  const type = body.uint();
  const slot = body.uint();
  const spawn = body.uint();
  const count = body.uint();
  if (slot !== address.slot || spawn !== address.spawn) {
    throw new ProtocolError(
      `a frame is for slot ${slot}, spawn ${spawn}, not for us`);
  }
  return { type, count, body };
}

/** An integer from min to max, or it is no item of ours. */
function readWithin(body, min, max, what) {
  const value = body.uint();
  if (value < min || value > max) {
    throw new ProtocolError(`${what} ${value} is not ${min} to ${max}`);
  }
  return value;
}

/** The payload must be an array of as many items as the header says. */
function readCount(header) {
  const count = header.body.array();
  if (count !== header.count) {
    throw new ProtocolError(
      `an array of ${count}, where the header says ${header.count}`);
  }
  return count;
}

/** The tokens of a CANCEL or RECALL: a Set of Numbers and BigInts. */
function readTokens(header) {
  const tokens = new Set();
  for (let left = readCount(header); left > 0; left--) {
    tokens.add(readWithin(header.body, 1, TOKEN_MAX, 'token'));
  }
  header.body.done();
  return tokens;
}

/**
 * The beginning of an item of a DISPATCH at body.at: how many parts it has,
 * and where its head lies, the four parts that every answer repeats: token,
 * instance, activation, attempt.
 */
function readHead(body) {
  const parts = body.array();
  if (parts < ITEM_PARTS) {
    throw new ProtocolError(`an item of ${parts} parts`);
  }
  const start = body.at;
  const token = readWithin(body, 1, TOKEN_MAX, 'token');
  const tokenEnd = body.at;
  const [from, to] = body.bin();
  if (to - from !== INSTANCE_BYTES) {
    throw new ProtocolError(`an instance of ${to - from} bytes`);
  }
  readWithin(body, 0, UINT32_MAX, 'activation');
  readWithin(body, 0, UINT32_MAX, 'attempt');
  return { parts, start, tokenEnd, end: body.at, token };
}

/** The token at the beginning of a head. */
function readToken(head) {
  return new Unpacker(head).uint();
}

module.exports = {
  Address,
  FRAME,
  FrameWriter,
  ITEM_PARTS,
  LENGTH_BYTES,
  PLACE_MAX,
  PROTOCOL_VERSION,
  STATUS,
  WINDOW_MAX,
  frameEnd,
  frameWants,
  readCount,
  readHead,
  readHeader,
  readToken,
  readTokens,
  readWithin,
};
