/*
 * What a person gets wrong before anything runs: one line, and exit 78.
 */
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync }
  from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ACTIONS, WORKER, Worked } from './supervisor.mjs';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
let folder;

function write(name, text) {
  const file = path.join(folder, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, text);
  return file;
}

/** By hand: {code, stdout, stderr}. */
function byHand(...args) {
  return new Promise((resolve) => {
    execFile(process.execPath, [WORKER, ...args], { env: {}, cwd: folder },
      (error, stdout, stderr) =>
        resolve({ code: error?.code ?? 0, stdout, stderr }));
  });
}

describe('a worker', { timeout: 60000 }, () => {
  before(() => { folder = mkdtempSync(path.join(tmpdir(), 'rappel-node-')); });
  after(() => rmSync(folder, { recursive: true }));

  async function refused(t, line, modules, env = {}) {
    const worker = new Worked(t, modules, env);
    assert.equal(await worker.exit, 78, worker.stderr);
    assert.match(worker.stderr, line);
    assert.match(worker.stderr, /^rappel-node-worker: [^\n]+\n$/);
    assert.deepStrictEqual(worker.frames, []);
  }

  test('whose module is not there', (t) => refused(t,
    /module \/nowhere\/x\.js is not there, .*correct the path/,
    ['/nowhere/x.js']));

  test('whose module has a syntax error', (t) => refused(t,
    /module \S+syntax\.mjs does not load: SyntaxError: .*, at \S+syntax\.mjs:2: correct it/,
    [write('syntax.mjs', '\nconst const = 1;\n')]));

  test('whose CommonJS module has a syntax error', (t) => refused(t,
    /module \S+syntax\.cjs does not load: SyntaxError: .*, at \S+syntax\.cjs:3: correct it/,
    [write('syntax.cjs', '\n\n}\n')]));

  test('whose module throws', (t) => refused(t,
    /does not load: TypeError: Cannot read .*, at \S+throws\.mjs:3: correct/,
    [write('throws.mjs', '\n\nnull.x;\n')]));

  test('whose module throws what is no error', (t) => refused(t,
    /does not load: it threw \{ x: 1 \}/,
    [write('odd.mjs', 'throw { x: 1 };\n')]));

  test('whose module ends the process', async (t) => {
    await refused(t,
      /exits\.mjs does not load: it called process\.exit\(\), at \S+exits\.mjs:2: correct/,
      [write('exits.mjs', '\nprocess.exit(0);\n')]);
    await refused(t, /kept\.mjs does not load: it ended the process, at/,
      [write('keeps.mjs', 'globalThis.kept = process.exit;\n'),
        write('kept.mjs', 'kept(0);\n')]);
    await refused(t, /later\.mjs does not load: RangeError: late, at \S+:1/,
      [write('later.mjs', 'setImmediate(() => { throw new RangeError(' +
        '"late"); });\nawait new Promise(() => {});\n')]);
  });

  test('whose module waits for ever', (t) => refused(t,
    /waits\.mjs does not load: at its top it awaits what never comes, at \S+waits\.mjs: correct/,
    [write('waits.mjs', 'import "rappel";\nawait new Promise(() => {});\n')]));

  test('whose module imports what is not there', (t) => refused(t,
    /does not load: Error: Cannot find package 'not-there' imported from \S+imports\.mjs/,
    [write('imports.mjs', 'import "not-there";\n')]));

  test('whose actions have one name', (t) => refused(t,
    /two actions are named "twice", at \S+twice\.mjs:2 and at \S+twice\.mjs:3: rename one of them, at/,
    [write('twice.mjs', 'import { action } from "rappel";\n' +
      'action("twice", () => 1);\naction("twice", () => 2);\n')]));

  test('whose modules have one name between them', (t) => refused(t,
    /module \S+b\.mjs does not load: .*"same", at \S+a\.mjs:2 and at \S+b\.mjs:2/,
    [write('a.mjs', 'import { action } from "rappel";\n' +
      'action("same", () => 1);\n'),
    write('b.mjs', 'import { actions } from "rappel";\n' +
      'actions({ same() {} });\n')]));

  test('whose action has no name, or no function', async (t) => {
    await refused(t, /action\(name, function\) at \S+noname\.mjs:2: the name/,
      [write('noname.mjs', 'import { action } from "rappel";\naction("");\n')]);
    await refused(t, /action "x" at \S+nofn\.mjs:2: give it a function/,
      [write('nofn.mjs', 'import { action } from "rappel";\n' +
        'action("x", {});\n')]);
  });

  test('whose module registers nothing', (t) => refused(t,
    /empty\.mjs registered no action: call action\(name, function\)/,
    [write('empty.mjs', 'export default 1;\n')]));

  test('without a module', (t) => refused(t, /no module is named/, []));

  test('with a concurrency of nonsense', async (t) => {
    for (const text of ['0', '-1', 'many', '1025', '']) {
      await refused(t, /RAPPEL_CONCURRENCY=.* must be a number from 1 to 1024/,
        [ACTIONS], { RAPPEL_CONCURRENCY: text });
    }
  });

  test('that imports and requires has one registry', async (t) => {
    const one = write('one.cjs', 'require("rappel").action("one", () => 1);\n');
    const two = write('two.mjs', 'import { action } from "rappel";\n' +
      'action("two", async () => 2);\n');
    const worker = new Worked(t, [one, two]);
    assert.deepStrictEqual((await worker.hello)[4].actions, ['one', 'two']);
    assert.deepStrictEqual(await worker.run('one'), [0, 1]);
    assert.deepStrictEqual(await worker.run('two'), [0, 2]);
  });

  test('whose module has an installed copy of the package', async (t) => {
    const module = write('app/actions.mjs', 'import { action } from "rappel";' +
      '\nimport "rappel/testing";\naction("mine", () => 1);\n');
    mkdirSync(path.join(folder, 'app/node_modules'));
    symlinkSync(ROOT, path.join(folder, 'app/node_modules/rappel'));
    const worker = new Worked(t, [module]);
    assert.deepStrictEqual((await worker.hello)[4].actions, ['mine']);
  });

  test('by hand explains itself', async () => {
    const none = await byHand();
    assert.equal(none.code, 64);
    assert.match(none.stderr, /^usage: rappel-node-worker MODULE/);
    assert.equal((await byHand(ACTIONS)).code, 64);
    assert.equal((await byHand('--unknown')).code, 64);
    const help = await byHand('--help');
    assert.deepStrictEqual([help.code, help.stdout], [0, none.stderr]);
    assert.match((await byHand('--version')).stdout,
      /^rappel-node-worker \d+\.\d+\.\d+\n$/);
  });

  test('--check lists the actions, or says what is wrong', async () => {
    const good = await byHand('--check', ACTIONS);
    assert.equal(good.code, 0);
    assert.match(good.stdout, /^noop\t\S+actions\.mjs:\d+$/m);
    const bad = await byHand('--check', 'nowhere.js');
    assert.equal(bad.code, 78);
    assert.match(bad.stderr, /module nowhere\.js is not there/);
    for (const [text, line] of [
      ['process.exit()', /it called process\.exit\(\)/],
      ['await new Promise(() => {})', /it awaits what never comes/]]) {
      const ended = await byHand('--check', write('ended.mjs', `${text};\n`));
      assert.deepStrictEqual([ended.code, ended.stdout], [78, '']);
      assert.match(ended.stderr, line);
      assert.match(ended.stderr, /^[^\n]+\n$/);
    }
  });
});
