// SPDX-License-Identifier: Apache-2.0
// One executor process, from its start to its end.
//
// It is started into the pool, or found again by a phosd that came back. It serves one client in
// its life, because a device context that a client has touched is never given to another. When the
// client is gone, or nobody wants it, it is ended: asked first, then killed.
import { assign, emit, setup } from 'xstate';
import type { Failure } from '../model/domain.ts';
import { timedOut, toFailure } from '../model/failure.ts';
import { outputOf, wholeContext } from './job-steps.ts';
import type {
  ExecutorBound,
  ExecutorEnded,
  ExecutorFailed,
  ExecutorLost,
  ExecutorReady,
  ExecutorRefused,
} from './messages.ts';
import { port } from './port.ts';

export interface ExecutorInput {
  readonly executorId: string;
  readonly ordinal: number;
  /** Found again in the registry, not started by this phosd. */
  readonly found: boolean;
  readonly limits: ExecutorLimits;
}
export interface ExecutorLimits {
  readonly startMs: number;
  readonly assignMs: number;
  readonly endMs: number;
}
export interface ExecutorContext extends ExecutorInput {
  readonly clientId: string | null;
  readonly process: 'none' | 'alive' | 'gone' | 'unknown';
  readonly failure: Failure | null;
}
export type ExecutorEvent =
  | { readonly type: 'executor.assign'; readonly clientId: string }
  | { readonly type: 'executor.end' }
  | { readonly type: 'executor.exited' }
  | { readonly type: 'client.gone' };
type Emitted =
  | ExecutorReady
  | ExecutorFailed
  | ExecutorBound
  | ExecutorRefused
  | ExecutorLost
  | ExecutorEnded;

const parts = setup({
  types: {
    input: {} as ExecutorInput,
    context: {} as ExecutorContext,
    events: {} as ExecutorEvent,
    emitted: {} as Emitted,
  },
  actors: {
    startExecutor: port<void, ExecutorContext>('startExecutor'),
    findExecutor: port<{ readonly clientId: string | null }, ExecutorContext>('findExecutor'),
    assignExecutor: port<void, ExecutorContext>('assignExecutor'),
    endExecutor: port<void, ExecutorContext>('endExecutor'),
  },
  guards: {
    wasFound: ({ context }) => context.found,
    servesClient: (_, found: { readonly clientId: string | null }) => found.clientId !== null,
  },
  delays: {
    start: ({ context }) => context.limits.startMs,
    assign: ({ context }) => context.limits.assignMs,
    end: ({ context }) => context.limits.endMs,
  },
  actions: {
    beginProcess: assign({ process: 'alive' }),
    noteClient: assign((_, found: { readonly clientId: string | null }) => found),
    noteGone: assign({ process: 'gone' }),
    noteLeak: assign({ process: 'unknown' }),
    noteFailure: assign((_, failure: Failure) => ({ failure })),
    tellReady: emit(({ context }) => ({ type: 'executor.ready' as const, ...names(context) })),
    tellFailed: emit(({ context }) => ({
      type: 'executor.failed' as const,
      ...names(context),
      failure: context.failure ?? toFailure(new Error('the executor ended'), 'start'),
    })),
    tellBound: emit(({ context }) => ({
      type: 'executor.bound' as const,
      executorId: context.executorId,
      clientId: context.clientId ?? '',
    })),
    tellRefused: emit(({ context }) => ({
      type: 'executor.refused' as const,
      clientId: context.clientId ?? '',
      failure: context.failure ?? toFailure(new Error('the executor ended'), 'assign'),
    })),
    tellLost: emit(({ context }) => ({
      type: 'executor.lost' as const,
      executorId: context.executorId,
      clientId: context.clientId ?? '',
    })),
    tellEnded: emit(({ context }) => ({
      type: 'executor.ended' as const,
      ...names(context),
      leaked: context.process !== 'gone',
    })),
  },
});

const failed = (step: string) =>
  ({
    type: 'noteFailure',
    params: ({ event }: { event: { readonly error: unknown } }) => toFailure(event.error, step),
  }) as const;
const late = (step: string, ms: (limits: ExecutorLimits) => number) =>
  ({
    type: 'noteFailure',
    params: ({ context }: { context: ExecutorContext }) =>
      timedOut(`${step} of executor ${context.executorId}`, ms(context.limits), 'see its log'),
  }) as const;

export const executorMachine = parts.createMachine({
  id: 'executor',
  context: ({ input }) => ({ ...input, clientId: null, process: 'none', failure: null }),
  initial: 'choosing',
  states: {
    choosing: { always: [{ guard: 'wasFound', target: 'finding' }, { target: 'starting' }] },
    starting: {
      entry: 'beginProcess',
      invoke: {
        id: 'startExecutor',
        src: 'startExecutor',
        input: wholeContext,
        onDone: { target: 'warm', actions: 'tellReady' },
        onError: { target: 'ending', actions: [failed('start'), 'tellFailed'] },
      },
      after: {
        start: { target: 'ending', actions: [late('the start', (l) => l.startMs), 'tellFailed'] },
      },
      on: {
        'executor.exited': { target: 'ended', actions: ['noteGone', 'tellFailed'] },
        'executor.end': { target: 'ending', actions: 'tellFailed' },
      },
    },
    finding: {
      entry: 'beginProcess',
      invoke: {
        id: 'findExecutor',
        src: 'findExecutor',
        input: wholeContext,
        onDone: [
          {
            guard: { type: 'servesClient', params: outputOf },
            target: 'serving',
            actions: [{ type: 'noteClient', params: outputOf }, 'tellBound'],
          },
          { target: 'warm', actions: 'tellReady' },
        ],
        onError: { target: 'ending', actions: [failed('find'), 'tellFailed'] },
      },
      after: {
        start: { target: 'ending', actions: [late('finding', (l) => l.startMs), 'tellFailed'] },
      },
      on: {
        'executor.exited': { target: 'ended', actions: ['noteGone', 'tellFailed'] },
        'executor.end': 'ending',
        'client.gone': 'ending',
      },
    },
    warm: {
      on: {
        'executor.assign': {
          target: 'assigning',
          actions: { type: 'noteClient', params: ({ event }) => ({ clientId: event.clientId }) },
        },
        'executor.end': 'ending',
        'executor.exited': { target: 'ended', actions: 'noteGone' },
      },
    },
    assigning: {
      invoke: {
        id: 'assignExecutor',
        src: 'assignExecutor',
        input: wholeContext,
        onDone: { target: 'serving', actions: 'tellBound' },
        onError: { target: 'ending', actions: [failed('assign'), 'tellRefused'] },
      },
      after: {
        assign: {
          target: 'ending',
          actions: [late('the hand-over', (l) => l.assignMs), 'tellRefused'],
        },
      },
      on: {
        'client.gone': 'ending',
        'executor.exited': { target: 'ended', actions: ['noteGone', 'tellRefused'] },
      },
    },
    serving: {
      on: {
        'client.gone': 'ending',
        'executor.end': { target: 'ending', actions: 'tellLost' },
        'executor.exited': { target: 'ended', actions: ['noteGone', 'tellLost'] },
      },
    },
    ending: {
      invoke: {
        id: 'endExecutor',
        src: 'endExecutor',
        input: wholeContext,
        onDone: { target: 'ended', actions: 'noteGone' },
        onError: { target: 'ended', actions: [failed('end'), 'noteLeak'] },
      },
      after: {
        end: { target: 'ended', actions: [late('the end', (l) => l.endMs), 'noteLeak'] },
      },
      on: { 'executor.exited': { target: 'ended', actions: 'noteGone' } },
    },
    ended: { type: 'final', entry: 'tellEnded' },
  },
});

function names(context: ExecutorContext): { executorId: string; ordinal: number } {
  return { executorId: context.executorId, ordinal: context.ordinal };
}

export const executorInvariants: Readonly<
  Record<string, (state: string, context: ExecutorContext) => boolean>
> = {
  'a warm executor has no client': (state, c) => state !== 'warm' || c.clientId === null,
  'a serving executor has a client': (state, c) => state !== 'serving' || c.clientId !== null,
  'a live process is in a state that can end it': (state, c) =>
    state !== 'ended' || c.process !== 'alive',
  'a leak is told with its reason': (_, c) => c.process !== 'unknown' || c.failure !== null,
};
