#!/usr/bin/env node
/*
 * rappel-node-worker - runs the actions of the modules that it is given.
 */
'use strict';

require('../lib/main.js').main(process.argv.slice(2));
