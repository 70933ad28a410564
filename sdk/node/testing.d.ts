/*
 * rappel/testing - runs actions inline, for tests.
 */
import type { Action, Json, LATER } from './index';

export interface Options {
  /** Which try this is; 1. */
  attempt?: number;
  activation?: number;
  instanceId?: string;
  /** As TimeoutSeconds of the state; 0 for none. */
  timeoutMs?: number;
  /** As HeartbeatSeconds of the state; 0 for none. */
  heartbeatMs?: number;
  /** Cancels it at that heartbeat. */
  cancelAfter?: number;
}

export interface Outcome<R = any> {
  /** What a workflow would get; undefined when there is an error. */
  result: R | undefined;
  error: ActionFailed | null;
  /** It returned LATER. */
  later: boolean;
  heartbeats: Json[];
  logs: { level: string; message: string; fields: Record<string, unknown> }[];
}

export class ActionFailed extends Error {
  /** The error's name, as Retry and Catch see it. */
  readonly error: string;
  /** The cause, as the workflow sees it. */
  readonly causeText: string;
  readonly kinds: string[];
  /** Whether a Retry or Catch with this name would take it. */
  matches(name: string): boolean;
}

/** Runs it as one attempt, and tells everything about it. */
export function attempt<I, R>(
  action: string | Action<I, R>, input?: I, options?: Options,
): Promise<Outcome<Exclude<R, typeof LATER>>>;

/** Runs it as one attempt; its result, or throws ActionFailed. */
export function run<I, R>(
  action: string | Action<I, R>, input?: I, options?: Options,
): Promise<R>;
