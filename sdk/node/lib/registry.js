/*
 * registry - the actions that a process has, by name.
 *
 * One for the process, however many copies of this package its modules have,
 * and whether they import or require it.
 */
'use strict';

const NAME_BYTES_MAX = 256;
const KEY = Symbol.for('rappel.actions.1');

/** What an action returns when somebody else finishes it: ctx.taskToken. */
const LATER = Symbol.for('rappel.LATER');

/** Name to {name, run, where}. */
function registered() {
  if (globalThis[KEY] === undefined) {
    Object.defineProperty(globalThis, KEY, { value: new Map() });
  }
  return globalThis[KEY];
}

/** FILE:LINE of whoever called the function below. */
function callerOf(below) {
  const holder = {};
  Error.captureStackTrace(holder, below);
  const line = holder.stack.split('\n')[1] ?? '';
  const found = /\(?((?:file:\/\/)?\/[^()]*?):(\d+):\d+\)?$/.exec(line);
  return found === null ? 'an unknown place'
    : `${decodeURI(found[1].replace(/^file:\/\//, ''))}:${found[2]}`;
}

function add(name, run, where) {
  if (typeof name !== 'string' || name === '') {
    throw new TypeError(`action(name, function) at ${where}: the name must ` +
      'be a string that is not empty');
  }
  if (Buffer.byteLength(name) > NAME_BYTES_MAX) {
    throw new RangeError(`action "${name.slice(0, 32)}…" at ${where}: the ` +
      `name has more than ${NAME_BYTES_MAX} bytes`);
  }
  if (typeof run !== 'function') {
    throw new TypeError(`action "${name}" at ${where}: give it a function, ` +
      'action(name, async (input, ctx) => result)');
  }
  const before = registered().get(name);
  if (before !== undefined) {
    throw new Error(`two actions are named "${name}", at ${before.where} and ` +
      `at ${where}: rename one of them`);
  }
  registered().set(name, { name, run, where });
}

/** Gives a function the name under which workflows call it; returns it. */
function action(name, run) {
  add(name, run, callerOf(action));
  return run;
}

/** The same for a table: {name: function, …}. */
function actions(table) {
  const where = callerOf(actions);
  for (const [name, run] of Object.entries(table)) add(name, run, where);
  return table;
}

module.exports = { LATER, action, actions, registered };
