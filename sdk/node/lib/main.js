/*
 * main - rappel-node-worker: who am I, and which modules have my actions.
 *
 * Started by rappeld, which says in the environment who it is. What a person
 * got wrong is one line on stderr, which rappelctl status shows, and exit
 * 78, before anything is said on the socket.
 */
'use strict';

const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const { createRequire } = require('node:module');
const path = require('node:path');
const { pathToFileURL } = require('node:url');
const { inspect } = require('node:util');

const { Log } = require('./log.js');
const { registered } = require('./registry.js');
const { letFindUs } = require('./resolve.js');
const { version } = require('../package.json');

const EXIT_USAGE = 64;
const EXIT_CONFIG = 78;
const NAME = 'rappel-node-worker';
const CONCURRENCY = 16;
const CONCURRENCY_MAX = 1024;
const VALUE_BYTES_MAX = 1 << 20;

const USAGE = `usage: ${NAME} MODULE...
       ${NAME} --check MODULE...

Runs the actions that the modules register; started by rappeld, which sets
RAPPEL_FD, RAPPEL_SLOT and RAPPEL_SPAWN. MODULE is a file or the name of an
installed package. --check loads them and lists their actions.
`;

const { exit } = process;
let failed = false;

/** Ends the process with one line, whatever is in the text. */
function fail(text) {
  if (failed) return; // it is ending
  failed = true;
  const line = text.replace(/\s*\n\s*/g, ' ').slice(0, 2000);
  fs.writeSync(2, `${NAME}: ${line}\n`);
  exit.call(process, EXIT_CONFIG);
}

/** The number in a variable, fallback when it is not set; or the end. */
function number(name, min, max, fallback) {
  const text = process.env[name];
  if (text === undefined && fallback !== undefined) return fallback;
  const value = /^\d{1,15}$/.test(text ?? '') ? Number(text) : NaN;
  if (!(value >= min && value <= max)) {
    fail(`${name}=${text ?? ''} must be a number from ${min} to ${max}: ` +
      'correct it in the environment of the group');
  }
  return value;
}

/** Where a module lies: as a file, or else as a package as seen from here. */
function locate(name) {
  const file = path.resolve(name);
  if (fs.existsSync(file) && fs.statSync(file).isFile()) return file;
  return createRequire(path.join(process.cwd(), 'rappel.js')).resolve(name);
}

/** FILE:LINE at the beginning of what the parser says, or null. */
function parsedTo(text) {
  const found = /^(?:file:\/\/)?(\/.*?):(\d+)\r?\n/.exec(text);
  return found === null ? null : `${decodeURI(found[1])}:${found[2]}`;
}

/** FILE:LINE where the parser or the stack says that it went wrong. */
function whereOf(error, file) {
  const stack = String(error?.stack ?? '');
  let first = parsedTo(stack);
  if (first === null && error instanceof SyntaxError) {
    // Of an ES module the error itself does not know.
    first = parsedTo(spawnSync(process.execPath, ['--check', file],
      { encoding: 'utf8', env: {} }).stderr ?? '');
  }
  if (first !== null) return first;
  const frame = stack.split('\n').find((line) => /^\s+at /.test(line) &&
    !/node:|\/sdk\/node\/lib\//.test(line));
  const found = /\(?(?:file:\/\/)?(\/[^()]*?):(\d+):\d+\)?$/.exec(frame ?? '');
  return found === null ? file : `${decodeURI(found[1])}:${found[2]}`;
}

/**
 * Runs a module. told(what, where) if it cannot be served from: it throws,
 * then or out of something that it began, or it would end the process, which
 * says nothing of its own accord.
 */
async function run(file, told) {
  const stuck = () => told('at its top it awaits what never comes', file);
  const ended = () => told('it ended the process', file);
  const threw = (error) => told(error instanceof Error
    ? `${error.name}: ${String(error.message).split('\n')[0]}`
    : `it threw ${inspect(error)}`, whereOf(error, file));
  process.once('beforeExit', stuck).once('exit', ended)
    .once('uncaughtException', threw);
  process.exit = function called(...code) {
    if (process.exit !== called) exit.apply(process, code); // kept for later
    const here = {};
    Error.captureStackTrace(here, called);
    told('it called process.exit()', whereOf(here, file));
  };
  try {
    letFindUs(file);
    await import(pathToFileURL(file).href);
  } catch (error) {
    threw(error);
  } finally {
    process.off('beforeExit', stuck).off('exit', ended)
      .off('uncaughtException', threw);
    process.exit = exit;
  }
}

async function load(name) {
  let file;
  try {
    file = locate(name);
  } catch {
    fail(`module ${name} is not there, neither as a file of ` +
      `${process.cwd()} nor as a package: correct the path in the group's ` +
      'program, an absolute one is best');
  }
  await run(file, (what, where) => fail(`module ${name} does not load: ` +
    `${what}, at ${where}: correct it, then rappelctl restart`));
}

async function main(args) {
  const check = args[0] === '--check';
  const modules = check ? args.slice(1) : args;
  const supervised = process.env.RAPPEL_FD !== undefined;
  if (args[0] === '--version') {
    process.stdout.write(`${NAME} ${version}\n`);
    return;
  }
  if (args[0] === '--help' || args[0] === '-h') {
    process.stdout.write(USAGE);
    return;
  }
  if (modules.some((name) => name.startsWith('-')) ||
      (!check && !supervised)) {
    fs.writeSync(2, USAGE);
    process.exit(EXIT_USAGE);
  }
  if (modules.length === 0) {
    fail(`no module is named: write ${NAME} MODULE... as the program, with ` +
      'the modules that register actions');
  }
  const about = check ? undefined : {
    fd: number('RAPPEL_FD', 3, 1 << 20),
    slot: number('RAPPEL_SLOT', 0, 0xffff),
    spawn: number('RAPPEL_SPAWN', 1, 2 ** 32 - 1),
    concurrency: number('RAPPEL_CONCURRENCY', 1, CONCURRENCY_MAX, CONCURRENCY),
    valueBytesMax: number('RAPPEL_VALUE_BYTES_MAX', 1, 1 << 30,
      VALUE_BYTES_MAX),
  };
  for (const name of modules) await load(name);
  if (registered().size === 0) {
    fail(`${modules.join(', ')} registered no action: call action(name, ` +
      'function) of "rappel" in a module that is loaded');
  }
  if (check) {
    for (const { name, where } of registered().values()) {
      process.stdout.write(`${name}\t${where}\n`);
    }
    return;
  }
  const log = new Log(`worker/${about.slot}`, process.env.RAPPEL_LOG_LEVEL,
    (line) => process.stderr.write(line));
  const { Worker } = require('./worker.js');
  new Worker(about, log); // eslint-disable-line no-new
}

module.exports = { main };
