// SPDX-License-Identifier: Apache-2.0
// One device, and the pool of warm executors on it.
//
// Clients ask; the pool pairs the oldest request with a warm executor and starts as many as it
// lacks. Starts that fail in a row are spaced out, and after the last one the device is given up:
// whoever waits is refused with the reason, and an operator may ask for another try.
import { assign, emit, enqueueActions, setup } from 'xstate';
import type { Failure } from '../model/domain.ts';
import { poolBackoffMs } from '../model/limits.ts';
import type {
  ClientGone,
  ExecutorEnded,
  ExecutorFailed,
  ExecutorPaired,
  ExecutorReady,
  ExecutorRefused,
  ExecutorRequest,
  ExecutorStart,
} from './messages.ts';

export interface DeviceInput {
  readonly ordinal: number;
  /** Warm executors of an earlier phosd that are on their way into the pool. */
  readonly found: number;
  readonly poolTarget: number;
  readonly maxFailures: number;
  readonly maxWaiting: number;
}
export interface DeviceContext extends DeviceInput {
  readonly warm: readonly string[];
  readonly starting: number;
  readonly waiting: readonly string[];
  readonly failuresInARow: number;
  readonly failure: Failure | null;
}
export type DeviceEvent =
  | ExecutorRequest
  | ExecutorReady
  | ExecutorFailed
  | ExecutorEnded
  | ClientGone
  | { readonly type: 'pool.retry' }
  | { readonly type: 'pool.close' };

const refusal = (context: DeviceContext): Failure => ({
  code: 'UNAVAILABLE',
  message:
    `device ${context.ordinal} has no executor: ` +
    `${context.failure?.message ?? 'phosd is stopping'}; see phos doctor`,
  step: 'executor',
  retryable: true,
});

const parts = setup({
  types: {
    input: {} as DeviceInput,
    context: {} as DeviceContext,
    events: {} as DeviceEvent,
    emitted: {} as ExecutorStart | ExecutorPaired | ExecutorRefused,
  },
  guards: {
    lacksExecutors: ({ context }) =>
      context.warm.length + context.starting < context.poolTarget + context.waiting.length,
    canPair: ({ context }) => context.warm.length > 0 && context.waiting.length > 0,
    isFull: ({ context }) => context.waiting.length >= context.maxWaiting,
    isLastFailure: ({ context }) => context.failuresInARow + 1 >= context.maxFailures,
  },
  delays: { backoff: ({ context }) => poolBackoffMs(context.failuresInARow) },
  actions: {
    start: enqueueActions(({ enqueue, context }) => {
      enqueue.assign({ starting: context.starting + 1 });
      enqueue.emit({ type: 'executor.start', ordinal: context.ordinal });
    }),
    pair: enqueueActions(({ enqueue, context }) => {
      const [executorId, ...warm] = context.warm;
      const [clientId, ...waiting] = context.waiting;
      if (executorId === undefined || clientId === undefined) return;
      enqueue.assign({ warm, waiting });
      enqueue.emit({ type: 'executor.paired', executorId, clientId });
    }),
    queue: assign(({ context }, clientId: string) => ({
      waiting: context.waiting.includes(clientId)
        ? context.waiting
        : [...context.waiting, clientId],
    })),
    noteReady: assign(({ context }, executorId: string) => ({
      warm: [...context.warm.filter((id) => id !== executorId), executorId],
      starting: Math.max(0, context.starting - 1),
      failuresInARow: 0,
      failure: null,
    })),
    noteFailed: assign(({ context }, failure: Failure) => ({
      starting: Math.max(0, context.starting - 1),
      failuresInARow: Math.min(context.failuresInARow + 1, context.maxFailures),
      failure,
    })),
    noteRetry: assign({ failuresInARow: 0, failure: null }),
    dropExecutor: assign(({ context }, executorId: string) => ({
      warm: context.warm.filter((id) => id !== executorId),
    })),
    dropClient: assign(({ context }, clientId: string) => ({
      waiting: context.waiting.filter((id) => id !== clientId),
    })),
    refuse: emit(({ context }, clientId: string) => ({
      type: 'executor.refused' as const,
      clientId,
      failure: refusal(context),
    })),
    refuseAll: enqueueActions(({ enqueue, context }) => {
      for (const clientId of context.waiting) {
        enqueue.emit({ type: 'executor.refused', clientId, failure: refusal(context) });
      }
      enqueue.assign({ waiting: [] });
    }),
  },
});

const clientOf = ({ event }: { event: { readonly clientId: string } }) => event.clientId;
const executorOf = ({ event }: { event: { readonly executorId: string } }) => event.executorId;
const failureOf = ({ event }: { event: { readonly failure: Failure } }) => event.failure;

export const deviceMachine = parts.createMachine({
  id: 'device',
  context: ({ input }) => ({
    ...input,
    warm: [],
    starting: input.found,
    waiting: [],
    failuresInARow: 0,
    failure: null,
  }),
  initial: 'open',
  on: {
    'executor.ready': { actions: { type: 'noteReady', params: executorOf } },
    'executor.ended': { actions: { type: 'dropExecutor', params: executorOf } },
    'client.gone': { actions: { type: 'dropClient', params: clientOf } },
    'pool.close': '.closed',
  },
  states: {
    open: {
      always: [
        { guard: 'canPair', actions: 'pair' },
        { guard: 'lacksExecutors', actions: 'start' },
      ],
      on: {
        'executor.request': [
          { guard: 'isFull', actions: { type: 'refuse', params: clientOf } },
          { actions: { type: 'queue', params: clientOf } },
        ],
        'executor.failed': [
          {
            guard: 'isLastFailure',
            target: 'failed',
            actions: { type: 'noteFailed', params: failureOf },
          },
          { target: 'cooling', actions: { type: 'noteFailed', params: failureOf } },
        ],
      },
    },
    // Requests wait; executors that were on their way still count and still serve.
    cooling: {
      always: { guard: 'canPair', actions: 'pair' },
      after: { backoff: 'open' },
      on: {
        'executor.request': [
          { guard: 'isFull', actions: { type: 'refuse', params: clientOf } },
          { actions: { type: 'queue', params: clientOf } },
        ],
        'executor.failed': [
          {
            guard: 'isLastFailure',
            target: 'failed',
            actions: { type: 'noteFailed', params: failureOf },
          },
          { actions: { type: 'noteFailed', params: failureOf } },
        ],
      },
    },
    failed: {
      entry: 'refuseAll',
      on: {
        'executor.request': { actions: { type: 'refuse', params: clientOf } },
        'executor.failed': { actions: { type: 'noteFailed', params: failureOf } },
        'executor.ready': {
          target: 'open',
          actions: { type: 'noteReady', params: executorOf },
        },
        'pool.retry': { target: 'open', actions: 'noteRetry' },
      },
    },
    closed: {
      entry: 'refuseAll',
      on: {
        'executor.request': { actions: { type: 'refuse', params: clientOf } },
        'executor.failed': { actions: { type: 'noteFailed', params: failureOf } },
      },
    },
  },
});

export const deviceInvariants: Readonly<
  Record<string, (state: string, context: DeviceContext) => boolean>
> = {
  'nobody waits while an executor is warm': (state, c) =>
    !['open', 'cooling'].includes(state) || c.warm.length === 0 || c.waiting.length === 0,
  'an open pool lacks nothing': (state, c) =>
    state !== 'open' || c.warm.length + c.starting >= c.poolTarget + c.waiting.length,
  'no executor is in the pool twice': (_, c) => new Set(c.warm).size === c.warm.length,
  'no client waits twice': (_, c) => new Set(c.waiting).size === c.waiting.length,
  'nobody waits at a pool that does not serve': (state, c) =>
    !['failed', 'closed'].includes(state) || c.waiting.length === 0,
  'the queue is bounded': (_, c) => c.waiting.length <= c.maxWaiting,
};
