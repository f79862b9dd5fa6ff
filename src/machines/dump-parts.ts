// SPDX-License-Identifier: Apache-2.0
// The vocabulary of a dump: what goes in, what it remembers, which effects it needs, which names
// its machine is written with. The story is in dump.machine.ts.
import { assign, emit, setup } from 'xstate';
import type { Failure } from '../model/domain.ts';
import { cancelled } from '../model/failure.ts';
import { contractOverrun, missedAgain, stopModeTooLong } from './dump-failures.ts';
import type { JobLimits } from './job-limits.ts';
import { type JobEnded, type JobEvent, type JobOutcome, neverDrained } from './job-steps.ts';
import { port } from './port.ts';

export interface DumpInput {
  readonly jobId: string;
  readonly rootPid: number;
  readonly directory: string;
  readonly leaveRunning: boolean;
  /** A pre-dump: device memory only; the program runs on and its processes are never stopped. */
  readonly gpuOnly: boolean;
  /** Gates may be closed for so long in one piece; null: no such contract. */
  readonly maxStallMs: number | null;
  readonly limits: JobLimits;
}

/** Ring positions, by client, as decimal strings. */
export type Cuts = Readonly<Record<string, string>>;
export interface DrainOutcome {
  readonly reached: boolean;
  /** Names what was in the way. */
  readonly waitingFor: string | null;
}
export interface PlanOutcome {
  readonly clients: readonly string[];
  /** Predicted: gates closed, in the planned modes and in mode `stop`. */
  readonly stallMs: number;
  readonly stopModeStallMs: number;
}
export interface GatesOutcome {
  /** Measured: how long the gates were closed. */
  readonly heldMs: number;
}
export interface HoldOutcome {
  /** False: nothing was put aside, so gates open only when the last byte is down. */
  readonly mayOpen: boolean;
}
export interface SaveOutcome {
  /** A write that no speculation foresaw spoiled the cut: its kernel or call. Null: none did. */
  readonly missed: string | null;
}

export interface DumpContext extends DumpInput, JobOutcome {
  readonly clients: readonly string[];
  readonly predicted: Pick<PlanOutcome, 'stallMs' | 'stopModeStallMs'> | null;
  readonly attempt: number;
  readonly cuts: Cuts | null;
  /** What may have been touched: set before an effect starts, cleared when it is undone. */
  readonly gates: 'open' | 'closed' | 'unknown';
  readonly agents: 'attached' | 'away' | 'unknown';
  readonly tree: 'running' | 'frozen' | 'ended' | 'unknown';
  readonly image: 'absent' | 'partial' | 'committed' | 'unknown';
  /** Saves in the executors: from the cut until the last byte, or until they were aborted. */
  readonly save: 'none' | 'begun' | 'finished' | 'unknown';
  /** The executors hold what they need; see HoldOutcome. */
  readonly mayOpen: boolean;
  readonly drained: boolean;
  readonly cpuSaved: boolean;
  /** Longest time that the gates were closed in one piece, as measured. */
  readonly heldMs: number;
  readonly waitingFor: string | null;
  /** Writes that spoiled the first cut; after one the whole dump is done again in mode `stop`. */
  readonly missed: string | null;
  /** The spoiled cut is being taken back, to begin again. */
  readonly retracting: boolean;
}

export const dumpParts = setup({
  types: {
    input: {} as DumpInput,
    context: {} as DumpContext,
    events: {} as JobEvent,
    emitted: {} as JobEnded,
  },
  actors: {
    planDump: port<PlanOutcome, DumpContext>('planDump'),
    closeGates: port<Cuts, DumpContext>('closeGates'),
    drainToCuts: port<DrainOutcome, DumpContext>('drainToCuts'),
    openGates: port<GatesOutcome, DumpContext>('openGates'),
    beginSave: port<HoldOutcome, DumpContext>('beginSave'),
    finishSave: port<SaveOutcome, DumpContext>('finishSave'),
    abortSave: port<void, DumpContext>('abortSave'),
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
    leavesRunning: ({ context }) => context.leaveRunning || context.gpuOnly,
    isGpuOnly: ({ context }) => context.gpuOnly,
    isOverrun: ({ context }, outcome: GatesOutcome) =>
      context.maxStallMs !== null && outcome.heldMs > context.maxStallMs,
    isMiss: (_, outcome: SaveOutcome) => outcome.missed !== null,
    mayMiss: ({ context }, outcome: SaveOutcome) =>
      outcome.missed !== null && context.missed === null && !breaksInStopMode(context),
    mayOpen: ({ context }) => context.mayOpen || context.save === 'finished',
    isSaved: ({ context }) => context.save === 'finished',
    isFrozen: ({ context }) => context.tree === 'frozen',
    isAway: ({ context }) => context.agents === 'away',
    isClosed: ({ context }) => context.gates === 'closed',
    isSaving: ({ context }) => context.save === 'begun',
    isPartial: ({ context }) => context.image === 'partial',
    mayBeginAgain: ({ context }) =>
      context.retracting && context.failure === null && context.unrepaired.length === 0,
    isRetracting: ({ context }) => context.retracting,
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
    abortSave: ({ context }) => context.limits.settleMs,
    discard: ({ context }) => context.limits.discardMs,
  },
  actions: {
    notePlan: assign((_, { clients, stallMs, stopModeStallMs }: PlanOutcome) => ({
      clients,
      predicted: { stallMs, stopModeStallMs },
    })),
    beginCut: assign(({ context }) => ({
      gates: 'closed' as const,
      attempt: context.attempt + 1,
      cuts: null,
      drained: false,
      retracting: false,
      settled: false,
    })),
    noteCuts: assign((_, cuts: Cuts) => ({ cuts })),
    noteDrained: assign({ drained: true }),
    noteWaiting: assign((_, outcome: DrainOutcome) => ({ waitingFor: outcome.waitingFor })),
    noteNeverDrained: assign(({ context }) => ({
      failure: neverDrained(context.attempt, context.waitingFor),
    })),
    beginSnapshot: assign({ image: 'partial', save: 'begun', mayOpen: false }),
    noteHold: assign((_, { mayOpen }: HoldOutcome) => ({ mayOpen })),
    noteSave: assign((_, save: DumpContext['save']) => ({ save })),
    beginDisconnect: assign({ agents: 'away' }),
    beginFreeze: assign({ tree: 'frozen' }),
    noteCpuSaved: assign({ cpuSaved: true }),
    noteCommitted: assign({ image: 'committed' }),
    noteTree: assign((_, tree: DumpContext['tree']) => ({ tree })),
    noteAgents: assign((_, agents: DumpContext['agents']) => ({ agents })),
    noteGates: assign((_, gates: DumpContext['gates']) => ({ gates })),
    noteOpened: assign(({ context }, { heldMs }: GatesOutcome) => ({
      gates: 'open' as const,
      heldMs: Math.max(context.heldMs, heldMs),
    })),
    noteImage: assign((_, image: DumpContext['image']) => ({ image })),
    noteOverrun: assign(({ context }, { heldMs }: GatesOutcome) => ({
      failure: contractOverrun(heldMs, context.maxStallMs ?? 0),
    })),
    noteMiss: assign((_, outcome: SaveOutcome) => ({
      missed: outcome.missed,
      retracting: true,
      attempt: 0,
      cpuSaved: false,
    })),
    noteMissedAgain: assign(({ context }, outcome: SaveOutcome) => ({
      failure:
        context.missed === null
          ? stopModeTooLong(outcome.missed, context.predicted?.stopModeStallMs ?? 0)
          : missedAgain(outcome.missed),
    })),
    // A spoiled cut could not be taken back, so nothing can be begun again.
    noteStuck: assign(({ context }) => ({
      failure: context.failure ?? context.unrepaired[0] ?? null,
    })),
    noteCancelled: assign({ failure: () => cancelled('stream') }),
    noteSettled: assign({ settled: true }),
    noteFailure: assign((_, failure: Failure) => ({ failure })),
    noteUnrepaired: assign(({ context }, failure: Failure) => ({
      unrepaired: [...context.unrepaired, failure],
    })),
    tellDone: emit(({ context }) => ended(context, 'done')),
    tellFailed: emit(({ context }) => ended(context, 'failed')),
  },
});

/** True when doing it again in mode `stop` would break the contract. */
function breaksInStopMode({ maxStallMs, predicted }: DumpContext): boolean {
  return maxStallMs !== null && (predicted?.stopModeStallMs ?? 0) > maxStallMs;
}

/** What the executors are given to reach the cut: under a contract no more than it allows. */
export function drainBudgetMs({ limits, maxStallMs }: DumpContext): number {
  return maxStallMs === null ? limits.drainMs : Math.min(limits.drainMs, Math.ceil(maxStallMs));
}
export function drainMs(context: DumpContext): number {
  return drainBudgetMs(context) + context.limits.marginMs;
}
export function disconnectMs(context: DumpContext): number {
  return context.limits.disconnectMs + context.limits.marginMs;
}
function ended(context: DumpContext, outcome: JobEnded['outcome']): JobEnded {
  return { type: 'job.ended', jobId: context.jobId, outcome };
}
