// SPDX-License-Identifier: Apache-2.0
// One restore: a copy of a process tree comes back from an image.
//
// The image is read and verified before anything is touched. Executors are taken from the pool and
// load the GPU side; the keeper has CRIU bring the tree back with new stdio ends; the agents in it
// attach again, each to the executor that holds its objects; then the gates open. Until that last
// step everything can be taken back: the tree is ended, the executors too, and the image stays.
import { assign, emit, setup } from 'xstate';
import type { Failure } from '../model/domain.ts';
import type { JobLimits } from './job-limits.ts';
import {
  backFrom,
  type JobEnded,
  type JobEvent,
  type JobOutcome,
  late,
  leaves,
  outputOf,
  repair,
  wholeContext,
} from './job-steps.ts';
import { port } from './port.ts';

export interface RestoreInput {
  readonly jobId: string;
  readonly directory: string;
  readonly limits: JobLimits;
}

export interface RestoreContext extends RestoreInput, JobOutcome {
  /** Client ids in the image, in the order of gpu-K. */
  readonly clients: readonly string[];
  /** Executor by client id. */
  readonly executors: Readonly<Record<string, string>> | null;
  readonly held: 'none' | 'held' | 'given' | 'unknown';
  readonly loaded: boolean;
  readonly tree: 'absent' | 'present' | 'unknown';
  readonly attached: boolean;
  readonly rootPid: number | null;
}

const parts = setup({
  types: {
    input: {} as RestoreInput,
    context: {} as RestoreContext,
    events: {} as JobEvent,
    emitted: {} as JobEnded,
  },
  actors: {
    readImage: port<{ readonly clients: readonly string[] }, RestoreContext>('readImage'),
    takeExecutors: port<Readonly<Record<string, string>>, RestoreContext>('takeExecutors'),
    loadGpu: port<void, RestoreContext>('loadGpu'),
    restoreCpu: port<{ readonly rootPid: number }, RestoreContext>('restoreCpu'),
    awaitAgents: port<void, RestoreContext>('awaitAgents'),
    openGates: port<void, RestoreContext>('openGates'),
    settle: port<void, RestoreContext>('settle'),
    endTree: port<void, RestoreContext>('endTree'),
    endExecutors: port<void, RestoreContext>('endExecutors'),
  },
  guards: {
    hasTree: ({ context }) => context.tree === 'present',
    hasExecutors: ({ context }) => context.held === 'held',
  },
  delays: {
    read: ({ context }) => context.limits.readImageMs,
    reserve: ({ context }) => context.limits.reserveMs,
    load: ({ context }) => context.limits.loadMs,
    cpuRestore: ({ context }) => context.limits.cpuRestoreMs,
    reattach: ({ context }) => context.limits.reattachMs,
    gate: ({ context }) => context.limits.gateMs,
    settle: ({ context }) => context.limits.settleMs,
    end: ({ context }) => context.limits.endTreeMs,
    release: ({ context }) => context.limits.endTreeMs,
  },
  actions: {
    noteImage: assign((_, image: { readonly clients: readonly string[] }) => image),
    beginReserve: assign({ held: 'held' }),
    noteExecutors: assign((_, executors: Readonly<Record<string, string>>) => ({ executors })),
    noteLoaded: assign({ loaded: true }),
    beginTree: assign({ tree: 'present' }),
    noteRoot: assign((_, root: { readonly rootPid: number }) => root),
    noteAttached: assign({ attached: true }),
    noteGiven: assign({ held: 'given' }),
    noteTree: assign((_, tree: RestoreContext['tree']) => ({ tree })),
    noteHeld: assign((_, held: RestoreContext['held']) => ({ held })),
    noteSettled: assign({ settled: true }),
    noteFailure: assign((_, failure: Failure) => ({ failure })),
    noteUnrepaired: assign(({ context }, failure: Failure) => ({
      unrepaired: [...context.unrepaired, failure],
    })),
    tellDone: emit(({ context }) => ended(context, 'done')),
    tellFailed: emit(({ context }) => ended(context, 'failed')),
  },
});

export const restoreMachine = parts.createMachine({
  id: 'restore',
  context: ({ input }) => ({
    ...input,
    clients: [],
    executors: null,
    held: 'none',
    loaded: false,
    tree: 'absent',
    attached: false,
    rootPid: null,
    failure: null,
    unrepaired: [],
    settled: false,
  }),
  initial: 'reading',
  states: {
    reading: {
      invoke: {
        id: 'readImage',
        src: 'readImage',
        input: wholeContext,
        onDone: { target: 'reserving', actions: { type: 'noteImage', params: outputOf } },
        onError: backFrom('read'),
      },
      after: { read: late('read', (c: RestoreContext) => c.limits.readImageMs, 'slow storage?') },
      on: leaves('read'),
    },
    reserving: {
      entry: 'beginReserve',
      invoke: {
        id: 'takeExecutors',
        src: 'takeExecutors',
        input: wholeContext,
        onDone: { target: 'loading', actions: { type: 'noteExecutors', params: outputOf } },
        onError: backFrom('reserve'),
      },
      after: {
        reserve: late('reserve', (c: RestoreContext) => c.limits.reserveMs, 'see phos status'),
      },
      on: leaves('reserve'),
    },
    loading: {
      invoke: {
        id: 'loadGpu',
        src: 'loadGpu',
        input: wholeContext,
        onDone: { target: 'restoringCpu', actions: 'noteLoaded' },
        onError: backFrom('load'),
      },
      after: { load: late('load', (c: RestoreContext) => c.limits.loadMs, 'slow storage?') },
      on: leaves('load'),
    },
    restoringCpu: {
      entry: 'beginTree',
      invoke: {
        id: 'restoreCpu',
        src: 'restoreCpu',
        input: wholeContext,
        onDone: { target: 'reattaching', actions: { type: 'noteRoot', params: outputOf } },
        onError: backFrom('cpu-restore'),
      },
      after: {
        cpuRestore: late(
          'cpu-restore',
          (c: RestoreContext) => c.limits.cpuRestoreMs,
          'slow storage?',
        ),
      },
      on: leaves('cpu-restore'),
    },
    reattaching: {
      invoke: {
        id: 'awaitAgents',
        src: 'awaitAgents',
        input: wholeContext,
        onDone: { target: 'opening', actions: 'noteAttached' },
        onError: backFrom('reattach'),
      },
      after: {
        reattach: late(
          'reattach',
          (c: RestoreContext) => c.limits.reattachMs,
          'the restored program does not come back to phosd; see its stderr under PHOS_LOG=debug',
        ),
      },
      on: leaves('reattach'),
    },
    // The program goes on when its gate opens: from here a cancel would lose what it does.
    opening: {
      invoke: {
        id: 'openGates',
        src: 'openGates',
        input: wholeContext,
        onDone: { target: 'restored', actions: 'noteGiven' },
        onError: backFrom('open'),
      },
      after: { gate: late('open', (c: RestoreContext) => c.limits.gateMs, 'see phos ps') },
    },
    settling: repair('settle', 'settle', 'repairing', (c: RestoreContext) => c.limits.settleMs, {
      done: { type: 'noteSettled' },
      failed: { type: 'noteSettled' },
    }),
    repairing: {
      always: [
        { guard: 'hasTree', target: 'endingTree' },
        { guard: 'hasExecutors', target: 'endingExecutors' },
        { target: 'failed' },
      ],
    },
    endingTree: repair('endTree', 'end', 'repairing', (c: RestoreContext) => c.limits.endTreeMs, {
      done: { type: 'noteTree', params: 'absent' },
      failed: { type: 'noteTree', params: 'unknown' },
    }),
    endingExecutors: repair(
      'endExecutors',
      'release',
      'repairing',
      (c: RestoreContext) => c.limits.endTreeMs,
      {
        done: { type: 'noteHeld', params: 'none' },
        failed: { type: 'noteHeld', params: 'unknown' },
      },
    ),
    restored: { type: 'final', entry: 'tellDone' },
    failed: { type: 'final', entry: 'tellFailed' },
  },
});

function ended(context: RestoreContext, outcome: JobEnded['outcome']): JobEnded {
  return { type: 'job.ended', jobId: context.jobId, outcome };
}

export const restoreInvariants: Readonly<
  Record<string, (state: string, context: RestoreContext) => boolean>
> = {
  'no process is started before the gpu side is loaded': (_, c) => c.tree !== 'present' || c.loaded,
  'no executor is taken before the image was read': (_, c) =>
    c.held === 'none' || c.clients.length > 0 || c.executors !== null || c.failure !== null,
  'gates open only for agents that came back': (state, c) => state !== 'opening' || c.attached,
  'a restored tree has all its executors': (state, c) =>
    state !== 'restored' ||
    (c.tree === 'present' &&
      c.held === 'given' &&
      c.clients.every((id) => id in (c.executors ?? {}))),
  'a failed restore leaves no process and no executor': (state, c) =>
    state !== 'failed' || c.unrepaired.length > 0 || (c.tree === 'absent' && c.held === 'none'),
  'a failed restore says why': (state, c) => state !== 'failed' || c.failure !== null,
  'nothing is ended before the interrupted effect is at rest': (state, c) =>
    !['endingTree', 'endingExecutors'].includes(state) || c.settled,
};
