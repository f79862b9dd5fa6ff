// SPDX-License-Identifier: Apache-2.0
// What a job tells about itself: the stages it went through, what each moved, how far it is, how
// long the program stood still.
import type { StageProgress, StageReport } from '../model/domain.ts';

export type JobNews =
  | { readonly type: 'stage'; readonly stage: string }
  | { readonly type: 'progress'; readonly progress: StageProgress };

export class JobRecord {
  readonly #tell: (news: JobNews) => void;
  readonly #now: () => number;
  readonly #begun: number;
  readonly #stages: { stage: string; ms: number; bytes: bigint }[] = [];
  #current: { readonly stage: string; readonly since: number } | null = null;
  #gateClosedAt: number | null = null;
  readonly #parts = new Map<string, StageProgress>();
  /** Gate closed to gate open, of the last cut: what the program sees, process stop included. */
  stallMs = 0;
  /** From the closed gates to the reached cut; part of the stall in which the device works. */
  drainMs = 0;
  /** The device held for the cut, in the client that was held longest; part of the stall. */
  holdMs = 0;
  /** Threads of the program that waited at a gate, added up. */
  gateWaitMs = 0;
  /** Frozen time. */
  stopMs = 0;
  warnings: string[] = [];

  constructor(tell: (news: JobNews) => void, now: () => number = () => performance.now()) {
    this.#tell = tell;
    this.#now = now;
    this.#begun = now();
  }

  /** The job goes into another stage; null ends the last one. */
  enter(stage: string | null): void {
    if (this.#current?.stage === stage) return;
    if (this.#current !== null) this.#clearParts(this.#current.stage);
    if (this.#current !== null)
      this.#report(this.#current.stage).ms += this.#now() - this.#current.since;
    this.#current = stage === null ? null : { stage, since: this.#now() };
    if (stage !== null) this.#tell({ type: 'stage', stage });
  }

  #clearParts(stage: string): void {
    for (const [part, one] of this.#parts) if (one.stage === stage) this.#parts.delete(part);
  }

  #report(stage: string): { stage: string; ms: number; bytes: bigint } {
    const found = this.#stages.find((one) => one.stage === stage);
    if (found !== undefined) return found;
    const made = { stage, ms: 0, bytes: 0n };
    this.#stages.push(made);
    return made;
  }

  /** What a stage moved in all. */
  moved(stage: string, bytes: bigint): void {
    this.#report(stage).bytes += bytes;
  }

  /** A stage that runs beside others, timed by whoever runs it. */
  beside(stage: string, ms: number, bytes: bigint): void {
    const report = this.#report(stage);
    report.ms += ms;
    report.bytes += bytes;
    this.#clearParts(stage);
  }

  /** Progress of one part (a client, say) of a stage, the current one by default; added up. */
  progress(part: string, doneBytes: bigint, totalBytes: bigint, of: string | null = null): void {
    const stage = of ?? this.#current?.stage;
    if (stage === undefined) return;
    this.#parts.set(`${stage} ${part}`, { stage, doneBytes, totalBytes });
    const all = [...this.#parts.values()].filter((one) => one.stage === stage);
    this.#tell({
      type: 'progress',
      progress: {
        stage,
        doneBytes: all.reduce((sum, one) => sum + one.doneBytes, 0n),
        totalBytes: all.reduce((sum, one) => sum + one.totalBytes, 0n),
      },
    });
  }

  gatesClosing(): void {
    this.#gateClosedAt ??= this.#now();
  }

  /** Gates are open again, or the program they held was ended. @returns how long they were not */
  gatesOpen(): number {
    if (this.#gateClosedAt === null) return 0;
    this.stallMs = this.#now() - this.#gateClosedAt;
    this.#gateClosedAt = null;
    return this.stallMs;
  }

  get stages(): readonly StageReport[] {
    return this.#stages;
  }

  get totalMs(): number {
    return this.#now() - this.#begun;
  }
}
