// SPDX-License-Identifier: Apache-2.0
// One resume: the GPU side of a suspended tree moves back into the device and the gates open. When
// it does not fit, or fails half way, every client of the tree is moved out again: the tree stays
// suspended, and resume can be asked for again.
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

export interface ResumeInput {
  readonly jobId: string;
  readonly rootPid: number;
  readonly limits: JobLimits;
}

export interface ResumeContext extends ResumeInput, JobOutcome {
  readonly clients: readonly string[];
  readonly memory: 'out' | 'moving' | 'in' | 'unknown';
  readonly gates: 'closed' | 'open' | 'unknown';
}

const parts = setup({
  types: {
    input: {} as ResumeInput,
    context: {} as ResumeContext,
    events: {} as JobEvent,
    emitted: {} as JobEnded,
  },
  actors: {
    planResume: port<{ readonly clients: readonly string[] }, ResumeContext>('planResume'),
    moveIn: port<void, ResumeContext>('moveIn'),
    moveOut: port<void, ResumeContext>('moveOut'),
    openGates: port<void, ResumeContext>('openGates'),
    settle: port<void, ResumeContext>('settle'),
  },
  guards: { isMoving: ({ context }) => context.memory === 'moving' },
  delays: {
    plan: ({ context }) => context.limits.planMs,
    move: ({ context }) => context.limits.suspendMs,
    gate: ({ context }) => context.limits.gateMs,
    settle: ({ context }) => context.limits.settleMs,
  },
  actions: {
    notePlan: assign((_, plan: { readonly clients: readonly string[] }) => plan),
    beginMove: assign({ memory: 'moving' }),
    noteMemory: assign((_, memory: ResumeContext['memory']) => ({ memory })),
    noteGates: assign((_, gates: ResumeContext['gates']) => ({ gates })),
    noteSettled: assign({ settled: true }),
    noteFailure: assign((_, failure: Failure) => ({ failure })),
    noteUnrepaired: assign(({ context }, failure: Failure) => ({
      unrepaired: [...context.unrepaired, failure],
    })),
    tellDone: emit(({ context }) => ended(context, 'done')),
    tellFailed: emit(({ context }) => ended(context, 'failed')),
  },
});

export const resumeMachine = parts.createMachine({
  id: 'resume',
  context: ({ input }) => ({
    ...input,
    clients: [],
    memory: 'out',
    gates: 'closed',
    failure: null,
    unrepaired: [],
    settled: false,
  }),
  initial: 'planning',
  states: {
    planning: {
      invoke: {
        id: 'planResume',
        src: 'planResume',
        input: wholeContext,
        onDone: { target: 'moving', actions: { type: 'notePlan', params: outputOf } },
        onError: backFrom('plan'),
      },
      after: { plan: late('plan', (c: ResumeContext) => c.limits.planMs, 'see phosd.log') },
      on: leaves('plan'),
    },
    moving: {
      entry: 'beginMove',
      invoke: {
        id: 'moveIn',
        src: 'moveIn',
        input: wholeContext,
        onDone: { target: 'opening', actions: { type: 'noteMemory', params: 'in' } },
        onError: backFrom('resume'),
      },
      after: {
        move: late('resume', (c: ResumeContext) => c.limits.suspendMs, 'is the device full?'),
      },
      on: leaves('resume'),
    },
    // Memory is in: opening a gate is tried, told, and never taken back.
    opening: {
      invoke: {
        id: 'openGates',
        src: 'openGates',
        input: wholeContext,
        onDone: { target: 'resumed', actions: { type: 'noteGates', params: 'open' } },
        onError: {
          target: 'settling',
          actions: [backFrom('open').actions, { type: 'noteGates', params: 'unknown' }],
        },
      },
      after: {
        gate: {
          target: 'settling',
          actions: [
            late('open', (c: ResumeContext) => c.limits.gateMs, 'see phos ps').actions,
            { type: 'noteGates', params: 'unknown' },
          ],
        },
      },
    },
    settling: repair('settle', 'settle', 'repairing', (c: ResumeContext) => c.limits.settleMs, {
      done: { type: 'noteSettled' },
      failed: { type: 'noteSettled' },
    }),
    repairing: {
      always: [{ guard: 'isMoving', target: 'movingBack' }, { target: 'failed' }],
    },
    movingBack: repair('moveOut', 'move', 'repairing', (c: ResumeContext) => c.limits.suspendMs, {
      done: { type: 'noteMemory', params: 'out' },
      failed: { type: 'noteMemory', params: 'unknown' },
    }),
    resumed: { type: 'final', entry: 'tellDone' },
    failed: { type: 'final', entry: 'tellFailed' },
  },
});

function ended(context: ResumeContext, outcome: JobEnded['outcome']): JobEnded {
  return { type: 'job.ended', jobId: context.jobId, outcome };
}

export const resumeInvariants: Readonly<
  Record<string, (state: string, context: ResumeContext) => boolean>
> = {
  'no gate opens before memory is in': (state, c) =>
    (state !== 'opening' && c.gates !== 'open') || c.memory === 'in',
  'a resumed program has memory and an open gate': (state, c) =>
    state !== 'resumed' || (c.memory === 'in' && c.gates === 'open'),
  'a failed resume leaves the tree suspended, or tells what it left': (state, c) =>
    state !== 'failed' ||
    c.unrepaired.length > 0 ||
    c.gates === 'unknown' ||
    (c.memory === 'out' && c.gates === 'closed'),
  'a failed resume says why': (state, c) => state !== 'failed' || c.failure !== null,
  'nothing moves back before the interrupted effect is at rest': (state, c) =>
    state !== 'movingBack' || c.settled,
};
