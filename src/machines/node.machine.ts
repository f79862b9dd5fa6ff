// SPDX-License-Identifier: Apache-2.0
// The node: phosd from start to stop, and the one place that says which job owns which client.
//
// A job asks for all clients of its tree at once and gets all or none, so two jobs can never hold
// parts of one tree. The end of a client breaks the job that owns it, and the job decides what that
// means. Stopping is refused while a job is under way.
import { assign, emit, enqueueActions, setup } from 'xstate';
import type { Failure, JobKind } from '../model/domain.ts';
import { timedOut, toFailure } from '../model/failure.ts';
import { wholeContext } from './job-steps.ts';
import type {
  ClientGone,
  ClientJoined,
  JobBroken,
  JobEnded,
  JobGranted,
  JobRefused,
} from './messages.ts';
import { port } from './port.ts';

export interface NodeInput {
  readonly maxClients: number;
  readonly maxJobs: number;
  readonly prepareMs: number;
  readonly stopMs: number;
}
export interface NodeContext extends NodeInput {
  readonly clients: readonly string[];
  /** Clients by job that owns them. */
  readonly jobs: Readonly<Record<string, readonly string[]>>;
  readonly failure: Failure | null;
}
export interface JobRequested {
  readonly type: 'job.requested';
  readonly jobId: string;
  readonly kind: JobKind;
  /** Clients of the tree; a restore names those of its image. */
  readonly clients: readonly string[];
}
export type NodeEvent =
  | ClientJoined
  | ClientGone
  | JobRequested
  | JobEnded
  | { readonly type: 'node.stop' };

const parts = setup({
  types: {
    input: {} as NodeInput,
    context: {} as NodeContext,
    events: {} as NodeEvent,
    emitted: {} as JobGranted | JobRefused | JobBroken,
  },
  actors: {
    prepareNode: port<void, NodeContext>('prepareNode'),
    closeNode: port<void, NodeContext>('closeNode'),
  },
  guards: {
    ownsClient: ({ context }, clients: readonly string[]) => ownerOf(context, clients) !== null,
    hasManyJobs: ({ context }) => Object.keys(context.jobs).length >= context.maxJobs,
    isIdle: ({ context }) => Object.keys(context.jobs).length === 0,
  },
  delays: {
    prepare: ({ context }) => context.prepareMs,
    stop: ({ context }) => context.stopMs,
  },
  actions: {
    noteJoined: assign(({ context }, clientId: string) => ({
      clients: context.clients.includes(clientId)
        ? context.clients
        : [...context.clients, clientId],
    })),
    dropClient: enqueueActions(({ enqueue, context }, clientId: string) => {
      enqueue.assign({ clients: context.clients.filter((id) => id !== clientId) });
      const jobId = ownerOf(context, [clientId]);
      if (jobId !== null) {
        enqueue.emit({ type: 'job.broken', jobId, failure: clientEnded(clientId) });
      }
    }),
    grant: enqueueActions(({ enqueue, context }, job: JobRequested) => {
      enqueue.assign({ jobs: { ...context.jobs, [job.jobId]: job.clients } });
      enqueue.emit({ type: 'job.granted', jobId: job.jobId });
    }),
    refuseOwned: emit(({ context }, job: JobRequested) => ({
      type: 'job.refused' as const,
      jobId: job.jobId,
      failure: conflict(
        `job ${ownerOf(context, job.clients)} is at work on this process tree; wait for it, ` +
          'or cancel it',
      ),
    })),
    refuseMany: emit(({ context }, job: JobRequested) => ({
      type: 'job.refused' as const,
      jobId: job.jobId,
      failure: conflict(`${context.maxJobs} jobs are under way on this node; try again later`),
    })),
    refuseClosed: emit((_, job: JobRequested) => ({
      type: 'job.refused' as const,
      jobId: job.jobId,
      failure: conflict('phosd is starting or stopping; try again when phos status says ready'),
    })),
    dropJob: assign(({ context }, jobId: string) => ({
      jobs: Object.fromEntries(Object.entries(context.jobs).filter(([id]) => id !== jobId)),
    })),
    noteFailure: assign((_, failure: Failure) => ({ failure })),
  },
});

const jobOf = ({ event }: { event: JobRequested }) => event;
const clientOf = ({ event }: { event: { readonly clientId: string } }) => event.clientId;
const failed = (step: string) =>
  ({
    type: 'noteFailure',
    params: ({ event }: { event: { readonly error: unknown } }) => toFailure(event.error, step),
  }) as const;

export const nodeMachine = parts.createMachine({
  id: 'node',
  context: ({ input }) => ({ ...input, clients: [], jobs: {}, failure: null }),
  initial: 'preparing',
  on: {
    'client.joined': { actions: { type: 'noteJoined', params: clientOf } },
    'client.gone': { actions: { type: 'dropClient', params: clientOf } },
    'job.ended': { actions: { type: 'dropJob', params: ({ event }) => event.jobId } },
    'job.requested': { actions: { type: 'refuseClosed', params: jobOf } },
  },
  states: {
    preparing: {
      invoke: {
        id: 'prepareNode',
        src: 'prepareNode',
        input: wholeContext,
        onDone: 'ready',
        onError: { target: 'failed', actions: failed('prepare') },
      },
      after: {
        prepare: {
          target: 'failed',
          actions: {
            type: 'noteFailure',
            params: ({ context }) => timedOut('preparing phosd', context.prepareMs, 'see its log'),
          },
        },
      },
    },
    ready: {
      on: {
        'job.requested': [
          {
            guard: { type: 'ownsClient', params: ({ event }) => event.clients },
            actions: { type: 'refuseOwned', params: jobOf },
          },
          { guard: 'hasManyJobs', actions: { type: 'refuseMany', params: jobOf } },
          { actions: { type: 'grant', params: jobOf } },
        ],
        'node.stop': { guard: 'isIdle', target: 'stopping' },
      },
    },
    stopping: {
      invoke: {
        id: 'closeNode',
        src: 'closeNode',
        input: wholeContext,
        onDone: 'stopped',
        onError: { target: 'failed', actions: failed('stop') },
      },
      after: {
        stop: {
          target: 'failed',
          actions: {
            type: 'noteFailure',
            params: ({ context }) => timedOut('stopping phosd', context.stopMs, 'see its log'),
          },
        },
      },
    },
    stopped: { type: 'final' },
    failed: { type: 'final' },
  },
});

/** The job that owns one of these clients, or null. */
export function ownerOf(
  context: Pick<NodeContext, 'jobs'>,
  clients: readonly string[],
): string | null {
  const found = Object.entries(context.jobs).find(([, owned]) =>
    owned.some((id) => clients.includes(id)),
  );
  return found?.[0] ?? null;
}

function conflict(message: string): Failure {
  return { code: 'CONFLICT', message, step: 'request', retryable: true };
}
function clientEnded(clientId: string): Failure {
  return {
    code: 'NOT_FOUND',
    message: `client ${clientId.slice(0, 8)} ended while the job was at work on it`,
    step: 'client',
    retryable: false,
  };
}

export const nodeInvariants: Readonly<
  Record<string, (state: string, context: NodeContext) => boolean>
> = {
  'at most one job owns a client': (_, c) => {
    const owned = Object.values(c.jobs).flat();
    return new Set(owned).size === owned.length;
  },
  'jobs are bounded': (_, c) => Object.keys(c.jobs).length <= c.maxJobs,
  'phosd stops only when no job is under way': (state, c) =>
    !['stopping', 'stopped'].includes(state) || Object.keys(c.jobs).length === 0,
  'a failed node says why': (state, c) => state !== 'failed' || c.failure !== null,
};
