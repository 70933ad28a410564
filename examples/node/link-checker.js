/*
 * link-checker - the actions of examples/link-check.asl.json: which links of
 * a page lead nowhere.
 */
import { action } from 'rappel';

const AT_ONCE = 5; // requests of one part
const PART = 20; // links of one part
const FOUND = /<a\s[^>]*?href\s*=\s*["']?([^"'\s>]+)/gi;

class LinkError extends Error {}
class PageUnreachable extends LinkError {}
class PageMissing extends LinkError {}

/** { url, external } to { page, parts }: its links, each once. */
action('find-links', async ({ url, external = false }, ctx) => {
  let response;
  try {
    response = await fetch(url, { signal: ctx.signal });
  } catch (cause) {
    ctx.signal.throwIfAborted();
    throw new PageUnreachable(`${url} does not answer`, { cause });
  }
  if (response.status >= 500) {
    throw new PageUnreachable(`${url}: status ${response.status}`);
  }
  if (!response.ok) throw new PageMissing(`${url}: status ${response.status}`);
  const page = new URL(response.url);
  const links = new Set();
  for (const [, href] of (await response.text()).matchAll(FOUND)) {
    const link = linkOf(href.replaceAll('&amp;', '&'), page);
    if (link === undefined) continue;
    if (external || link.host === page.host) links.add(link.href);
  }
  const list = [...links];
  ctx.log('info', 'links found', { page: url, links: list.length });
  const parts = [];
  for (let at = 0; at < list.length; at += PART) {
    parts.push(list.slice(at, at + PART));
  }
  return { page: url, parts };
});

/** What a request would ask for, or undefined when it is none for us. */
function linkOf(href, page) {
  let link;
  try {
    link = new URL(href, page);
  } catch {
    return undefined;
  }
  link.hash = '';
  return /^https?:$/.test(link.protocol) ? link : undefined;
}

/** A list of links to a list of { url, ok, status or error }, in order. */
action('check-links', async (links, ctx) => {
  const results = [];
  let next = 0;
  let checked = 0;
  const work = async () => {
    while (next < links.length) {
      const at = next++;
      results[at] = await check(links[at], ctx.signal);
      ctx.heartbeat({ checked: ++checked, of: links.length });
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  return results;
});

async function check(url, signal) {
  try {
    const response = await fetch(url, { signal });
    await response.body?.cancel(); // only the status is of interest
    return { url, ok: response.ok, status: response.status };
  } catch (error) {
    signal.throwIfAborted();
    return { url, ok: false, error: error.cause?.code ?? error.message };
  }
}

/** { page, results } to { page, checked, broken }. */
action('report-links', ({ page, results }) => {
  const links = results.flat();
  return {
    page,
    checked: links.length,
    broken: links.filter(({ ok }) => !ok)
      .map(({ url, status, error }) => ({ url, why: error ?? `${status}` })),
  };
});
