// SPDX-License-Identifier: Apache-2.0
// How far a job is, on stderr: a bar with rate and time left on a terminal, one line for each stage
// elsewhere, nothing with --quiet.
import { bytes, duration, rate } from './format.ts';

const BAR_CELLS = 24;
const REDRAW_MS = 100;

export class Progress {
  readonly #stream: NodeJS.WriteStream;
  readonly #quiet: boolean;
  #stage: { readonly name: string; readonly since: number } | null = null;
  /** A stage that runs beside the current one, and tells more. */
  #moving: string | null = null;
  /** When each stage beside others was first heard of. */
  readonly #besides = new Map<string, number>();
  #done = 0n;
  #total = 0n;
  #drawnAt = 0;

  constructor(quiet: boolean, stream: NodeJS.WriteStream = process.stderr) {
    this.#quiet = quiet;
    this.#stream = stream;
  }

  /** The job goes into a stage; null: it is over. */
  stage(name: string | null): void {
    this.#finishStage();
    this.#stage = name === null ? null : { name, since: performance.now() };
    this.#done = 0n;
    this.#total = 0n;
    this.#moving = null;
    this.#draw(true);
  }

  /** Progress of a stage: of the current one, or of one that runs beside it. */
  progress(stage: string, done: bigint, total: bigint): void {
    const moving = this.#stage?.name === stage ? null : stage;
    if (moving !== null && this.#besides.get(moving) === undefined) {
      this.#besides.set(moving, performance.now());
    }
    this.#moving = moving;
    this.#done = done;
    this.#total = total;
    this.#draw(false);
  }

  #draw(force: boolean): void {
    if (this.#quiet || !this.#stream.isTTY || this.#stage === null) return;
    const now = performance.now();
    if (!force && now - this.#drawnAt < REDRAW_MS) return;
    this.#drawnAt = now;
    const name = this.#moving ?? this.#stage.name;
    const since = this.#besides.get(name) ?? this.#stage.since;
    this.#stream.write(`\r\x1b[K${progressLine(name, this.#done, this.#total, now - since)}`);
  }

  #finishStage(): void {
    if (this.#quiet || this.#stage === null) return;
    const ms = performance.now() - this.#stage.since;
    const isOwn = this.#done > 0n && this.#moving === null;
    const moved = !isOwn ? '' : `, ${bytes(this.#done)} at ${rate(this.#done, ms)}`;
    const clear = this.#stream.isTTY ? '\r\x1b[K' : '';
    this.#stream.write(`${clear}phos: ${this.#stage.name}: ${duration(ms)}${moved}\n`);
  }
}

/** One line: bar, bytes, rate, time left. */
export function progressLine(stage: string, done: bigint, total: bigint, ms: number): string {
  if (total === 0n) return `${stage} ...`;
  const part = Math.min(1, Number(done) / Number(total));
  const full = Math.round(part * BAR_CELLS);
  const bar = `${'#'.repeat(full)}${'-'.repeat(BAR_CELLS - full)}`;
  const leftMs = part > 0 ? (ms / part) * (1 - part) : 0;
  const pace = rate(done, ms);
  const eta = part > 0 && part < 1 ? `, ${duration(leftMs)} left` : '';
  const at = pace === '' ? '' : `, ${pace}`;
  return `${stage} [${bar}] ${bytes(done)} of ${bytes(total)}${at}${eta}`;
}
