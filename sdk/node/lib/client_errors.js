/*
 * client_errors - what goes wrong between a client and the database.
 *
 * What rappel's own functions raise becomes one of these; every other error
 * of the driver passes as it is.
 */
'use strict';

class RappelError extends Error {
  constructor(message, hint = undefined, options = undefined) {
    super(hint ? `${message} (${hint})` : message, options);
    this.hint = hint;
  }
}
class InvalidRequest extends RappelError {}
class NotFound extends RappelError {}
class Conflict extends RappelError {}
class NotEnded extends Conflict {}
class SchemaMissing extends RappelError {}
class WaitTimeout extends RappelError {}

class RunFailed extends RappelError {
  constructor(id, status, error, cause) {
    const what = [error, cause].filter(Boolean).join(': ');
    super(`run ${id} ${status.replace('_', ' ')}${what && `: ${what}`}`);
    this.id = id;
    this.status = status;
    this.error = error;
    this.causeText = cause;
  }
}

const classes = {
  RappelError, InvalidRequest, NotFound, Conflict, NotEnded, SchemaMissing,
  WaitTimeout, RunFailed,
};
for (const [name, one] of Object.entries(classes)) {
  Object.defineProperty(one.prototype, 'name', {
    value: name, configurable: true, writable: true,
  });
}

const BY_SQLSTATE = { RP400: InvalidRequest, RP404: NotFound, RP409: Conflict };
// No such schema, function, table or column.
const MISSING = new Set(['3F000', '42883', '42P01', '42703']);

/** The same error in our words, or as it is. */
function translated(error) {
  const found = Object.hasOwn(BY_SQLSTATE, error?.code ?? '')
    ? BY_SQLSTATE[error.code] : undefined;
  if (found !== undefined) {
    return new found(error.message, error.hint, { cause: error });
  }
  if (MISSING.has(error?.code) && /rappel/.test(error.message)) {
    return new SchemaMissing(error.message,
      'rappelctl db migrate makes or renews the schema', { cause: error });
  }
  return error;
}

module.exports = { ...classes, translated };
