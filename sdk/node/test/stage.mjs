/*
 * stage - a PostgreSQL with the schema, and a pool whose workers are Node's.
 *
 *     const stage = await Stage.open();
 *     await stage.register('w', task('echo'));
 *     await stage.pool(['actions.mjs'], { RAPPEL_CONCURRENCY: 4 });
 *     const id = await start(stage.db, 'w', 1);
 *     await stage.close();
 *
 * stage.py has both, with what tests/integration has for it.
 */
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { WORKER } from './supervisor.mjs';

const require = createRequire(import.meta.url);
const SCRIPT = fileURLToPath(new URL('stage.py', import.meta.url));
const TESTS = fileURLToPath(new URL('../../../tests/integration',
  import.meta.url));

/** A definition of one Task. */
export function task(action, more = {}) {
  return {
    StartAt: 'T',
    States: { T: { Type: 'Task', Resource: action, End: true, ...more } },
  };
}

export class Stage {
  static async open() {
    const stage = new Stage();
    stage.process = spawn('/usr/bin/python3', ['-B', SCRIPT], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, PYTHONPATH: TESTS },
    });
    stage.lines = createInterface({ input: stage.process.stdout })[
      Symbol.asyncIterator]();
    stage.where = await stage.#line();
    stage.clients = [];
    try {
      stage.db = await stage.connect();
    } catch (error) {
      stage.process.stdin.end(); // its server goes with it
      throw error;
    }
    return stage;
  }

  async #line() {
    const { value, done } = await this.lines.next();
    if (done) throw new Error('the stage ended; its stderr says why');
    return JSON.parse(value);
  }

  async #ask(request) {
    this.process.stdin.write(`${JSON.stringify(request)}\n`);
    const { answer, error } = await this.#line();
    if (error !== undefined) throw new Error(error);
    return answer;
  }

  /** Another connection, which ends with the stage. */
  async connect(options = {}) {
    const { Client } = require('pg');
    const client = new Client({ ...this.where, ...options });
    client.on('error', () => {}); // of its end
    await client.connect();
    this.clients.push(client);
    return client;
  }

  register(name, definition) {
    return this.#ask({ do: 'register', name, definition });
  }

  pool(modules, environment = {}, more = {}) {
    return this.#ask({
      do: 'pool',
      program: [process.execPath, WORKER, ...modules],
      environment,
      ...more,
    });
  }

  log() {
    return this.#ask({ do: 'log' });
  }

  /** A pool with groups; sections: name to {modules, ...keys}. */
  groups(sections) {
    return this.#ask({
      do: 'groups',
      sections: Object.fromEntries(Object.entries(sections).map(
        ([name, { modules, ...keys }]) => [name, {
          program: [process.execPath, WORKER, ...modules],
          ...keys,
        }])),
    });
  }

  /** What is known of a group: {ready, told}. */
  group(name) {
    return this.#ask({ do: 'group', name });
  }

  /** Until the group is as it should be. */
  async untilGroup(name, condition) {
    let found;
    for (const end = performance.now() + 20000; performance.now() < end;) {
      found = await this.group(name);
      if (condition(found)) return found;
      await new Promise((resolve) => { setTimeout(resolve, 20); });
    }
    throw new Error(`group ${name}: ${JSON.stringify(found)}\n` +
      `${await this.log()}`);
  }

  /** The processes of its workers. */
  pids() {
    return this.#ask({ do: 'pids' });
  }

  async close() {
    await Promise.allSettled(this.clients.map((client) => client.end()));
    this.process.stdin.end();
    await new Promise((resolve) => { this.process.on('close', resolve); });
  }
}
