/*
 * msgpack - rappel's values as bytes, and back.
 *
 * A codec of our own, since a value must arrive as it was or be refused, with
 * the place named, in the one pass that packs it. The packages that there are
 * turn -0 into 0, take NaN and lone surrogates, leave out what they do not
 * know, or make every integer of 64 bits a BigInt, and none checks depth and
 * size on the way.
 *
 * Integers that are safe in a Number are Numbers, all others of 64 bits
 * BigInts. A Number packs as an integer when it is a safe one and not -0, and
 * as a double otherwise, so what was unpacked packs as it was (but 1.0 as 1:
 * JavaScript has no other).
 */
'use strict';

const { isUtf8 } = require('node:buffer');

const VALUE_DEPTH_MAX = 32; // [] is 1 deep
const FRAME_DEPTH_MAX = 40;
const SHORT_TEXT = 24; // a loop here is faster than a call
const KEEP_BYTES = 1 << 20;
const TWO_32 = 2 ** 32;
const INT64_MIN = -(2n ** 63n);
const INT64_MAX = 2n ** 63n - 1n;
const UINT64_MAX = 2n ** 64n - 1n;
const SURROGATES = /\p{Surrogate}/u;

/** A value that JSON, or rappel, has no place for; path says where it is. */
class Refused extends Error {
  constructor(reason, tooLarge = false) {
    super(reason);
    this.name = 'Refused';
    this.path = [];
    this.tooLarge = tooLarge; // and otherwise fine, as far as it was packed
  }

  /** "$.items[3] is …: what to do", for people. */
  get where() {
    let text = '$';
    for (const part of this.path) {
      if (typeof part === 'number') text += `[${part}]`;
      else if (/^[A-Za-z_$][\w$]*$/.test(part)) text += `.${part}`;
      else text += `[${JSON.stringify(part.slice(0, 64))}]`;
    }
    return `${text} is ${this.message}`;
  }
}

/** Bytes that are not what the protocol says. */
class ProtocolError extends Error {
  constructor(what) {
    super(what);
    this.name = 'ProtocolError';
  }
}

const isWellFormed = typeof String.prototype.isWellFormed === 'function'
  ? (text) => text.isWellFormed()
  : (text) => !SURROGATES.test(text);

const KINDS = {
  Date: 'a Date: return date.toISOString() instead',
  Map: 'a Map: return Object.fromEntries(map) or [...map] instead',
  Set: 'a Set: return [...set] instead',
  RegExp: 'a RegExp: return its source instead',
};

/** Why an object that is neither plain nor an array is no value. */
function refusalOf(object) {
  if (typeof object.then === 'function') {
    return 'a promise inside of a value: await it first';
  }
  if (ArrayBuffer.isView(object) || object instanceof ArrayBuffer) {
    return 'bytes: return them as text, as with buffer.toString("base64")';
  }
  const name = object.constructor?.name || 'a class without a name';
  if (Object.hasOwn(KINDS, name)) return KINDS[name];
  if (object instanceof Error) {
    return `an error (${name}): throw it, or return its message`;
  }
  return `an instance of ${name}: give the class a toJSON(), or return a ` +
    'plain object';
}

/**
 * What stands for an object in its value: what its toJSON() gives, or itself
 * when it is plain. Refuses the rest.
 */
function plainOf(object, key) {
  const proto = Object.getPrototypeOf(object);
  const plain = proto === Object.prototype || proto === null ||
    Array.isArray(object);
  if (plain && object.toJSON === undefined) return object;
  if (typeof object.toJSON === 'function' && !(object instanceof Date) &&
      !ArrayBuffer.isView(object)) {
    return object.toJSON(key);
  }
  if (plain) return object;
  // Objects of another realm (node:vm) are as good as ours.
  if (proto !== null && Object.getPrototypeOf(proto) === null &&
      Object.hasOwn(proto, 'isPrototypeOf')) {
    return object;
  }
  throw new Refused(refusalOf(object));
}

/** Why a value that is no object has no place; for typeof of these three. */
function refusePrimitive(value) {
  switch (typeof value) {
    case 'function':
      return new Refused('a function: return what it gives');
    case 'symbol':
      return new Refused('a symbol: return its description');
    default:
      return new Refused('undefined: use null, or leave the element out');
  }
}

class Packer {
  /** valueBytesMax bounds each value(), in bytes packed. */
  constructor(valueBytesMax = Infinity, bytes = 1 << 14) {
    this.valueBytesMax = valueBytesMax;
    this.at = 0;
    this.limit = Infinity; // where the value that is packed must end
    this.#take(bytes);
    this.parents = [];
  }

  #take(bytes) {
    const old = this.buffer;
    this.buffer = Buffer.allocUnsafeSlow(bytes);
    this.view = new DataView(this.buffer.buffer);
    if (old !== undefined) old.copy(this.buffer, 0, 0, this.at);
  }

  /** Forgets what is packed. */
  clear() {
    this.at = 0;
    if (this.buffer.length > KEEP_BYTES) {
      this.buffer = undefined;
      this.#take(1 << 14);
    }
  }

  /** A copy of what is packed, in an ArrayBuffer of its own. */
  bytes() {
    return Uint8Array.prototype.slice.call(this.buffer, 0, this.at);
  }

  #reserve(bytes) {
    if (this.at + bytes <= this.buffer.length) return;
    let size = this.buffer.length * 2;
    while (size < this.at + bytes) size *= 2;
    this.#take(size);
  }

  #bound(end) {
    if (end > this.limit) {
      throw new Refused(
        `more than ${this.valueBytesMax} bytes packed, which is the ` +
        'largest value (value_bytes_max): store it elsewhere and return ' +
        'where it is', true);
    }
  }

  nil() {
    this.#reserve(1);
    this.buffer[this.at++] = 0xc0;
  }

  bool(value) {
    this.#reserve(1);
    this.buffer[this.at++] = value ? 0xc3 : 0xc2;
  }

  /** A Number or a BigInt; exactly as it is, or refused. */
  number(value) {
    this.#reserve(9);
    if (typeof value === 'bigint') {
      this.#bigint(value);
    } else if (Number.isSafeInteger(value) && !Object.is(value, -0)) {
      this.#integer(value);
    } else if (Number.isFinite(value)) {
      this.buffer[this.at] = 0xcb;
      this.view.setFloat64(this.at + 1, value);
      this.at += 9;
    } else {
      throw new Refused(`${value}, which JSON does not have: use null or a ` +
        'string');
    }
  }

  #integer(value) {
    const { buffer, view, at } = this;
    if (value >= 0) {
      if (value < 0x80) {
        buffer[this.at++] = value;
      } else if (value < 0x100) {
        buffer[at] = 0xcc;
        buffer[at + 1] = value;
        this.at += 2;
      } else if (value < 0x10000) {
        buffer[at] = 0xcd;
        view.setUint16(at + 1, value);
        this.at += 3;
      } else if (value < TWO_32) {
        buffer[at] = 0xce;
        view.setUint32(at + 1, value);
        this.at += 5;
      } else {
        buffer[at] = 0xcf;
        view.setUint32(at + 1, Math.floor(value / TWO_32));
        view.setUint32(at + 5, value % TWO_32);
        this.at += 9;
      }
    } else if (value >= -32) {
      buffer[this.at++] = 0x100 + value;
    } else if (value >= -0x80) {
      buffer[at] = 0xd0;
      view.setInt8(at + 1, value);
      this.at += 2;
    } else if (value >= -0x8000) {
      buffer[at] = 0xd1;
      view.setInt16(at + 1, value);
      this.at += 3;
    } else if (value >= -0x80000000) {
      buffer[at] = 0xd2;
      view.setInt32(at + 1, value);
      this.at += 5;
    } else {
      buffer[at] = 0xd3;
      view.setBigInt64(at + 1, BigInt(value));
      this.at += 9;
    }
  }

  #bigint(value) {
    if (value >= BigInt(Number.MIN_SAFE_INTEGER) &&
        value <= BigInt(Number.MAX_SAFE_INTEGER)) {
      this.#integer(Number(value));
      return;
    }
    if (value >= 0n && value <= UINT64_MAX) {
      this.buffer[this.at] = 0xcf;
      this.view.setBigUint64(this.at + 1, value);
    } else if (value < 0n && value >= INT64_MIN) {
      this.buffer[this.at] = 0xd3;
      this.view.setBigInt64(this.at + 1, value);
    } else {
      throw new Refused('a BigInt that does not fit in 64 bits: return it as ' +
        'a string');
    }
    this.at += 9;
  }

  /** Text as it is: for what is no value; surrogates become U+FFFD. */
  text(text) {
    this.#text(text);
  }

  #text(text) {
    const { length } = text;
    if (length < SHORT_TEXT) {
      this.#reserve(1 + SHORT_TEXT);
      const { buffer } = this;
      const start = this.at + 1;
      let i = 0;
      for (; i < length; i++) {
        const code = text.charCodeAt(i);
        if (code >= 0x80) break;
        buffer[start + i] = code;
      }
      if (i === length) {
        buffer[this.at] = 0xa0 | length;
        this.at = start + length;
        return length;
      }
    }
    const bytes = Buffer.byteLength(text);
    this.#bound(this.at + bytes);
    this.#reserve(5 + bytes);
    const { buffer, view, at } = this;
    if (bytes < 32) {
      buffer[this.at++] = 0xa0 | bytes;
    } else if (bytes < 0x100) {
      buffer[at] = 0xd9;
      buffer[at + 1] = bytes;
      this.at += 2;
    } else if (bytes < 0x10000) {
      buffer[at] = 0xda;
      view.setUint16(at + 1, bytes);
      this.at += 3;
    } else {
      buffer[at] = 0xdb;
      view.setUint32(at + 1, bytes);
      this.at += 5;
    }
    this.at += buffer.utf8Write(text, this.at, bytes);
    return bytes;
  }

  #string(text) {
    if (this.#text(text) !== text.length && !isWellFormed(text)) {
      throw new Refused('a string with half of a surrogate pair, which is no ' +
        'Unicode: use text.toWellFormed(), or cut it elsewhere');
    }
  }

  /** Bytes that are packed already: buffer[start..end). */
  raw(buffer, start = 0, end = buffer.length) {
    this.#reserve(end - start);
    this.buffer.set(start === 0 && end === buffer.length
      ? buffer : buffer.subarray(start, end), this.at);
    this.at += end - start;
  }

  array(count) {
    this.#container(count, 0x90, 0xdc);
  }

  map(count) {
    this.#container(count, 0x80, 0xde);
  }

  #container(count, fix, long) {
    this.#reserve(5);
    const { buffer, view, at } = this;
    if (count < 16) {
      buffer[this.at++] = fix | count;
    } else if (count < 0x10000) {
      buffer[at] = long;
      view.setUint16(at + 1, count);
      this.at += 3;
    } else {
      buffer[at] = long + 1;
      view.setUint32(at + 1, count);
      this.at += 5;
    }
  }

  /** Room for a 32-bit number that is known later; fill() takes its place. */
  hole(type) {
    this.#reserve(5);
    this.buffer[this.at] = type;
    this.at += 5;
    return this.at - 4;
  }

  fill(place, number) {
    this.view.setUint32(place, number);
  }

  /** A value, or throws Refused and leaves nothing of it. */
  value(value) {
    const begun = this.at;
    this.limit = begun + this.valueBytesMax;
    try {
      this.#value(value, '');
      this.#bound(this.at);
    } catch (error) {
      this.at = begun;
      throw error;
    } finally {
      this.limit = Infinity;
      this.parents.length = 0;
    }
  }

  #value(given, key) {
    switch (typeof given) {
      case 'string':
        this.#string(given);
        return;
      case 'number':
      case 'bigint':
        this.number(given);
        return;
      case 'boolean':
        this.bool(given);
        return;
      case 'object':
        break;
      default:
        throw refusePrimitive(given);
    }
    if (given === null) {
      this.nil();
      return;
    }
    const value = plainOf(given, key);
    if (value !== given && (typeof value !== 'object' || value === null)) {
      this.#value(value, key);
      return;
    }
    if (value !== given) plainOf(value, key);
    this.#enter(value);
    if (Array.isArray(value)) this.#elements(value);
    else this.#members(value);
    this.parents.pop();
  }

  #enter(value) {
    if (this.parents.length === VALUE_DEPTH_MAX) {
      throw new Refused(this.parents.includes(value)
        ? 'a part of itself: return what is needed of it'
        : `nested deeper than ${VALUE_DEPTH_MAX} levels: flatten it, or ` +
          'return it as text');
    }
    this.parents.push(value);
    this.#bound(this.at);
  }

  #elements(array) {
    const { length } = array;
    this.array(length);
    let i = 0;
    try {
      for (; i < length; i++) this.#value(array[i], i);
    } catch (error) {
      if (error instanceof Refused) error.path.unshift(i);
      throw error;
    }
  }

  #members(object) {
    const keys = Object.keys(object);
    const place = this.at;
    this.map(keys.length);
    let left = 0;
    let key;
    try {
      for (key of keys) {
        const value = object[key];
        // As JSON.stringify() does.
        if (value === undefined) {
          left++;
          continue;
        }
        this.#string(key);
        this.#value(value, key);
      }
    } catch (error) {
      if (error instanceof Refused) error.path.unshift(key);
      throw error;
    }
    if (left !== 0) this.#recount(place, keys.length, keys.length - left);
  }

  // The header keeps its length; a short count in a long one is fine.
  #recount(place, before, count) {
    if (before < 16) this.buffer[place] = 0x80 | count;
    else if (before < 0x10000) this.view.setUint16(place + 1, count);
    else this.view.setUint32(place + 1, count);
  }
}

/** Reads what is in buffer[at..end); throws ProtocolError. */
class Unpacker {
  constructor(buffer, at = 0, end = buffer.length) {
    this.buffer = buffer;
    this.view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
    this.at = at;
    this.end = end;
  }

  #take(bytes) {
    const { at } = this;
    if (bytes > this.end - at) throw new ProtocolError('it is cut short');
    this.at = at + bytes;
    return at;
  }

  done() {
    if (this.at !== this.end) {
      throw new ProtocolError(`${this.end - this.at} bytes are left over`);
    }
  }

  #count(fix, long, what) {
    const type = this.buffer[this.#take(1)];
    if ((type & 0xf0) === fix) return type & 0x0f;
    if (type === long) return this.view.getUint16(this.#take(2));
    if (type === long + 1) return this.view.getUint32(this.#take(4));
    throw new ProtocolError(`${what} expected`);
  }

  array() {
    return this.#count(0x90, 0xdc, 'an array');
  }

  map() {
    return this.#count(0x80, 0xde, 'a map');
  }

  /** Any integer that is not negative, in any encoding. */
  uint() {
    const type = this.buffer[this.#take(1)];
    if (type < 0x80) return type;
    if (type >= 0xcc && type <= 0xd3) {
      const value = this.#integer(type);
      if (value >= 0) return value;
    }
    throw new ProtocolError('an unsigned integer expected');
  }

  #integer(type) {
    const { view } = this;
    switch (type) {
      case 0xcc: return view.getUint8(this.#take(1));
      case 0xcd: return view.getUint16(this.#take(2));
      case 0xce: return view.getUint32(this.#take(4));
      case 0xd0: return view.getInt8(this.#take(1));
      case 0xd1: return view.getInt16(this.#take(2));
      case 0xd2: return view.getInt32(this.#take(4));
      default: break;
    }
    const at = this.#take(8);
    const high = type === 0xcf ? view.getUint32(at) : view.getInt32(at);
    // Below 2^53 both ways; -2^53 itself is a BigInt like 2^53.
    if (high < 0x200000 && high >= -0x200000) {
      const number = high * TWO_32 + view.getUint32(at + 4);
      if (Number.isSafeInteger(number)) return number;
    }
    return type === 0xcf ? view.getBigUint64(at) : view.getBigInt64(at);
  }

  #textBytes() {
    const type = this.buffer[this.#take(1)];
    if ((type & 0xe0) === 0xa0) return type & 0x1f;
    if (type === 0xd9) return this.view.getUint8(this.#take(1));
    if (type === 0xda) return this.view.getUint16(this.#take(2));
    if (type === 0xdb) return this.view.getUint32(this.#take(4));
    throw new ProtocolError('a string expected');
  }

  text() {
    const bytes = this.#textBytes();
    const at = this.#take(bytes);
    return this.#textAt(at, bytes);
  }

  #textAt(at, bytes) {
    const { buffer } = this;
    if (bytes < SHORT_TEXT) {
      let text = '';
      let i = 0;
      for (; i < bytes && buffer[at + i] < 0x80; i++) {
        text += String.fromCharCode(buffer[at + i]);
      }
      if (i === bytes) return text;
    }
    if (!isUtf8(buffer.subarray(at, at + bytes))) {
      throw new ProtocolError('a string is no UTF-8');
    }
    return buffer.utf8Slice(at, at + bytes);
  }

  /** Bytes of a bin; where they are: [start, end). */
  bin() {
    const type = this.buffer[this.#take(1)];
    let bytes;
    if (type === 0xc4) bytes = this.view.getUint8(this.#take(1));
    else if (type === 0xc5) bytes = this.view.getUint16(this.#take(2));
    else if (type === 0xc6) bytes = this.view.getUint32(this.#take(4));
    else throw new ProtocolError('bytes expected');
    return [this.#take(bytes), this.at];
  }

  /** A value as JSON has them. */
  value(depth = 0) {
    const { buffer, view } = this;
    const type = buffer[this.#take(1)];
    if (type < 0x80) return type;
    if (type >= 0xe0) return type - 0x100;
    if (type < 0xa0 || (type >= 0xdc && type <= 0xdf)) {
      this.at--;
      if (depth === VALUE_DEPTH_MAX) {
        throw new ProtocolError(`a value nested deeper than ${depth}`);
      }
      return type < 0x90 || type >= 0xde
        ? this.#object(depth + 1) : this.#elements(depth + 1);
    }
    if (type < 0xc0 || (type >= 0xd9 && type <= 0xdb)) {
      this.at--;
      return this.text();
    }
    if (type >= 0xcc && type <= 0xd3) return this.#integer(type);
    switch (type) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xca: return this.#finite(view.getFloat32(this.#take(4)));
      case 0xcb: return this.#finite(view.getFloat64(this.#take(8)));
      default:
        throw new ProtocolError(
          `0x${type.toString(16)} is no type of a value`);
    }
  }

  #finite(number) {
    if (!Number.isFinite(number)) {
      throw new ProtocolError('a number that is not finite');
    }
    return number;
  }

  #elements(depth) {
    const count = this.array();
    // Each takes a byte at least: a lie must not cost memory.
    if (count > this.end - this.at) throw new ProtocolError('it is cut short');
    const array = new Array(count);
    for (let i = 0; i < count; i++) array[i] = this.value(depth);
    return array;
  }

  #object(depth) {
    const count = this.map();
    const object = {};
    for (let i = 0; i < count; i++) {
      const key = this.text();
      const value = this.value(depth);
      if (key === '__proto__') {
        Object.defineProperty(object, key, {
          value, enumerable: true, configurable: true, writable: true,
        });
      } else {
        object[key] = value;
      }
    }
    return object;
  }

  /** Passes over one value of any kind, checking all of it. */
  skip(depth = 0) {
    const type = this.buffer[this.#take(1)];
    if (type < 0x80 || type >= 0xe0 || type === 0xc0 || type === 0xc2 ||
        type === 0xc3) {
      return;
    }
    if (type < 0xa0 || (type >= 0xdc && type <= 0xdf)) {
      this.at--;
      if (depth === FRAME_DEPTH_MAX) {
        throw new ProtocolError(`nested deeper than ${depth}`);
      }
      const isMap = type < 0x90 || type >= 0xde;
      let count = isMap ? 2 * this.map() : this.array();
      for (; count > 0; count--) this.skip(depth + 1);
      return;
    }
    if (type < 0xc0 || (type >= 0xd9 && type <= 0xdb)) {
      this.at--;
      const bytes = this.#textBytes();
      this.#checkText(this.#take(bytes), bytes);
      return;
    }
    if (type >= 0xc4 && type <= 0xc6) {
      this.at--;
      this.bin();
      return;
    }
    if (type >= 0xcc && type <= 0xd3) {
      this.#take(1 << (type & 3));
      return;
    }
    if (type === 0xca || type === 0xcb) {
      this.#finite(type === 0xca ? this.view.getFloat32(this.#take(4))
        : this.view.getFloat64(this.#take(8)));
      return;
    }
    throw new ProtocolError(`0x${type.toString(16)} is no type of ours`);
  }

  #checkText(at, bytes) {
    const { buffer } = this;
    const end = at + bytes;
    if (bytes < SHORT_TEXT) {
      let i = at;
      while (i < end && buffer[i] < 0x80) i++;
      if (i === end) return;
    }
    if (!isUtf8(buffer.subarray(at, end))) {
      throw new ProtocolError('a string is no UTF-8');
    }
  }
}

module.exports = {
  FRAME_DEPTH_MAX,
  INT64_MAX,
  INT64_MIN,
  Packer,
  ProtocolError,
  Refused,
  UINT64_MAX,
  Unpacker,
  VALUE_DEPTH_MAX,
  isWellFormed,
  plainOf,
  refusePrimitive,
};
