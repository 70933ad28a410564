// rappel/testing - runs actions inline, for tests. See docs/node.md.
import testing from './testing.js';

export const { ActionFailed, attempt, run } = testing;
