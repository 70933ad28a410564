/*
 * inline - actions run in the process of a test: no daemon, no socket.
 *
 * Input and result pass the same checks as in a worker, and what is thrown
 * becomes the same name, cause and kinds.
 */
'use strict';

const { invalidResult } = require('./answers.js');
const { Context, abortContext, endContext, thrownBy } =
  require('./context.js');
const { failureOf } = require('./errors.js');
const { Packer, Refused, Unpacker } = require('./msgpack.js');
const { LATER, registered } = require('./registry.js');

const VALUE_BYTES_MAX = 1 << 20;
const INSTANCE = '0199c1a2-6e5f-7000-8a3b-5c1d2e3f4a5b';
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const OPTIONS = new Set(['attempt', 'activation', 'instanceId', 'timeoutMs',
  'heartbeatMs', 'cancelAfter']);

/** How an action failed: what its workflow would see. */
class ActionFailed extends Error {
  constructor({ name, cause, kinds }, thrown) {
    super(`${name}: ${cause}`, { cause: thrown });
    this.name = 'ActionFailed';
    this.error = name;
    this.causeText = cause;
    this.kinds = kinds;
  }

  /** Whether a Retry or Catch with this name would take it. */
  matches(name) {
    return name === 'States.ALL' || name === this.error ||
      this.kinds.includes(name) ||
      (name === 'States.TaskFailed' && this.error !== 'States.Timeout');
  }
}

/** The value as the other side gets it; throws Refused. */
function carried(value) {
  const packer = new Packer(VALUE_BYTES_MAX);
  packer.value(value);
  return new Unpacker(packer.buffer, 0, packer.at).value();
}

/** A head as a DISPATCH has it. */
function headOf({ instanceId, activation, attempt }) {
  const packer = new Packer();
  packer.number(1);
  const tokenEnd = packer.at;
  packer.raw(Buffer.from(`c410${instanceId.replaceAll('-', '')}`, 'hex'));
  packer.number(activation);
  packer.number(attempt);
  return { head: Buffer.from(packer.bytes()), tokenEnd };
}

function findAction(action) {
  if (typeof action === 'function') {
    const known = [...registered().values()].find(({ run }) => run === action);
    return known ?? { name: action.name || 'action', run: action };
  }
  const known = registered().get(action);
  if (known === undefined) {
    throw new TypeError(`there is no action ${JSON.stringify(action)}: ` +
      'import the module that registers it, or give its function');
  }
  return known;
}

function checked(options) {
  for (const key of Object.keys(options)) {
    if (!OPTIONS.has(key)) {
      throw new TypeError(`unknown option ${JSON.stringify(key)}: there are ` +
        [...OPTIONS].join(', '));
    }
  }
  const given = {
    attempt: 1, activation: 1, instanceId: INSTANCE, timeoutMs: 0,
    heartbeatMs: 0, cancelAfter: Infinity, ...options,
  };
  if (!UUID.test(given.instanceId)) {
    throw new TypeError(`instanceId ${JSON.stringify(given.instanceId)} is no ` +
      'UUID');
  }
  return given;
}

/** Runs it as one attempt; {result, error, later, heartbeats, logs}. */
async function attempt(action, input = null, options = {}) {
  const { name, run: perform } = findAction(action);
  const given = checked(options);
  let value;
  try {
    value = carried(input);
  } catch (error) {
    if (error instanceof Refused) {
      throw new TypeError(`the input is no JSON: ${error.where}`);
    }
    throw error;
  }
  const run = {
    ...headOf(given),
    timeoutMs: given.timeoutMs,
    heartbeatMs: given.heartbeatMs,
    started: performance.now(),
    ended: false,
  };
  const outcome = {
    result: undefined, error: null, later: false, heartbeats: [], logs: [],
  };
  const context = new Context({
    everyBeat: true,
    log: (level, message, fields) =>
      outcome.logs.push({ level, message, fields }),
    beat: (_, progress) => {
      outcome.heartbeats.push(new Unpacker(Buffer.from(progress)).value());
      if (outcome.heartbeats.length >= given.cancelAfter) {
        abortContext(context, 'Rappel.Cancelled', 'it is not wanted any more');
      }
    },
  }, run, name);
  try {
    const result = await perform(value, context);
    if (result === LATER) {
      outcome.later = true;
    } else {
      try {
        outcome.result = carried(result === undefined ? null : result);
      } catch (error) {
        outcome.error = new ActionFailed(invalidResult(error), error);
      }
    }
  } catch (thrown) {
    outcome.error = new ActionFailed(failureOf(thrownBy(context, thrown)),
      thrown);
  } finally {
    endContext(context);
    run.ended = true;
  }
  return outcome;
}

/** Runs it as one attempt; its result, or throws ActionFailed. */
async function run(action, input = null, options = {}) {
  const outcome = await attempt(action, input, options);
  if (outcome.error !== null) throw outcome.error;
  return outcome.later ? LATER : outcome.result;
}

module.exports = { ActionFailed, attempt, run };
