/*
 * json - JSON text and back without rounding: integers of 64 bits are BigInts
 * where a Number would not hold them, and what JSON has no place for is
 * refused as in an action's result.
 */
'use strict';

const { randomUUID } = require('node:crypto');

const { Packer, Unpacker } = require('./msgpack.js');

const TOKEN =
  /"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;
const LONG = /\d{16}/;
const INTEGER = /^-?\d{16,}$/;
// A member that no value has by accident, around integers that are BigInts.
const MARK = `integer ${randomUUID()}`;

function numberText(value) {
  if (Object.is(value, -0)) return '-0.0';
  const text = String(value);
  // A double stays one, and 2^53 as a Number is one.
  return Number.isInteger(value) && !Number.isSafeInteger(value) &&
    !text.includes('e') ? `${text}.0` : text;
}

function textOf(value) {
  switch (typeof value) {
    case 'string': return JSON.stringify(value);
    case 'number': return numberText(value);
    case 'bigint': return String(value);
    default: break;
  }
  if (value === null || typeof value === 'boolean') return String(value);
  if (Array.isArray(value)) return `[${value.map(textOf).join(',')}]`;
  return `{${Object.entries(value).map(([key, member]) =>
    `${JSON.stringify(key)}:${textOf(member)}`).join(',')}}`;
}

/** JSON text of a value, exactly; throws Refused. */
function toJson(value) {
  const packer = new Packer();
  packer.value(value);
  return textOf(new Unpacker(packer.buffer, 0, packer.at).value());
}

/** The value of JSON text, exactly. */
function fromJson(text) {
  if (!LONG.test(text)) return JSON.parse(text);
  let marked = false;
  const safe = text.replace(TOKEN, (token) => {
    if (!INTEGER.test(token) || Number.isSafeInteger(Number(token))) {
      return token;
    }
    marked = true;
    return `{"${MARK}":"${token}"}`;
  });
  if (!marked) return JSON.parse(text);
  return JSON.parse(safe, (_, value) =>
    (value !== null && typeof value === 'object' && Object.hasOwn(value, MARK)
      ? BigInt(value[MARK]) : value));
}

module.exports = { fromJson, toJson };
