/*
 * The codec: bytes that msgpack's specification fixes, values that must come
 * back as they were, and everything that must be refused.
 */
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { describe, test } from 'node:test';
import vm from 'node:vm';

const require = createRequire(import.meta.url);
const { Packer, ProtocolError, Refused, Unpacker } =
  require('../lib/msgpack.js');

const VALUE_BYTES_MAX = 1 << 20;

function pack(value, max = VALUE_BYTES_MAX) {
  const packer = new Packer(max, 16);
  packer.value(value);
  return Buffer.from(packer.bytes());
}

function unpack(bytes) {
  const unpacker = new Unpacker(bytes);
  const value = unpacker.value();
  unpacker.done();
  const again = new Unpacker(bytes);
  again.skip();
  again.done();
  return value;
}

const hex = (text) => Buffer.from(text.replaceAll(' ', ''), 'hex');

// Each packs to these bytes, and these bytes are it.
const exact = [
  [null, 'c0'], [false, 'c2'], [true, 'c3'],
  [0, '00'], [127, '7f'], [128, 'cc80'], [255, 'ccff'], [256, 'cd0100'],
  [65535, 'cdffff'], [65536, 'ce00010000'], [2 ** 32 - 1, 'ceffffffff'],
  [2 ** 32, 'cf0000000100000000'],
  [Number.MAX_SAFE_INTEGER, 'cf001fffffffffffff'],
  [2n ** 53n, 'cf0020000000000000'],
  [2n ** 63n, 'cf8000000000000000'], [2n ** 64n - 1n, 'cfffffffffffffffff'],
  [-1, 'ff'], [-32, 'e0'], [-33, 'd0df'], [-128, 'd080'], [-129, 'd1ff7f'],
  [-32768, 'd18000'], [-32769, 'd2ffff7fff'], [-(2 ** 31), 'd280000000'],
  [-(2 ** 31) - 1, 'd3ffffffff7fffffff'],
  [Number.MIN_SAFE_INTEGER, 'd3ffe0000000000001'],
  [-(2n ** 53n), 'd3ffe0000000000000'], [-(2n ** 63n), 'd38000000000000000'],
  [-0, 'cb8000000000000000'], [1.5, 'cb3ff8000000000000'],
  [2 ** 53, 'cb4340000000000000'], [5e-324, 'cb0000000000000001'],
  [Number.MAX_VALUE, 'cb7fefffffffffffff'],
  ['', 'a0'], ['a', 'a161'], ['ü', 'a2c3bc'], ['😀', 'a4f09f9880'],
  ['\0', 'a100'], [[], '90'], [{}, '80'], [[1, [2]], '92019102'],
  [{ a: { b: [] } }, '81a16181a16290'],
];

describe('msgpack', () => {
  for (const [value, bytes] of exact) {
    const name = typeof value === 'bigint' ? `${value}n`
      : Object.is(value, -0) ? '-0' : JSON.stringify(value);
    test(`${name} is ${bytes}`, () => {
      assert.equal(pack(value).toString('hex'), bytes);
      assert.deepStrictEqual(unpack(hex(bytes)), value);
    });
  }

  test('a BigInt that a Number holds is one', () => {
    for (const value of [0n, 5n, -33n, 2n ** 53n - 1n, -(2n ** 53n) + 1n]) {
      assert.deepStrictEqual(unpack(pack(value)), Number(value));
    }
  });

  test('integers in longer forms than they need', () => {
    for (const bytes of ['05', 'cc05', 'cd0005', 'ce00000005',
      'cf0000000000000005', 'd005', 'd10005', 'd200000005',
      'd30000000000000005']) {
      assert.equal(unpack(hex(bytes)), 5);
      assert.equal(new Unpacker(hex(bytes)).uint(), 5);
    }
    assert.equal(unpack(hex('ca3fc00000')), 1.5);
    assert.deepStrictEqual(unpack(hex('dd00000001 de0001 d90161 c0')),
      [{ a: null }]);
  });

  test('texts of every length of a header', () => {
    for (const unit of ['x', 'ü', '€', '😀']) {
      for (const count of [1, 7, 8, 15, 23, 24, 31, 32, 63, 85, 86, 127, 128,
        255, 256, 16384, 65535, 65536, 80000]) {
        const text = unit.repeat(count);
        assert.equal(unpack(pack(text)), text);
      }
    }
  });

  test('every character of Unicode', () => {
    for (let from = 0; from < 0x110000; from += 0x1000) {
      if (from >= 0xd000 && from < 0xe000) continue;
      let text = '';
      for (let code = from; code < from + 0x1000; code++) {
        text += String.fromCodePoint(code);
      }
      assert.equal(unpack(pack(text)), text);
    }
    const byteOrderMark = '\ufeffx';
    assert.equal(unpack(pack(byteOrderMark)), byteOrderMark);
  });

  test('containers of every length of a header', () => {
    for (const count of [15, 16, 17, 65535, 65536, 70000]) {
      const array = Array.from({ length: count }, (_, i) => i);
      assert.deepStrictEqual(unpack(pack(array)), array);
      const object = Object.fromEntries(array.map((i) => [`k${i}`, i]));
      assert.deepStrictEqual(unpack(pack(object)), object);
    }
  });

  test('members that are undefined are left out, at every length', () => {
    for (const count of [1, 14, 15, 16, 40, 65535, 65536]) {
      const object = { gone: undefined };
      for (let i = 0; i < count; i++) object[`k${i}`] = i;
      const { gone, ...rest } = object;
      assert.equal(gone, undefined);
      assert.deepStrictEqual(unpack(pack(object)), rest);
    }
  });

  test('keys that mean something to JavaScript are keys', () => {
    const value = JSON.parse('{"__proto__": {"polluted": true}, ' +
      '"constructor": 1, "toString": 2, "hasOwnProperty": 3}');
    const back = unpack(pack(value));
    assert.deepStrictEqual(Object.keys(back), Object.keys(value));
    assert.equal(Object.getPrototypeOf(back), Object.prototype);
    assert.equal({}.polluted, undefined);
    assert.equal(JSON.stringify(back), JSON.stringify(value));
  });

  test('what stands for an object is packed', () => {
    assert.deepStrictEqual(unpack(pack({ x: { toJSON: () => [1] } })),
      { x: [1] });
    assert.equal(unpack(pack({ toJSON: () => 'text' })), 'text');
    const url = new URL('http://127.0.0.1/a');
    assert.equal(unpack(pack(url)), url.href);
    assert.deepStrictEqual(unpack(pack(Object.create(null))), {});
    assert.deepStrictEqual(unpack(pack(vm.runInNewContext('({a: [1]})'))),
      { a: [1] });
  });

  class Order { constructor() { this.id = 1; } }
  const cycle = { list: [] };
  cycle.list.push(cycle);
  const refused = [
    ['NaN', { a: [1, NaN] }, '$.a[1] is NaN'],
    ['an infinity', -Infinity, '$ is -Infinity'],
    ['a hole', [1, , 3], '$[1] is undefined'], // eslint-disable-line
    ['undefined', [undefined], '$[0] is undefined'],
    ['a function', { f() {} }, '$.f is a function'],
    ['a symbol', [Symbol('s')], '$[0] is a symbol'],
    ['a Date', { 'at noon': new Date() }, '$["at noon"] is a Date'],
    ['a Map', new Map(), '$ is a Map'],
    ['a Set', new Set(), '$ is a Set'],
    ['a RegExp', /x/, '$ is a RegExp'],
    ['an instance', [[new Order()]], '$[0][0] is an instance of Order'],
    ['a boxed number', Object(1), '$ is an instance of Number'],
    ['an error', new TypeError('x'), '$ is an error (TypeError)'],
    ['a promise', [Promise.resolve()], '$[0] is a promise'],
    ['a Buffer', Buffer.from('x'), '$ is bytes'],
    ['a typed array', { a: new Float64Array(1) }, '$.a is bytes'],
    ['a toJSON with no JSON', { a: { toJSON: () => NaN } }, '$.a is NaN'],
    ['a toJSON with a Map', { a: { toJSON: () => new Map() } },
      '$.a is a Map'],
    ['a high surrogate', ['x\ud83d'], '$[0] is a string with half'],
    ['a low surrogate', { a: '\ude00'.padStart(99) }, '$.a is a string'],
    ['half a key', { '\ud800': 1 }, 'half of a surrogate pair'],
    ['a cycle', cycle, 'a part of itself'],
    ['2^64', [2n ** 64n], '$[0] is a BigInt that does not fit'],
    ['-2^63-1', -(2n ** 63n) - 1n, '$ is a BigInt that does not fit'],
  ];
  for (const [name, value, text] of refused) {
    test(`${name} is refused, with its place`, () => {
      const packer = new Packer(VALUE_BYTES_MAX);
      packer.text('before');
      const { at } = packer;
      assert.throws(() => packer.value(value), (error) => {
        assert.ok(error instanceof Refused, error);
        assert.ok(error.where.includes(text), error.where);
        return true;
      });
      assert.equal(packer.at, at);
      packer.value([1]); // and it works on
    });
  }

  test('32 levels fit, 33 do not', () => {
    let value = [];
    for (let i = 1; i < 32; i++) value = i % 2 ? { a: value } : [value];
    assert.deepStrictEqual(unpack(pack(value)), value);
    assert.throws(() => pack([value]), /nested deeper than 32 levels/);
    const packed = Buffer.concat([hex('91'), pack(value)]);
    assert.throws(() => unpack(packed), /nested deeper than 32/);
  });

  test('the largest value fits, a byte more does not', () => {
    const head = 5; // of a text of that length
    const text = 'x'.repeat(VALUE_BYTES_MAX - head);
    assert.equal(pack(text).length, VALUE_BYTES_MAX);
    assert.throws(() => pack(`${text}x`), /more than 1048576 bytes packed/);
    assert.throws(() => pack(Array(VALUE_BYTES_MAX).fill(1)),
      /more than 1048576 bytes/);
    // What is far too large costs neither memory nor time.
    assert.throws(() => pack(Array(1e6).fill('x'.repeat(1000))),
      /more than 1048576 bytes/);
  });

  const wrong = [
    ['nothing', ''], ['half an integer', 'cd01'], ['half a text', 'a261'],
    ['a text without its bytes', 'dbffffffff'],
    ['an array without its elements', 'ddffffffff'],
    ['a map without its members', 'dfffffffff'],
    ['a key that is a number', '810101'], ['a key that is null', '81c001'],
    ['0xc1', 'c1'], ['an extension', 'd40100'], ['bytes in a value', 'c40161'],
    ['NaN', 'cb7ff8000000000000'], ['an infinity', 'ca7f800000'],
    ['UTF-8 cut short', 'a1c3'], ['an overlong form', 'a2c080'],
    ['a surrogate', 'a3eda080'], ['above U+10FFFF', 'a4f4908080'],
    ['invalid UTF-8 in a key', '81a1ff01'],
    ['invalid UTF-8 in a long text', `d928${'61'.repeat(39)}ff`],
    ['a byte too many', '0000'],
  ];
  for (const [name, bytes] of wrong) {
    test(`${name} is no value`, () => {
      assert.throws(() => unpack(hex(bytes)), ProtocolError);
    });
  }

  test('what is no integer is none', () => {
    for (const bytes of ['ff', 'd0ff', 'd3ffffffffffffffff', 'c0', 'a0', 'cb0',
      'cb4000000000000000']) {
      assert.throws(() => new Unpacker(hex(bytes)).uint(), ProtocolError);
    }
  });

  test('random values, and random damage to them', () => {
    let seed = 42;
    const random = (below) => {
      seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
      return (seed >>> 8) % below;
    };
    const make = (depth) => {
      switch (random(depth > 4 ? 7 : 9)) {
        case 0: return null;
        case 1: return random(2) === 1;
        case 2: return random(1 << 24) - (1 << 23);
        case 3: return random(1 << 24) / 7 + 0.1;
        case 4: return (BigInt(random(1 << 23)) << 40n) + (1n << 60n);
        case 5: return -((BigInt(random(1 << 22)) << 40n) + (1n << 54n));
        case 6: return 'aü€😀'.repeat(random(20)).slice(0, 2 * random(8));
        case 7: return Array.from({ length: random(20) },
          () => make(depth + 1));
        default: return Object.fromEntries(Array.from({ length: random(20) },
          () => [`k${random(1000)}`, make(depth + 1)]));
      }
    };
    for (let round = 0; round < 2000; round++) {
      const value = make(0);
      let bytes;
      try {
        bytes = pack(value);
      } catch (error) {
        assert.match(error.message, /surrogate/); // slice() cut one
        continue;
      }
      assert.deepStrictEqual(unpack(bytes), value);
      for (let i = 0; i < 5; i++) {
        const damaged = Buffer.from(bytes);
        damaged[random(damaged.length)] = random(256);
        try {
          unpack(damaged.subarray(0, 1 + random(damaged.length)));
        } catch (error) {
          assert.ok(error instanceof ProtocolError, error);
        }
      }
    }
  });
});
