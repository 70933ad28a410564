// rappel/client - workflows over your own connection. See docs/node.md.
import client from './client.js';

export const {
  Conflict, ENDED, InvalidRequest, NotEnded, NotFound, RappelError, RunFailed,
  SchemaMissing, WaitTimeout, cancel, history, result, start, startMany,
  status, taskFail, taskHeartbeat, taskSucceed, wait,
} = client;
