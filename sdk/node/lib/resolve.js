/*
 * resolve - modules that the worker loads find "rappel" even where nobody
 * installed it: then it is this package.
 *
 * So a folder with actions and Debian's nodejs is all that a host needs. An
 * installed one is preferred.
 */
'use strict';

const Module = require('node:module');
const path = require('node:path');
const { pathToFileURL } = require('node:url');

const ROOT = path.dirname(__dirname);
const { name: NAME, exports: EXPORTS } = require('../package.json');

// Runs in Node's loader thread, when nothing else has found the name.
const HOOK = `
export async function resolve(specifier, context, next) {
  try {
    return await next(specifier, context);
  } catch (error) {
    const url = DATA[specifier];
    if (url === undefined) throw error;
    return { url, shortCircuit: true };
  }
}`;

let done = false;

function fileOf(entry, condition) {
  return path.join(ROOT, entry[condition]);
}

/** For the module in this file, and whatever it loads. */
function letFindUs(file) {
  if (done) return;
  try {
    Module.createRequire(file).resolve(NAME);
    return; // it is installed, or the module is a part of it
  } catch {
    done = true;
  }
  const imported = {};
  const required = new Map();
  for (const [key, entry] of Object.entries(EXPORTS)) {
    if (typeof entry !== 'object') continue;
    const specifier = path.posix.join(NAME, key);
    imported[specifier] = pathToFileURL(fileOf(entry, 'import')).href;
    required.set(specifier, fileOf(entry, 'require'));
  }
  if (typeof Module.register === 'function') {
    Module.register(`data:text/javascript,${encodeURIComponent(
      HOOK.replace('DATA', JSON.stringify(imported)))}`);
  }
  const before = Module._resolveFilename;
  Module._resolveFilename = function resolveFilename(request, ...rest) {
    try {
      return before.call(this, request, ...rest);
    } catch (error) {
      const found = required.get(request);
      if (found === undefined) throw error;
      return found;
    }
  };
}

module.exports = { letFindUs };
