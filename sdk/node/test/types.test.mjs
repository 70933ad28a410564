/*
 * The types, as a TypeScript programmer uses them.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);
const HERE = fileURLToPath(new URL('.', import.meta.url));

function compiler() {
  try {
    return require.resolve('typescript/lib/tsc.js');
  } catch {
    return null;
  }
}

function compile(file) {
  return spawnSync(process.execPath, [compiler(), '--noEmit', '--strict',
    '--target', 'es2022', '--lib', 'es2022,dom', '--module', 'node16',
    '--moduleResolution', 'node16', path.join(HERE, file)], { encoding: 'utf8', cwd: HERE });
}

describe('types', { skip: compiler() === null && 'no typescript' }, () => {
  test('are as they are used', () => {
    const done = compile('types.mts');
    assert.equal(done.status, 0, done.stdout);
  });

  test('refuse what is wrong', () => {
    const done = compile('types_wrong.mts');
    const lines = [...done.stdout.matchAll(/types_wrong\.mts\((\d+),/g)]
      .map(([, line]) => Number(line));
    // One error for each line that is marked.
    const source = readFileSync(
      path.join(HERE, 'types_wrong.mts'), 'utf8').split('\n');
    const marked = source.flatMap((line, i) =>
      (line.includes('// wrong') ? [i + 1] : []));
    assert.deepStrictEqual([...new Set(lines)], marked, done.stdout);
  });

  test('name what there is', async () => {
    for (const [name, types] of [['rappel', 'index'],
      ['rappel/client', 'client'], ['rappel/testing', 'testing']]) {
      const there = Object.keys(await import(name)).sort();
      const text = readFileSync(
        path.join(HERE, '..', `${types}.d.ts`), 'utf8');
      const told = [...text.matchAll(
        /^export (?:declare )?(?:function|class|const) (\w+)/gm)]
        .map(([, found]) => found).sort();
      assert.deepStrictEqual(there, told, name);
    }
  });
});
