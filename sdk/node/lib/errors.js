/*
 * errors - how what an action throws becomes an error of its workflow: a
 * name, a cause, and the names that it counts as, too.
 */
'use strict';

const { inspect } = require('node:util');

const OWN = `${__dirname}/`;
const NODE_LINE = /^\s+at (?:.* \()?node:/;
const NAME_BYTES_MAX = 128;
const CAUSE_BYTES_MAX = 32 << 10;
const KINDS_MAX = 32;
const STACK_LINES = 8;
const CAUSES_MAX = 4;

/** Fails an action with a name of its own and a cause, without a stack. */
class ActionError extends Error {
  constructor(name, cause = '', options = undefined) {
    super(String(cause), options);
    if (typeof name !== 'string' || name === '') {
      throw new TypeError('an ActionError needs a name, such as ' +
        'new ActionError("Order.Unknown", "there is no order 17")');
    }
    Object.defineProperty(this, 'name', {
      value: name, configurable: true, writable: true,
    });
  }
}
Object.defineProperty(ActionError.prototype, 'name', {
  value: 'ActionError', configurable: true, writable: true,
});

/** Why a signal is aborted; .name is the error that the action ends with. */
class AbortReason extends ActionError {}
Object.defineProperty(AbortReason.prototype, 'name', {
  value: 'AbortError', configurable: true, writable: true,
});

/** Cut to so many bytes, at a character; what the journal cannot hold is ?. */
function cutText(text, bytesMax) {
  const clean = String(text).replaceAll('\0', '?');
  if (clean.length * 3 <= bytesMax) return clean;
  const bytes = Buffer.from(clean);
  if (bytes.length <= bytesMax) return clean;
  let end = bytesMax;
  while (end > 0 && (bytes[end] & 0xc0) === 0x80) end--;
  return bytes.toString('utf8', 0, end);
}

function own(object, key) {
  const found = Object.getOwnPropertyDescriptor(object, key);
  return found !== undefined && 'value' in found ? found.value : undefined;
}

function isName(name) {
  return typeof name === 'string' && name !== '';
}

/** The names of its classes, nearest first, up to Error. */
function classesOf(error) {
  const names = [];
  for (let proto = Object.getPrototypeOf(error);
    proto !== null && proto !== Object.prototype && names.length < KINDS_MAX;
    proto = Object.getPrototypeOf(proto)) {
    const constructor = own(proto, 'constructor');
    const name = own(proto, 'name') ??
      (typeof constructor === 'function' ? constructor.name : undefined);
    if (isName(name)) names.push(name);
  }
  return names;
}

/** "Name: message" and a short stack, and what caused it. */
function causeOf(error, name) {
  const lines = [];
  let at = error;
  for (let i = 0; i < CAUSES_MAX && at instanceof Error; i++) {
    const plain = i === 0 ? String(at.message)
      : `caused by ${at.name}: ${at.message}`;
    lines.push(plain === '' ? name : plain);
    if (!(at instanceof ActionError) && typeof at.stack === 'string') {
      lines.push(...at.stack.split('\n')
        .filter((line) => /^\s+at /.test(line) &&
          !NODE_LINE.test(line) && !line.includes(OWN))
        .slice(0, STACK_LINES));
    }
    for (const one of (at instanceof AggregateError ? at.errors : [])
      .slice(0, CAUSES_MAX)) {
      lines.push(`with ${one instanceof Error
        ? `${one.name}: ${one.message}` : inspect(one)}`);
    }
    at = at.cause;
  }
  if (at !== undefined && !(at instanceof Error)) {
    lines.push(`caused by ${inspect(at)}`);
  }
  return lines.join('\n');
}

/** {name, cause, kinds} of whatever was thrown. */
function failureOf(thrown) {
  if (!(thrown instanceof Error)) {
    return {
      name: 'Error',
      cause: cutText(`thrown: ${typeof thrown === 'string'
        ? thrown : inspect(thrown)}`, CAUSE_BYTES_MAX),
      kinds: [],
    };
  }
  const classes = classesOf(thrown);
  const given = own(thrown, 'name');
  const name = isName(given) ? given : classes[0] ?? 'Error';
  const kinds = typeof thrown.code === 'string' ? [thrown.code] : [];
  kinds.push(...classes);
  return {
    name: cutText(name, NAME_BYTES_MAX),
    cause: cutText(causeOf(thrown, name), CAUSE_BYTES_MAX),
    kinds: [...new Set(kinds)]
      .filter((kind) => kind !== name && isName(kind) &&
        Buffer.byteLength(kind) <= NAME_BYTES_MAX && !kind.includes('\0'))
      .slice(0, KINDS_MAX),
  };
}

module.exports = {
  AbortReason, ActionError, cutText, failureOf,
};
