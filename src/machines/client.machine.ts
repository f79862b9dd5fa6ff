// SPDX-License-Identifier: Apache-2.0
// One client process, as phosd sees it.
//
// It says hello and waits for an executor; is told where that listens; hands its ring over, and
// runs. From then on phosd hears of it through its executor and its pidfd only. A dump sends its
// agent away and lets it attach again; a restore makes a client that is away from the start, with
// its executor ready. A socket that hangs up is a hint: the end of the process confirms it.
import { assign, emit, setup } from 'xstate';
import type { Failure } from '../model/domain.ts';
import { timedOut, toFailure } from '../model/failure.ts';
import { wholeContext } from './job-steps.ts';
import type { ClientGone, ClientJoined, ExecutorRequest } from './messages.ts';
import { port } from './port.ts';

export interface ClientInput {
  readonly clientId: string;
  readonly ordinal: number;
  /** Said hello; is in an image that is being restored; or was found in the registry. */
  readonly origin: 'hello' | 'image' | 'registry';
  /** Of a client found in the registry. */
  readonly executorId: string | null;
  readonly suspended: boolean;
  readonly limits: ClientLimits;
}
export interface ClientLimits {
  readonly executorWaitMs: number;
  readonly welcomeMs: number;
  readonly attachMs: number;
  readonly exitConfirmMs: number;
}
export interface ClientContext extends ClientInput {
  /** The ring was handed over at least once. */
  readonly attachedOnce: boolean;
  readonly failure: Failure | null;
}
export type ClientEvent =
  | { readonly type: 'executor.bound'; readonly executorId: string }
  | { readonly type: 'executor.refused'; readonly failure: Failure }
  | { readonly type: 'executor.lost' }
  | { readonly type: 'agent.hello' }
  | { readonly type: 'agent.attached' }
  /** It closed its socket because it was asked to. */
  | { readonly type: 'agent.away' }
  | { readonly type: 'agent.lost'; readonly failure: Failure }
  | { readonly type: 'memory.out' }
  | { readonly type: 'memory.in' }
  | { readonly type: 'client.discard' }
  | { readonly type: 'process.exited' };
type Emitted = ExecutorRequest | ClientJoined | ClientGone;

const parts = setup({
  types: {
    input: {} as ClientInput,
    context: {} as ClientContext,
    events: {} as ClientEvent,
    emitted: {} as Emitted,
  },
  actors: {
    welcomeAgent: port<void, ClientContext>('welcomeAgent'),
    refuseAgent: port<void, ClientContext>('refuseAgent'),
  },
  guards: {
    isFromRegistry: ({ context }) => context.origin === 'registry',
    isFromImage: ({ context }) => context.origin === 'image' && !context.attachedOnce,
    isSuspended: ({ context }) => context.suspended,
    hasAttached: ({ context }) => context.attachedOnce,
  },
  delays: {
    executorWait: ({ context }) => context.limits.executorWaitMs,
    welcome: ({ context }) => context.limits.welcomeMs,
    attach: ({ context }) => context.limits.attachMs,
    exitConfirm: ({ context }) => context.limits.exitConfirmMs,
  },
  actions: {
    askForExecutor: emit(({ context }) => ({
      type: 'executor.request' as const,
      clientId: context.clientId,
      ordinal: context.ordinal,
    })),
    noteExecutor: assign((_, bound: { readonly executorId: string }) => bound),
    noteAttached: assign({ attachedOnce: true }),
    noteSuspended: assign((_, suspended: boolean) => ({ suspended })),
    noteFailure: assign((_, failure: Failure) => ({ failure })),
    tellJoined: emit(({ context }) => ({
      type: 'client.joined' as const,
      clientId: context.clientId,
    })),
    tellGone: emit(({ context }) => ({
      type: 'client.gone' as const,
      clientId: context.clientId,
      executorId: context.executorId,
      ordinal: context.ordinal,
    })),
  },
});

const failed = (step: string) =>
  ({
    type: 'noteFailure',
    params: ({ event }: { event: { readonly error: unknown } }) => toFailure(event.error, step),
  }) as const;
const late = (step: string, ms: (limits: ClientLimits) => number, cure: string) =>
  ({
    type: 'noteFailure',
    params: ({ context }: { context: ClientContext }) => timedOut(step, ms(context.limits), cure),
  }) as const;
const told = {
  type: 'noteFailure',
  params: ({ event }: { event: { readonly failure: Failure } }) => event.failure,
} as const;
const executorLost = {
  type: 'noteFailure',
  params: () => ({
    code: 'DEVICE' as const,
    message:
      'its executor ended; the program gets an error from every call and should be restarted',
    step: 'run',
    retryable: false,
  }),
} as const;

/** A client that was suspended when its agent went away still is when it is back. */
const attached = [
  { guard: 'isSuspended', target: 'suspended', actions: 'noteAttached' },
  { target: 'running', actions: 'noteAttached' },
] as const;

export const clientMachine = parts.createMachine({
  id: 'client',
  context: ({ input }) => ({ ...input, attachedOnce: input.origin === 'registry', failure: null }),
  initial: 'choosing',
  on: { 'process.exited': '.exited', 'client.discard': '.exited' },
  states: {
    choosing: {
      always: [
        { guard: 'isSuspended', target: 'suspended', actions: 'tellJoined' },
        { guard: 'isFromRegistry', target: 'running', actions: 'tellJoined' },
        { target: 'waiting', actions: ['tellJoined', 'askForExecutor'] },
      ],
    },
    waiting: {
      on: {
        'executor.bound': [
          {
            guard: 'isFromImage',
            target: 'away',
            actions: { type: 'noteExecutor', params: ({ event }) => bound(event) },
          },
          {
            target: 'welcoming',
            actions: { type: 'noteExecutor', params: ({ event }) => bound(event) },
          },
        ],
        'executor.refused': { target: 'refusing', actions: told },
      },
      after: {
        executorWait: {
          target: 'refusing',
          actions: late('waiting for an executor', (l) => l.executorWaitMs, 'see phos status'),
        },
      },
    },
    welcoming: {
      invoke: {
        id: 'welcomeAgent',
        src: 'welcomeAgent',
        input: wholeContext,
        onDone: 'attaching',
        onError: { target: 'lost', actions: failed('welcome') },
      },
      after: {
        welcome: { target: 'lost', actions: late('welcome', (l) => l.welcomeMs, 'see phosd.log') },
      },
      // The executor may see the agent before phosd hears that its own answer was sent.
      on: {
        'agent.attached': attached,
        'executor.lost': { target: 'lost', actions: executorLost },
      },
    },
    attaching: {
      on: {
        'agent.attached': attached,
        'agent.hello': 'welcoming',
        'agent.lost': { target: 'confirming', actions: told },
        'executor.lost': { target: 'lost', actions: executorLost },
      },
      after: {
        attach: { target: 'lost', actions: late('attach', (l) => l.attachMs, 'see PHOS_LOG') },
      },
    },
    running: {
      on: {
        'agent.away': 'away',
        'agent.lost': { target: 'confirming', actions: told },
        'executor.lost': { target: 'lost', actions: executorLost },
        'memory.out': {
          target: 'suspended',
          actions: { type: 'noteSuspended', params: true },
        },
      },
    },
    // Only a job sends an agent away, and the job's own deadlines bound how long.
    away: {
      on: {
        'agent.hello': 'welcoming',
        'agent.attached': attached,
        'executor.lost': { target: 'lost', actions: executorLost },
      },
    },
    suspended: {
      on: {
        'memory.in': { target: 'running', actions: { type: 'noteSuspended', params: false } },
        'agent.lost': { target: 'confirming', actions: told },
        'executor.lost': { target: 'lost', actions: executorLost },
      },
    },
    confirming: {
      on: {
        'executor.lost': { target: 'lost', actions: executorLost },
        // A hello is proof of life: the hang-up was that of a connection, not of the process.
        'agent.hello': { guard: 'hasAttached', target: 'welcoming' },
      },
      after: { exitConfirm: 'lost' },
    },
    // The process may go on without a device; its executor is ended.
    lost: { entry: 'tellGone' },
    refusing: {
      invoke: {
        id: 'refuseAgent',
        src: 'refuseAgent',
        input: wholeContext,
        onDone: 'exited',
        onError: 'exited',
      },
      after: { welcome: 'exited' },
      // Too late, but it must be known, so that it is ended with the client.
      on: {
        'executor.bound': {
          actions: { type: 'noteExecutor', params: ({ event }) => bound(event) },
        },
      },
    },
    exited: { type: 'final', entry: 'tellGone' },
  },
});

function bound(event: { readonly executorId: string }): { executorId: string } {
  return { executorId: event.executorId };
}

export const clientInvariants: Readonly<
  Record<string, (state: string, context: ClientContext) => boolean>
> = {
  'a client that runs has an executor and handed its ring over': (state, c) =>
    !['running', 'suspended'].includes(state) || (c.executorId !== null && c.attachedOnce),
  'only a client with an executor is welcomed': (state, c) =>
    !['welcoming', 'attaching', 'away'].includes(state) || c.executorId !== null,
  'a suspended client does not run': (state, c) => state !== 'running' || !c.suspended,
  'a client is suspended only when it is known to be': (state, c) =>
    state !== 'suspended' || c.suspended,
  'a lost client says why': (state, c) => state !== 'lost' || c.failure !== null,
  'a refused client says why': (state, c) => state !== 'refusing' || c.failure !== null,
};
