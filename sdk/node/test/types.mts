/*
 * types - must compile. Never run.
 */
import { ActionError, LATER, action, actions, type Context, type Json } from 'rappel';
import * as rappel from 'rappel/client';
import { ActionFailed, attempt, run, type Outcome } from 'rappel/testing';

interface Order { id: number; items: string[] }

const ship = action('ship', async (order: Order, ctx: Context) => {
  const left: number = ctx.timeLeft();
  ctx.log('info', 'shipping', { order: order.id, left });
  ctx.heartbeat({ items: order.items.length });
  ctx.signal.throwIfAborted();
  if (ctx.deadline !== null) ctx.deadline.toISOString();
  if (order.items.length === 0) throw new ActionError('Order.Empty', 'nothing');
  return { key: ctx.idempotencyKey };
});

action('plain', (input) => input);
action('sync', (n: number) => n + 1);
const later = action('later', async (_: Json, ctx: Context) => {
  await Promise.resolve(ctx.taskToken);
  return LATER;
});
actions({
  async one(input: { a: bigint }) { return input.a; },
  two: () => null,
});

async function tests(): Promise<void> {
  const { key } = await run(ship, { id: 1, items: [] }, { attempt: 2 });
  key.toUpperCase();
  const outcome: Outcome<{ key: string }> = await attempt(ship,
    { id: 1, items: ['lamp'] }, { timeoutMs: 10, cancelAfter: 1 });
  const error: ActionFailed | null = outcome.error;
  error?.matches('Order.Empty');
  await run(later, null);
  await run('by-name', { any: 'thing' });
}

// What pg's Client, PoolClient and Pool have.
interface Queryable {
  query(text: string, values?: any[]): Promise<{ rows: any[]; rowCount: number | null }>;
}

async function client(db: Queryable): Promise<number> {
  const id: string = await rappel.start(db, 'ship', { id: 1n },
    { key: 'k', startAt: new Date(), priority: 1, name: 'n', version: 1 });
  const ids: string[] = await rappel.startMany(db, 'ship', new Set([1, 2]),
    { keys: ['a', 'b'] });
  const { status, endedAt } = await rappel.wait(db, ids[0] ?? id,
    { timeoutMs: 10, signal: AbortSignal.timeout(1) });
  if (status === 'succeeded') endedAt?.getTime();
  try {
    const output = await rappel.result<{ total: number }>(db, id);
    return output.total;
  } catch (error) {
    if (error instanceof rappel.RunFailed) return error.error?.length ?? 0;
    throw error;
  }
}

const done: Promise<boolean>[] = [];
declare const db: Queryable;
done.push(rappel.taskSucceed(db, 'token', { any: 1n }),
  rappel.taskFail(db, 'token', 'Error', null),
  rappel.taskHeartbeat(db, 'token'), rappel.cancel(db, 'id'));
void [tests, client, rappel.history, rappel.status, rappel.ENDED.length];
