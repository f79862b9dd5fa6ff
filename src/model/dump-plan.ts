// SPDX-License-Identifier: Apache-2.0
// The plan of a dump: how each client is saved, how long its program will be held, what is moved.
// Pure: phosd gives facts and rates; `phos explain` shows the result and a dump acts on it.
import { PhosError } from '../errors/phos-error.ts';
import { predictMs, type Rates } from './rates.ts';

/** What a user may ask for. */
export const saveModes = ['auto', 'snapshot', 'cow', 'stop'] as const;
export type SaveMode = (typeof saveModes)[number];
/** What is done: how a client is saved. */
export type PlannedMode = Exclude<SaveMode, 'auto'>;

export interface DumpWish {
  readonly mode: SaveMode;
  /** Submissions may be held for so long, as the program sees it; null: no such contract. */
  readonly maxStallMs: number | null;
  /** A pre-dump: device memory only; processes are never stopped. */
  readonly gpuOnly: boolean;
}

export interface ClientFact {
  readonly clientId: string;
  readonly pid: number;
  readonly deviceBytes: bigint;
  /** Device memory that nobody uses. */
  readonly freeBytes: bigint;
  /** What its executor can do. */
  readonly offers: readonly PlannedMode[];
}

export interface ClientPlan {
  readonly clientId: string;
  readonly pid: number;
  /** Predicted, where `asked` is auto: its executor decides at the cut. */
  readonly mode: PlannedMode;
  readonly asked: SaveMode;
  readonly deviceBytes: bigint;
  readonly freeBytes: bigint;
  /** Predicted: from the hold of the device to its release. */
  readonly holdMs: number;
  /** Predicted: until its bytes are in the image. */
  readonly storeMs: number;
  readonly reason: string;
}

export interface DumpPlan {
  readonly clients: readonly ClientPlan[];
  readonly gpuOnly: boolean;
  /** Predicted: submissions held, as the program sees it; the process stop is part of it. */
  readonly stallMs: number;
  /** The same if the whole dump had to be done again in mode `stop`. */
  readonly stopModeStallMs: number;
  /** Predicted process stop; 0 for a pre-dump. */
  readonly stopMs: number;
  readonly totalMs: number;
  readonly deviceBytes: bigint;
  readonly cpuBytes: bigint;
}

/** Device memory that a copy aside must leave: the program may want more meanwhile. */
export const SNAPSHOT_RESERVE_BYTES = 64n << 20n;

/**
 * Makes the plan.
 *
 * @param cpuBytes memory of the processes that a dump has to write
 * @throws PhosError UNSUPPORTED when an executor cannot do the mode that was asked for
 */
export function planDump(
  facts: readonly ClientFact[],
  cpuBytes: bigint,
  rates: Rates,
  wish: Omit<DumpWish, 'maxStallMs'>,
): DumpPlan {
  const clients = facts.map((fact) => planClient(fact, rates, wish.mode));
  const stops = facts.map((fact) => predictMs(rates.store, fact.deviceBytes));
  const stopMs = wish.gpuOnly ? 0 : predictMs(rates.cpu, cpuBytes);
  const drainMs = clients.length === 0 ? 0 : rates.drain.baseMs;
  const holdMs = Math.max(0, ...clients.map((one) => one.holdMs));
  const storeMs = clients.reduce((sum, one) => sum + one.storeMs, 0);
  const gates = (hold: number): number => (clients.length === 0 ? stopMs : drainMs + hold + stopMs);
  return {
    clients,
    gpuOnly: wish.gpuOnly,
    stallMs: gates(holdMs),
    stopModeStallMs: gates(Math.max(0, ...stops)),
    stopMs,
    totalMs: drainMs + holdMs + Math.max(storeMs, stopMs),
    deviceBytes: facts.reduce((sum, one) => sum + one.deviceBytes, 0n),
    cpuBytes: wish.gpuOnly ? 0n : cpuBytes,
  };
}

function planClient(fact: ClientFact, rates: Rates, wanted: SaveMode): ClientPlan {
  const mode = wanted === 'auto' ? chooseMode(fact) : requireOffered(fact, wanted);
  const storeMs = predictMs(rates.store, fact.deviceBytes);
  const { clientId, pid, deviceBytes, freeBytes } = fact;
  const holds: Readonly<Record<PlannedMode, number>> = {
    snapshot: predictMs(rates.copy, deviceBytes),
    cow: predictMs(rates.hash, deviceBytes),
    stop: storeMs,
  };
  const reason = wanted === 'auto' ? reasons[mode] : 'as asked for';
  const holdMs = holds[mode];
  const asked = wanted;
  return { clientId, pid, mode, asked, deviceBytes, freeBytes, holdMs, storeMs, reason };
}

const reasons: Readonly<Record<PlannedMode, string>> = {
  snapshot: 'its memory fits a second time into what is free on the device',
  cow: 'its memory does not fit a second time into what is free on the device',
  stop: 'its executor offers nothing else',
};

function chooseMode(fact: ClientFact): PlannedMode {
  const fits = fact.deviceBytes + SNAPSHOT_RESERVE_BYTES <= fact.freeBytes;
  if (fits && fact.offers.includes('snapshot')) return 'snapshot';
  return fact.offers.includes('cow') ? 'cow' : 'stop';
}

function requireOffered(fact: ClientFact, mode: PlannedMode): PlannedMode {
  if (!fact.offers.includes(mode)) {
    throw new PhosError(
      'UNSUPPORTED',
      `process ${fact.pid} cannot be saved in mode ${mode}; use one of ${fact.offers.join(', ')}`,
    );
  }
  if (mode === 'snapshot' && fact.deviceBytes > fact.freeBytes) {
    throw new PhosError(
      'DEVICE',
      `a snapshot of process ${fact.pid} needs ${fact.deviceBytes} bytes of device memory and ` +
        `${fact.freeBytes} are free; use --mode cow or stop, or free memory`,
      { retryable: true },
    );
  }
  return mode;
}

/** Why the plan breaks the contract; null when it keeps it, or there is none. */
export function contractBroken(plan: DumpPlan, maxStallMs: number | null): PhosError | null {
  if (maxStallMs === null || plan.stallMs <= maxStallMs) return null;
  const stopsCpu = plan.stopMs > maxStallMs / 2;
  const cure = stopsCpu
    ? `${plan.stopMs.toFixed(0)} ms of it are the process stop: use pre-dump, which has none`
    : 'free device memory so that a snapshot fits';
  return new PhosError(
    'CONFLICT',
    `the program would be held for ${plan.stallMs.toFixed(1)} ms (predicted), more than the ` +
      `${maxStallMs} ms of --max-stall; ${cure}, or allow more`,
    { details: { predictedStallMs: plan.stallMs, maxStallMs } },
  );
}
