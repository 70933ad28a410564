/*
 * rappel/testing - runs actions inline, for tests. See docs/node.md.
 */
'use strict';

module.exports = require('./lib/inline.js');
