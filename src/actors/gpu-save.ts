// SPDX-License-Identifier: Apache-2.0
// The device side of a dump, over all clients of its tree: begun at the cut, finished while the
// processes are dumped or run on, or aborted.
import { join } from 'node:path';
import { PhosError } from '../errors/phos-error.ts';
import type { MethodResult } from '../executor/protocol.ts';
import { createPart } from '../image/commit.ts';
import type { ParentPlan } from '../image/parents.ts';
import type { HoldOutcome, SaveOutcome } from '../machines/dump-parts.ts';
import type { DumpPlan, PlannedMode } from '../model/dump-plan.ts';
import type { RateName } from '../model/rates.ts';
import { deadlines } from '../model/limits.ts';
import { onAll } from './effects.ts';
import type { JobClients } from './job-clients.ts';
import type { JobRecord } from './job-record.ts';
import type { RateBook } from './rate-book.ts';

export type SavedClient = MethodResult<'save.finish'>;

/** Which rate a hold tells about. */
const rateOf: Readonly<Record<PlannedMode, RateName | null>> = {
  snapshot: 'copy',
  cow: 'hash',
  stop: null,
};

export class GpuSave {
  readonly #clients: JobClients;
  readonly #record: JobRecord;
  readonly #rates: RateBook;
  #begunAt = 0;
  /** By client, in tree order; empty before everything is saved. */
  saved: readonly SavedClient[] = [];

  constructor(clients: JobClients, record: JobRecord, rates: RateBook) {
    this.#clients = clients;
    this.#record = record;
    this.#rates = rates;
  }

  get deviceBytes(): bigint {
    return this.saved.reduce((sum, one) => sum + one.deviceBytes, 0n);
  }

  /**
   * Sets device memory aside before gates close. What is left of it when the dump is given up goes
   * back when gates open, or here when that is before they were closed.
   */
  async prepare(plan: DumpPlan, deadlineMs: number, signal: AbortSignal): Promise<void> {
    const begun = performance.now();
    try {
      const prepared = await this.#clients.long(
        'save.prepare',
        (_, index) => ({ mode: plan.clients[index]?.asked ?? 'stop' }),
        deadlineMs,
        'plan',
      );
      signal.throwIfAborted();
      const bytes = prepared.reduce((sum, one) => sum + one.bytes, 0n);
      if (bytes > 0n) this.#record.beside('prepare', performance.now() - begun, bytes);
    } catch (thrown) {
      await this.abort();
      throw thrown;
    }
  }

  /**
   * Holds every client's device side at its cut.
   *
   * @param parent an earlier image, whose unchanged chunks are not written again
   * @param forced mode `stop` for all: an earlier cut was spoiled
   */
  async begin(
    partial: string,
    plan: DumpPlan,
    parent: ParentPlan | null,
    forced: PlannedMode | null,
    deadlineMs: number,
  ): Promise<HoldOutcome> {
    this.saved = [];
    this.#begunAt = performance.now();
    const { members } = this.#clients;
    const folders = await onAll(members, (member, index) =>
      createPart(partial, `gpu-${index}`, member.facts),
    );
    const begun = await this.#clients.long(
      'save.begin',
      (member, index) => ({
        directory: folders[index] ?? join(partial, `gpu-${index}`),
        parent: parent?.folderOf(member.facts.clientId) ?? null,
        // An executor that chooses takes a mode that the plan cannot see to be out of reach, as
        // where there are more places to copy than it may hold the program for.
        mode: forced ?? plan.clients[index]?.asked ?? 'stop',
        openGate: false,
        deadlineMs,
      }),
      deadlineMs + deadlines.marginMs,
      'snapshot',
    );
    for (const one of begun) {
      this.#noteHold(one);
      this.#record.moved('snapshot', one.copiedBytes);
      const rate = rateOf[one.mode];
      if (rate !== null) this.#rates.measured(rate, one.deviceBytes, Number(one.gpuHoldNs) / 1e6);
    }
    return { mayOpen: begun.every((one) => one.gateMayOpen) };
  }

  /** Streams everything out. Aborted by the signal, it fails when every executor is at rest. */
  async finish(deadlineMs: number, signal: AbortSignal): Promise<SaveOutcome> {
    const onAbort = (): void => {
      // What cannot be told here is told again by the way back, and reported there.
      this.abort().catch(() => undefined);
    };
    signal.addEventListener('abort', onAbort);
    try {
      const saved = await this.#clients.long('save.finish', () => ({}), deadlineMs, 'stream');
      const missed = saved.flatMap(({ validationMissed }) => validationMissed ?? []);
      if (missed.length > 0) {
        const kernels = [...new Set(missed.flatMap((one) => one.kernels))];
        return { missed: kernels.length === 0 ? 'a command' : kernels.slice(0, 5).join(', ') };
      }
      this.#note(saved);
      this.saved = saved;
      return { missed: null };
    } catch (thrown) {
      signal.throwIfAborted();
      throw thrown;
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }

  #note(saved: readonly SavedClient[]): void {
    const ms = performance.now() - this.#begunAt;
    const writtenBytes = saved.reduce((sum, one) => sum + one.writtenBytes, 0n);
    const movedBytes = saved.reduce((sum, one) => sum + one.movedBytes, 0n);
    this.#record.beside('to host', ms, movedBytes);
    this.#record.beside('stream', ms, writtenBytes);
    if (saved.length === 0) return;
    for (const one of saved) this.#noteHold(one);
    this.#rates.measured('store', writtenBytes, ms);
  }

  #noteHold({ gpuHoldNs }: { readonly gpuHoldNs: bigint }): void {
    this.#record.holdMs = Math.max(this.#record.holdMs, Number(gpuHoldNs) / 1e6);
  }

  /** Lets go of every client wherever its save is. */
  async abort(): Promise<void> {
    await this.#clients.everyLiving('save.abort', deadlines.executorRequestMs);
  }
}

/** @throws PhosError IMAGE_INVALID when an image to build on holds another program */
export function requireSameClients(
  directory: string,
  folderOf: ParentPlan['folderOf'],
  wanted: readonly string[],
): void {
  const missing = wanted.filter((id) => folderOf(id) === null);
  if (missing.length === 0) return;
  throw new PhosError(
    'IMAGE_INVALID',
    `the image ${directory} is not of this program: it lacks client ${missing[0]}; ` +
      'name an image of the same run',
  );
}
