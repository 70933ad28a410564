/*
 * rappel - actions for workflows. See README.md.
 */
'use strict';

const { ActionError } = require('./lib/errors.js');
const { LATER, action, actions } = require('./lib/registry.js');

module.exports = { ActionError, LATER, action, actions };
