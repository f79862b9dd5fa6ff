// SPDX-License-Identifier: Apache-2.0
// One suspend: the GPU side of a process tree moves out of the device, and the program waits at its
// closed gate until it is resumed. The cut is taken as for a dump. When a client of the tree cannot
// be moved out, those that were moved come back, and the gates open.
import { assign, emit, setup } from 'xstate';
import type { Failure } from '../model/domain.ts';
import type { Cuts, DrainOutcome } from './dump-parts.ts';
import type { JobLimits } from './job-limits.ts';
import {
  backFrom,
  type JobEnded,
  type JobEvent,
  type JobOutcome,
  late,
  leaves,
  neverDrained,
  outputOf,
  repair,
  wholeContext,
} from './job-steps.ts';
import { port } from './port.ts';

export interface SuspendInput {
  readonly jobId: string;
  readonly rootPid: number;
  readonly limits: JobLimits;
}

export interface SuspendContext extends SuspendInput, JobOutcome {
  readonly clients: readonly string[];
  readonly attempt: number;
  readonly cuts: Cuts | null;
  readonly drained: boolean;
  readonly gates: 'open' | 'closed' | 'unknown';
  /** Where the device memory is; 'moving' when it may be in either place. */
  readonly memory: 'in' | 'moving' | 'out' | 'unknown';
  readonly waitingFor: string | null;
}

const parts = setup({
  types: {
    input: {} as SuspendInput,
    context: {} as SuspendContext,
    events: {} as JobEvent,
    emitted: {} as JobEnded,
  },
  actors: {
    planSuspend: port<{ readonly clients: readonly string[] }, SuspendContext>('planSuspend'),
    closeGates: port<Cuts, SuspendContext>('closeGates'),
    drainToCuts: port<DrainOutcome, SuspendContext>('drainToCuts'),
    openGates: port<void, SuspendContext>('openGates'),
    moveOut: port<void, SuspendContext>('moveOut'),
    moveIn: port<void, SuspendContext>('moveIn'),
    settle: port<void, SuspendContext>('settle'),
  },
  guards: {
    hasReached: (_, outcome: DrainOutcome) => outcome.reached,
    hasCutsLeft: ({ context }) => context.attempt < context.limits.maxCuts,
    isMoving: ({ context }) => context.memory === 'moving',
    // When some memory could not be brought back, the executors that hold it refuse to open, and
    // the others must not wait for them.
    mayOpen: ({ context }) => context.gates === 'closed' && context.memory !== 'out',
  },
  delays: {
    plan: ({ context }) => context.limits.planMs,
    gate: ({ context }) => context.limits.gateMs,
    drain: ({ context }) => drainMs(context),
    backoff: ({ context }) => context.limits.backoffMs,
    move: ({ context }) => context.limits.suspendMs,
    settle: ({ context }) => context.limits.settleMs,
  },
  actions: {
    notePlan: assign((_, plan: { readonly clients: readonly string[] }) => plan),
    beginCut: assign(({ context }) => ({
      gates: 'closed' as const,
      attempt: context.attempt + 1,
      cuts: null,
      drained: false,
    })),
    noteCuts: assign((_, cuts: Cuts) => ({ cuts })),
    noteDrained: assign({ drained: true }),
    noteWaiting: assign((_, outcome: DrainOutcome) => ({ waitingFor: outcome.waitingFor })),
    noteNeverDrained: assign(({ context }) => ({
      failure: neverDrained(context.attempt, context.waitingFor),
    })),
    beginMove: assign({ memory: 'moving' }),
    noteMemory: assign((_, memory: SuspendContext['memory']) => ({ memory })),
    noteGates: assign((_, gates: SuspendContext['gates']) => ({ gates })),
    noteSettled: assign({ settled: true }),
    noteFailure: assign((_, failure: Failure) => ({ failure })),
    noteUnrepaired: assign(({ context }, failure: Failure) => ({
      unrepaired: [...context.unrepaired, failure],
    })),
    tellDone: emit(({ context }) => ended(context, 'done')),
    tellFailed: emit(({ context }) => ended(context, 'failed')),
  },
});

export const suspendMachine = parts.createMachine({
  id: 'suspend',
  context: ({ input }) => ({
    ...input,
    clients: [],
    attempt: 0,
    cuts: null,
    drained: false,
    gates: 'open',
    memory: 'in',
    waitingFor: null,
    failure: null,
    unrepaired: [],
    settled: false,
  }),
  initial: 'planning',
  states: {
    planning: {
      invoke: {
        id: 'planSuspend',
        src: 'planSuspend',
        input: wholeContext,
        onDone: { target: 'cutting', actions: { type: 'notePlan', params: outputOf } },
        onError: backFrom('plan'),
      },
      after: { plan: late('plan', (c: SuspendContext) => c.limits.planMs, 'see phosd.log') },
      on: leaves('plan'),
    },
    cutting: {
      entry: 'beginCut',
      invoke: {
        id: 'closeGates',
        src: 'closeGates',
        input: wholeContext,
        onDone: { target: 'draining', actions: { type: 'noteCuts', params: outputOf } },
        onError: backFrom('cut'),
      },
      after: { gate: late('cut', (c: SuspendContext) => c.limits.gateMs, 'see phos ps') },
      on: leaves('cut'),
    },
    draining: {
      invoke: {
        id: 'drainToCuts',
        src: 'drainToCuts',
        input: wholeContext,
        onDone: [
          {
            guard: { type: 'hasReached', params: outputOf },
            target: 'moving',
            actions: 'noteDrained',
          },
          {
            guard: 'hasCutsLeft',
            target: 'reopening',
            actions: { type: 'noteWaiting', params: outputOf },
          },
          {
            target: 'settling',
            actions: [{ type: 'noteWaiting', params: outputOf }, 'noteNeverDrained'],
          },
        ],
        onError: backFrom('drain'),
      },
      after: { drain: late('drain', drainMs, 'the executor does not answer; see phos ps') },
      on: leaves('drain'),
    },
    reopening: {
      invoke: {
        id: 'reopenGates',
        src: 'openGates',
        input: wholeContext,
        onDone: { target: 'backingOff', actions: { type: 'noteGates', params: 'open' } },
        onError: backFrom('reopen'),
      },
      after: { gate: late('reopen', (c: SuspendContext) => c.limits.gateMs, 'see phos ps') },
      on: leaves('reopen'),
    },
    backingOff: { after: { backoff: 'cutting' }, on: leaves('reopen') },
    moving: {
      entry: 'beginMove',
      invoke: {
        id: 'moveOut',
        src: 'moveOut',
        input: wholeContext,
        onDone: { target: 'suspended', actions: { type: 'noteMemory', params: 'out' } },
        onError: backFrom('suspend'),
      },
      after: {
        move: late('suspend', (c: SuspendContext) => c.limits.suspendMs, 'is host memory short?'),
      },
      on: leaves('suspend'),
    },
    settling: repair('settle', 'settle', 'repairing', (c: SuspendContext) => c.limits.settleMs, {
      done: { type: 'noteSettled' },
      failed: { type: 'noteSettled' },
    }),
    repairing: {
      always: [
        { guard: 'isMoving', target: 'movingBack' },
        { guard: 'mayOpen', target: 'opening' },
        { target: 'failed' },
      ],
    },
    movingBack: repair('moveIn', 'move', 'repairing', (c: SuspendContext) => c.limits.suspendMs, {
      done: { type: 'noteMemory', params: 'in' },
      failed: { type: 'noteMemory', params: 'unknown' },
    }),
    opening: repair('openGates', 'gate', 'repairing', (c: SuspendContext) => c.limits.gateMs, {
      done: { type: 'noteGates', params: 'open' },
      failed: { type: 'noteGates', params: 'unknown' },
    }),
    suspended: { type: 'final', entry: 'tellDone' },
    failed: { type: 'final', entry: 'tellFailed' },
  },
});

function drainMs(context: SuspendContext): number {
  return context.limits.drainMs + context.limits.marginMs;
}
function ended(context: SuspendContext, outcome: JobEnded['outcome']): JobEnded {
  return { type: 'job.ended', jobId: context.jobId, outcome };
}

export const suspendInvariants: Readonly<
  Record<string, (state: string, context: SuspendContext) => boolean>
> = {
  'memory moves only behind closed gates at a reached cut': (state, c) =>
    state !== 'moving' || (c.gates === 'closed' && c.drained && c.cuts !== null),
  'no gate opens while memory is out': (state, c) =>
    state !== 'opening' || c.memory === 'in' || (c.memory === 'unknown' && c.unrepaired.length > 0),
  'a suspended program waits at a closed gate': (state, c) =>
    state !== 'suspended' || (c.gates === 'closed' && c.memory === 'out'),
  'a failed suspend leaves the program running': (state, c) =>
    state !== 'failed' || c.unrepaired.length > 0 || (c.gates === 'open' && c.memory === 'in'),
  'a failed suspend says why': (state, c) => state !== 'failed' || c.failure !== null,
  'nothing is put back before the interrupted effect is at rest': (state, c) =>
    !['movingBack', 'opening'].includes(state) || c.settled,
  'cuts are bounded': (_, c) => c.attempt <= c.limits.maxCuts,
};
