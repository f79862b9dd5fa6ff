// SPDX-License-Identifier: Apache-2.0
// The vocabulary of a dump: what goes in, what it remembers, which effects it needs, which names
// its machine is written with. The story is in dump.machine.ts.
import { assign, emit, setup } from 'xstate';
import type { Failure } from '../model/domain.ts';
import type { JobLimits } from './job-limits.ts';
import { type JobEnded, type JobEvent, type JobOutcome, neverDrained } from './job-steps.ts';
import { port } from './port.ts';

export interface DumpInput {
  readonly jobId: string;
  readonly rootPid: number;
  readonly directory: string;
  readonly leaveRunning: boolean;
  readonly limits: JobLimits;
}

/** Ring positions, by client, as decimal strings. */
export type Cuts = Readonly<Record<string, string>>;
export interface DrainOutcome {
  readonly reached: boolean;
  /** Names what was in the way. */
  readonly waitingFor: string | null;
}

export interface DumpContext extends DumpInput, JobOutcome {
  readonly clients: readonly string[];
  readonly attempt: number;
  readonly cuts: Cuts | null;
  /** What may have been touched: set before an effect starts, cleared when it is undone. */
  readonly gates: 'open' | 'closed' | 'unknown';
  readonly agents: 'attached' | 'away' | 'unknown';
  readonly tree: 'running' | 'frozen' | 'ended' | 'unknown';
  readonly image: 'absent' | 'partial' | 'committed' | 'unknown';
  readonly drained: boolean;
  readonly gpuSaved: boolean;
  readonly cpuSaved: boolean;
  readonly waitingFor: string | null;
}

export const dumpParts = setup({
  types: {
    input: {} as DumpInput,
    context: {} as DumpContext,
    events: {} as JobEvent,
    emitted: {} as JobEnded,
  },
  actors: {
    planDump: port<{ readonly clients: readonly string[] }, DumpContext>('planDump'),
    closeGates: port<Cuts, DumpContext>('closeGates'),
    drainToCuts: port<DrainOutcome, DumpContext>('drainToCuts'),
    openGates: port<void, DumpContext>('openGates'),
    saveGpu: port<void, DumpContext>('saveGpu'),
    disconnectAgents: port<void, DumpContext>('disconnectAgents'),
    dumpCpu: port<void, DumpContext>('dumpCpu'),
    commitImage: port<void, DumpContext>('commitImage'),
    endTree: port<void, DumpContext>('endTree'),
    settle: port<void, DumpContext>('settle'),
    thawTree: port<void, DumpContext>('thawTree'),
    reattachAgents: port<void, DumpContext>('reattachAgents'),
    discardImage: port<void, DumpContext>('discardImage'),
  },
  guards: {
    hasReached: (_, outcome: DrainOutcome) => outcome.reached,
    hasCutsLeft: ({ context }) => context.attempt < context.limits.maxCuts,
    leavesRunning: ({ context }) => context.leaveRunning,
    isFrozen: ({ context }) => context.tree === 'frozen',
    isAway: ({ context }) => context.agents === 'away',
    isClosed: ({ context }) => context.gates === 'closed',
    isPartial: ({ context }) => context.image === 'partial',
    isCommitted: ({ context }) => context.image === 'committed',
  },
  delays: {
    plan: ({ context }) => context.limits.planMs,
    gate: ({ context }) => context.limits.gateMs,
    drain: ({ context }) => drainMs(context),
    backoff: ({ context }) => context.limits.backoffMs,
    save: ({ context }) => context.limits.saveMs,
    disconnect: ({ context }) => disconnectMs(context),
    cpuDump: ({ context }) => context.limits.cpuDumpMs,
    commit: ({ context }) => context.limits.commitMs,
    end: ({ context }) => context.limits.endTreeMs,
    settle: ({ context }) => context.limits.settleMs,
    thaw: ({ context }) => context.limits.thawMs,
    reattach: ({ context }) => context.limits.reattachMs,
    discard: ({ context }) => context.limits.discardMs,
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
    beginSave: assign({ image: 'partial' }),
    noteGpuSaved: assign({ gpuSaved: true }),
    beginDisconnect: assign({ agents: 'away' }),
    beginFreeze: assign({ tree: 'frozen' }),
    noteCpuSaved: assign({ cpuSaved: true }),
    noteCommitted: assign({ image: 'committed' }),
    noteTree: assign((_, tree: DumpContext['tree']) => ({ tree })),
    noteAgents: assign((_, agents: DumpContext['agents']) => ({ agents })),
    noteGates: assign((_, gates: DumpContext['gates']) => ({ gates })),
    noteImage: assign((_, image: DumpContext['image']) => ({ image })),
    noteSettled: assign({ settled: true }),
    noteFailure: assign((_, failure: Failure) => ({ failure })),
    noteUnrepaired: assign(({ context }, failure: Failure) => ({
      unrepaired: [...context.unrepaired, failure],
    })),
    tellDone: emit(({ context }) => ended(context, 'done')),
    tellFailed: emit(({ context }) => ended(context, 'failed')),
  },
});

export function drainMs(context: DumpContext): number {
  return context.limits.drainMs + context.limits.marginMs;
}
export function disconnectMs(context: DumpContext): number {
  return context.limits.disconnectMs + context.limits.marginMs;
}
function ended(context: DumpContext, outcome: JobEnded['outcome']): JobEnded {
  return { type: 'job.ended', jobId: context.jobId, outcome };
}
