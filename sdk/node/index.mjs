// rappel - actions for workflows. The same registry as for require().
import rappel from './index.js';

export const { ActionError, LATER, action, actions } = rappel;
