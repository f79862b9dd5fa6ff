// SPDX-License-Identifier: Apache-2.0
// One `phos run` job: a keeper that holds the stdio of a program and reaps it.
//
// The keeper outlives phosd, so a job is started by this phosd or found again by it. The program's
// exit status comes from the keeper; a keeper that dies without telling is a job that was lost.
import { assign, setup } from 'xstate';
import type { Failure } from '../model/domain.ts';
import { timedOut, toFailure } from '../model/failure.ts';
import { outputOf, wholeContext } from './job-steps.ts';
import { port } from './port.ts';

export interface RunInput {
  readonly keeperId: string;
  /** Found again in the registry, or just restored: its keeper is there. */
  readonly found: boolean;
  readonly startMs: number;
  readonly endMs: number;
}
/** How the program ended: an exit code, or a signal number; neither when only others were told. */
export interface ExitStatus {
  readonly code: number | null;
  readonly signal: number | null;
}
export interface RunContext extends RunInput {
  readonly keeper: 'none' | 'alive' | 'gone' | 'unknown';
  readonly status: ExitStatus | null;
  readonly failure: Failure | null;
}
export type RunEvent =
  | { readonly type: 'program.exited'; readonly status: ExitStatus }
  | { readonly type: 'keeper.lost' }
  | { readonly type: 'run.end' };

const parts = setup({
  types: { input: {} as RunInput, context: {} as RunContext, events: {} as RunEvent },
  actors: {
    startKeeper: port<void, RunContext>('startKeeper'),
    findKeeper: port<{ readonly status: ExitStatus | null }, RunContext>('findKeeper'),
    endKeeper: port<void, RunContext>('endKeeper'),
  },
  guards: {
    wasFound: ({ context }) => context.found,
    hasExited: (_, found: { readonly status: ExitStatus | null }) => found.status !== null,
  },
  delays: {
    start: ({ context }) => context.startMs,
    end: ({ context }) => context.endMs,
  },
  actions: {
    beginKeeper: assign({ keeper: 'alive' }),
    noteStatus: assign((_, found: { readonly status: ExitStatus | null }) => found),
    noteGone: assign({ keeper: 'gone' }),
    noteUnknown: assign({ keeper: 'unknown' }),
    noteFailure: assign((_, failure: Failure) => ({ failure })),
    noteLost: assign({
      keeper: 'gone',
      failure: {
        code: 'INTERNAL' as const,
        message: 'the keeper of the job ended without telling how the program did',
        step: 'run',
        retryable: false,
      },
    }),
  },
});

const failed = (step: string) =>
  ({
    type: 'noteFailure',
    params: ({ event }: { event: { readonly error: unknown } }) => toFailure(event.error, step),
  }) as const;
const late = (step: string, ms: (context: RunContext) => number) =>
  ({
    type: 'noteFailure',
    params: ({ context }: { context: RunContext }) =>
      timedOut(`${step} of keeper ${context.keeperId}`, ms(context), 'see the log of phosd'),
  }) as const;

export const runMachine = parts.createMachine({
  id: 'run',
  context: ({ input }) => ({ ...input, keeper: 'none', status: null, failure: null }),
  initial: 'choosing',
  states: {
    choosing: { always: [{ guard: 'wasFound', target: 'finding' }, { target: 'starting' }] },
    starting: {
      entry: 'beginKeeper',
      invoke: {
        id: 'startKeeper',
        src: 'startKeeper',
        input: wholeContext,
        onDone: 'running',
        onError: { target: 'ending', actions: failed('start') },
      },
      after: { start: { target: 'ending', actions: late('the start', (c) => c.startMs) } },
      on: { 'keeper.lost': { target: 'lost', actions: 'noteLost' } },
    },
    finding: {
      entry: 'beginKeeper',
      invoke: {
        id: 'findKeeper',
        src: 'findKeeper',
        input: wholeContext,
        onDone: [
          {
            guard: { type: 'hasExited', params: outputOf },
            target: 'ending',
            actions: { type: 'noteStatus', params: outputOf },
          },
          { target: 'running' },
        ],
        onError: { target: 'lost', actions: ['noteLost', failed('find')] },
      },
      after: {
        start: { target: 'lost', actions: ['noteUnknown', late('finding', (c) => c.startMs)] },
      },
    },
    running: {
      on: {
        'program.exited': {
          target: 'ending',
          actions: { type: 'noteStatus', params: ({ event }) => ({ status: event.status }) },
        },
        'keeper.lost': { target: 'lost', actions: 'noteLost' },
        'run.end': 'ending',
      },
    },
    // The keeper hands the rest of the output and the status over before it goes.
    ending: {
      invoke: {
        id: 'endKeeper',
        src: 'endKeeper',
        input: wholeContext,
        onDone: { target: 'ended', actions: 'noteGone' },
        onError: { target: 'ended', actions: [failed('end'), 'noteUnknown'] },
      },
      after: {
        end: { target: 'ended', actions: [late('the end', (c) => c.endMs), 'noteUnknown'] },
      },
      on: { 'keeper.lost': { target: 'ended', actions: 'noteGone' } },
    },
    ended: { type: 'final' },
    lost: { type: 'final' },
  },
});

export const runInvariants: Readonly<
  Record<string, (state: string, context: RunContext) => boolean>
> = {
  'a running job has its keeper': (state, c) => state !== 'running' || c.keeper === 'alive',
  'no keeper is left alive behind an ended job': (state, c) =>
    !['ended', 'lost'].includes(state) || c.keeper !== 'alive',
  'a lost job says why': (state, c) => state !== 'lost' || c.failure !== null,
  'a keeper that could not be ended is told': (_, c) =>
    c.keeper !== 'unknown' || c.failure !== null,
};
