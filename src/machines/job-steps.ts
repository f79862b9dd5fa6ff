// SPDX-License-Identifier: Apache-2.0
// Words that every job machine uses: how a failed, late or cancelled step is noted, and what a job
// says when it is over. Only names and parameters; the machines give them their meaning.
import type { DoneActorEvent, ErrorActorEvent } from 'xstate';
import type { Failure } from '../model/domain.ts';
import { cancelled, timedOut, toFailure } from '../model/failure.ts';

export type JobEvent =
  | { readonly type: 'job.cancel' }
  /** Something outside broke the job, such as the end of its client. */
  | { readonly type: 'job.fail'; readonly failure: Failure };

export interface JobEnded {
  readonly type: 'job.ended';
  readonly jobId: string;
  readonly outcome: 'done' | 'failed';
}

/** What every job remembers about how it went. */
export interface JobOutcome {
  readonly failure: Failure | null;
  /** What could not be put back. */
  readonly unrepaired: readonly Failure[];
  /** The interrupted effect is known to be at rest. */
  readonly settled: boolean;
}

/** The target of every way back, from a state that is nested as well. */
export const SETTLING = '#settling';

/** The port failed: the job goes back. */
export function backFrom<T extends string = 'settling'>(step: string, target = 'settling' as T) {
  return {
    target,
    actions: {
      type: 'noteFailure',
      params: ({ event }: { event: ErrorActorEvent }): Failure => toFailure(event.error, step),
    },
  } as const;
}

/** The port did not answer: `ms` tells the deadline that applied. */
export function late<C, T extends string = 'settling'>(
  step: string,
  ms: (context: C) => number,
  cure: string,
  target = 'settling' as T,
) {
  return {
    target,
    actions: {
      type: 'noteFailure',
      params: ({ context }: { context: C }): Failure => timedOut(step, ms(context), cure),
    },
  } as const;
}

/** Every step before the point of no return is left by these two as well. */
export function leaves(step: string) {
  return {
    'job.cancel': {
      target: 'settling',
      actions: { type: 'noteFailure', params: (): Failure => cancelled(step) },
    },
    'job.fail': {
      target: 'settling',
      actions: {
        type: 'noteFailure',
        params: ({ event }: { event: { readonly failure: Failure } }): Failure => event.failure,
      },
    },
  } as const;
}

function unrepairedIn(step: string) {
  return {
    type: 'noteUnrepaired',
    params: ({ event }: { event: ErrorActorEvent }): Failure => toFailure(event.error, step),
  } as const;
}

function unrepairedLateIn<C>(step: string, ms: (context: C) => number) {
  return {
    type: 'noteUnrepaired',
    params: ({ context }: { context: C }): Failure =>
      timedOut(step, ms(context), 'look at the log of phosd'),
  } as const;
}

/**
 * A step that is tried whatever happened before it, and whose failure is told, not followed.
 *
 * @param src the port, and the id of its invocation
 * @param delay name of its deadline, and of the step in what is told
 */
export function repair<P extends string, D extends string, T extends string, C, const A, const B>(
  src: P,
  delay: D,
  target: T,
  ms: (context: C) => number,
  note: { readonly done: A; readonly failed: B },
) {
  return {
    invoke: {
      id: src,
      src,
      input: wholeContext,
      onDone: { target, actions: [note.done] },
      onError: { target, actions: [unrepairedIn(delay), note.failed] },
    },
    after: { [delay]: { target, actions: [unrepairedLateIn(delay, ms), note.failed] } } as Record<
      D,
      { readonly target: T; readonly actions: (B | ReturnType<typeof unrepairedLateIn<C>>)[] }
    >,
  };
}

/** No cut was reached in `attempts` tries. */
export function neverDrained(attempts: number, waitingFor: string | null): Failure {
  const inTheWay = waitingFor === null ? '' : `, waiting for ${waitingFor}`;
  return {
    code: 'TIMEOUT',
    message:
      `the device did not reach a cut in ${attempts} tries${inTheWay}; ` +
      'try again later, or allow a longer drain',
    step: 'drain',
    retryable: true,
  };
}

export const outputOf = <O>({ event }: { event: DoneActorEvent<O> }): O => event.output;
export const wholeContext = <C>({ context }: { context: C }): C => context;
