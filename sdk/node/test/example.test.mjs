/*
 * examples/node: the link checker, in a group of a real pool, on a local
 * server.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { run } from 'rappel/testing';
import * as rappel from 'rappel/client';
import { Stage } from './stage.mjs';

const { letFindUs } = createRequire(import.meta.url)('../lib/resolve.js');

const EXAMPLES = new URL('../../../examples/', import.meta.url);
const MODULE = fileURLToPath(new URL('node/link-checker.js', EXAMPLES));
const LIMIT = { timeoutMs: 30000 };
const GOOD = 60;
const LINKS = GOOD + 4; // and /gone, /broken, /moved, the page itself

describe('the link checker', { timeout: 100000 }, () => {
  let stage;
  let server;
  let site;
  let down = 0; // so many requests for a page fail
  let open = 0;
  let most = 0;
  const hanging = [];

  const pages = {
    '/': () => `<h1>Shop</h1> <A class="x" HREF='/gone'>gone</A>
      <a href="${site}/broken">broken</a> <a href=/moved>moved</a>
      <a href="mailto:nobody@example.org">mail</a> <a href="#top">top</a>
      <a href="/good?n=0&amp;x">again</a> <a href="http://[">no address</a>
      <a href="http://other.example/">elsewhere</a>
      ${Array.from({ length: GOOD }, (_, n) =>
    `<a href="good?n=${n}&amp;x">good ${n}</a>`).join('\n')}`,
    '/slow': () => '<a href="/hangs">hangs</a>',
    '/good': () => 'good',
  };

  before(async () => {
    server = createServer((request, response) => {
      const { pathname } = new URL(request.url, site);
      most = Math.max(most, ++open);
      response.on('close', () => { open--; });
      if (pathname === '/hangs') {
        hanging.push(response);
      } else if (pathname === '/moved') {
        response.writeHead(302, { location: '/good' }).end();
      } else if (pathname === '/broken' || (pathname === '/' && down-- > 0)) {
        response.writeHead(500).end();
      } else if (!Object.hasOwn(pages, pathname)) {
        response.writeHead(404).end();
      } else {
        // Late, so that some are open at once.
        setTimeout(() => response.end(pages[pathname]()), 20);
      }
    });
    await new Promise((resolve) => {
      server.listen(0, '127.0.0.1', resolve);
    });
    site = `http://127.0.0.1:${server.address().port}`;
    stage = await Stage.open();
    await stage.register('link-check', JSON.parse(readFileSync(
      new URL('link-check.asl.json', EXAMPLES), 'utf8')));
    await stage.groups({
      links: { modules: [MODULE], actions: '*-links', hello: '20s' },
      broken: { modules: ['/nowhere/links.js'] },
    });
    await stage.untilGroup('links', ({ ready }) => ready === 1);
  });
  after(async () => {
    await stage?.close();
    server?.closeAllConnections();
    server?.close();
  });

  const check = async (path, more = {}) => {
    const id = await rappel.start(stage.db, 'link-check',
      { url: `${site}${path}`, ...more });
    await rappel.wait(stage.db, id, LIMIT);
    return [await rappel.result(stage.db, id), id];
  };

  test('finds what is broken, many at once', async () => {
    const [report, id] = await check('/');
    assert.deepStrictEqual(report, {
      page: `${site}/`,
      checked: LINKS,
      broken: [{ url: `${site}/gone`, why: '404' },
        { url: `${site}/broken`, why: '500' }],
    });
    // Four parts in one process, each with five requests.
    assert.ok(most > 5 && most <= 20, `${most} requests at once`);
    const parts = (await rappel.history(stage.db, id))
      .filter(({ state }) => state === 'CheckPart');
    assert.deepStrictEqual(parts.map(({ index }) => index).sort(),
      [0, 1, 2, 3]);
  });

  test('retries a page that does not answer', async () => {
    down = 1;
    const [report, id] = await check('/');
    assert.equal(report.checked, LINKS);
    const [first] = await rappel.history(stage.db, id);
    assert.deepStrictEqual([first.event, first.error, first.details.kinds],
      ['failed', 'PageUnreachable', ['LinkError', 'Error']]);
  });

  test('says so when there is no page', async () => {
    const [report] = await check('/nowhere');
    assert.equal(report.error, 'PageMissing');
    assert.match(report.cause, /nowhere: status 404/);
  });

  test('a cancelled run closes its requests', async () => {
    const id = await rappel.start(stage.db, 'link-check',
      { url: `${site}/slow` });
    while (hanging.length === 0) {
      await new Promise((resolve) => { setTimeout(resolve, 10); });
    }
    const closed = new Promise((resolve) => {
      hanging[0].on('close', resolve);
    });
    await rappel.cancel(stage.db, id);
    await closed; // though it never answered
    assert.equal((await rappel.wait(stage.db, id, LIMIT)).status,
      'cancelled');
  });

  test('a group beside it that cannot serve says why', async () => {
    const { told } = await stage.untilGroup('broken', (group) =>
      group.told?.includes('links.js'));
    assert.match(told, /module \/nowhere\/links\.js is not there/);
    assert.match(await stage.log(), /module \/nowhere\/links\.js is not there/);
  });

  test('its actions inline', async () => {
    letFindUs(MODULE); // as the worker does
    await import(MODULE);
    const { parts } = await run('find-links', { url: `${site}/` });
    assert.deepStrictEqual(parts.map(({ length }) => length),
      [20, 20, 20, 4]);
    await assert.rejects(run('find-links', { url: `${site}/nowhere` }),
      (error) => error.matches('LinkError'));
    const closed = createServer().listen(0, '127.0.0.1');
    await once(closed, 'listening');
    const url = `http://127.0.0.1:${closed.address().port}/`;
    closed.close();
    await once(closed, 'close');
    assert.deepStrictEqual(await run('check-links', [url]),
      [{ url, ok: false, error: 'ECONNREFUSED' }]);
  });
});
