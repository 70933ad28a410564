/*
 * rappel - actions for workflows.
 */

/** What JSON can say; integers beyond 2^53 are BigInts. */
export type Json =
  | null | boolean | number | bigint | string
  | Json[] | { [key: string]: Json };

/** What an action gets beside its input. */
export interface Context {
  /** The name that it was called by. */
  readonly action: string;
  /** The run that it belongs to, a UUID. */
  readonly instanceId: string;
  /** Which entry of the state within the run this is. */
  readonly activation: number;
  /** Which try, from 1 up. */
  readonly attempt: number;
  /** The same for every try, and for a re-run after a crash. */
  readonly idempotencyKey: string;
  /** Names this attempt for whoever finishes it in its place. */
  readonly taskToken: string;
  /** When its time is over; null without a limit. */
  readonly deadline: Date | null;
  /** Milliseconds until then; Infinity without a limit. */
  timeLeft(): number;
  /** Aborted when it is cancelled, its time is over or its worker stops. */
  readonly signal: AbortSignal;
  /** Says that it lives, and how far it is (at most 4 KiB). Call it freely. */
  heartbeat(progress?: unknown): void;
  /** A line of the daemon's log, with the ids of this attempt. */
  log(
    level: 'error' | 'warning' | 'warn' | 'info' | 'debug',
    message: string,
    fields?: Record<string, unknown>,
  ): void;
}

/** What an action returns when somebody else finishes it: ctx.taskToken. */
export declare const LATER: unique symbol;

export type Action<I = any, R = unknown> =
  (input: I, ctx: Context) => R | Promise<R>;

/** Gives a function the name under which workflows call it; returns it. */
export function action<F extends Action>(name: string, run: F): F;

/** The same for a table: { name: function, … }. */
export function actions<T extends Record<string, Action>>(table: T): T;

/** Fails an action with a name of its own and a cause, without a stack. */
export class ActionError extends Error {
  constructor(name: string, cause?: string, options?: { cause?: unknown });
}
