/*
 * rappel/client - starts workflows and looks after them, over your own
 * connection of pg and in its current transaction.
 */
import type { Json } from './index';

/** A Client, PoolClient or Pool of pg, or what has the same query(). */
export interface Connection {
  query(text: string, values?: any[]): Promise<{ rows: any[] }>;
}

export interface StartOptions {
  /** The same start under the same key gives the same id. */
  key?: string;
  /** A higher one goes first; 0. */
  priority?: number;
  /** Not before. */
  startAt?: Date;
  /** For people. */
  name?: string;
  /** Not the current one. */
  version?: number;
}

export interface StartManyOptions {
  /** As many as inputs. */
  keys?: string[];
  priority?: number;
  startAt?: Date;
  version?: number;
}

export interface WaitOptions {
  /** Throws WaitTimeout then; the run goes on. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

export type RunStatus =
  | 'queued' | 'waiting' | 'running' | 'blocked'
  | 'succeeded' | 'failed' | 'timed_out' | 'cancelled';

/** An execution of a workflow, as it is now. */
export interface Run {
  id: string;
  workflow: string;
  version: number;
  status: RunStatus;
  hasEnded: boolean;
  priority: number;
  name: string | null;
  createdAt: Date;
  startedAt: Date | null;
  endedAt: Date | null;
  /** When it goes on, while it waits. */
  dueAt: Date | null;
  /** Why it does not go on. */
  reason: string | null;
  error: string | null;
  cause: string | null;
}

/** An entry of a run's history. */
export interface HistoryEvent {
  seq: number;
  event: string;
  activation: number | null;
  state: string | null;
  /** Of an iteration of a Map. */
  index: number | null;
  attempt: number | null;
  /** The slot that ran it. */
  worker: number | null;
  at: Date;
  /** How long the attempt ran. */
  seconds: number | null;
  result: Json;
  error: string | null;
  cause: string | null;
  /** Kinds, usage, the last lines: what the worker said besides. */
  details: Json;
}

/** Starts a run and gives its id; it runs if and when you commit. */
export function start(db: Connection, workflow: string, input?: unknown,
  options?: StartOptions): Promise<string>;
/** A run for each input, in one statement; the ids in the same order. */
export function startMany(db: Connection, workflow: string,
  inputs: Iterable<unknown>, options?: StartManyOptions): Promise<string[]>;
/** How the run is now. */
export function status(db: Connection, id: string): Promise<Run>;
/** Until the run has ended; how it ended. */
export function wait(db: Connection, id: string, options?: WaitOptions):
  Promise<Run>;
/** The output of a run that succeeded; NotEnded, RunFailed. */
export function result<T = any>(db: Connection, id: string): Promise<T>;
/** What has happened to the run, in order. */
export function history(db: Connection, id: string): Promise<HistoryEvent[]>;
/** Asks for the run to be cancelled; false when it has ended already. */
export function cancel(db: Connection, id: string, cause?: string | null):
  Promise<boolean>;
/** Finishes the attempt that ctx.taskToken named; false when it has ended. */
export function taskSucceed(db: Connection, token: string, result?: unknown):
  Promise<boolean>;
/** The same with an error, which Retry and Catch meet. */
export function taskFail(db: Connection, token: string, error?: string,
  cause?: string | null): Promise<boolean>;
/** Whoever works on it lives; false when it has ended: stop. */
export function taskHeartbeat(db: Connection, token: string,
  progress?: unknown): Promise<boolean>;

export const ENDED: readonly RunStatus[];

/** The base of these. */
export class RappelError extends Error {
  /** What to do, if the server knew. */
  readonly hint?: string;
}
/** An argument is none (SQLSTATE RP400). */
export class InvalidRequest extends RappelError {}
/** There is no such run, workflow, version or task (RP404). */
export class NotFound extends RappelError {}
/** Not in this state: the key was used with other input (RP409). */
export class Conflict extends RappelError {}
/** result() of a run that goes on. */
export class NotEnded extends Conflict {}
/** This database has no schema "rappel", or an older one. */
export class SchemaMissing extends RappelError {}
/** wait() took too long. */
export class WaitTimeout extends RappelError {}
/** result() of a run that failed, timed out or was cancelled. */
export class RunFailed extends RappelError {
  readonly id: string;
  readonly status: RunStatus;
  readonly error: string | null;
  readonly causeText: string | null;
}
