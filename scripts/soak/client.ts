// SPDX-License-Identifier: Apache-2.0
// One client of the soak: a program that runs, and is dumped, restored, suspended and resumed over
// and over, while somebody kills. What may not be: a failure without a name, a failure in a time
// in which nobody killed, a program that is lost, an image that is not whole.
import { existsSync, readdirSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { ERRORS } from '../../src/gen/error-codes.ts';
import { StepCounter } from '../demo/counter.ts';
import type { PrivatePhos } from '../lib/private-phos.ts';
import { findProcesses } from './processes.ts';

const PATIENCE_MS = 180_000;
const LOOK_MS = 50;

/** What all clients count together. */
export interface Counts {
  started: number;
  dumps: number;
  restores: number;
  suspends: number;
  /** Operations that failed by name while somebody killed. */
  refused: number;
  /** Programs that ended with a process that was killed. */
  ended: number;
  readonly losses: string[];
}

/** What the killer did, by moment: who was there when a thing went wrong. */
export interface Kills {
  count: number;
  /** Kills that take a program with them, by its seed; empty: anybody may be hit. */
  readonly fatal: { readonly at: number; readonly seed: string }[];
}

export interface SoakShared {
  readonly phos: PrivatePhos;
  readonly program: string;
  readonly counts: Counts;
  readonly kills: Kills;
  readonly random: (below: number) => number;
  /** False where this machine cannot checkpoint processes: then they are only suspended. */
  readonly mayDump: boolean;
  isOver(): boolean;
  /** Resolves when a phosd serves again. */
  served(): Promise<void>;
}

interface Run {
  readonly counter: StepCounter;
  over: number | null;
  said: string;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export class SoakClient {
  readonly #shared: SoakShared;
  readonly #seed: string;
  readonly #image: string;
  #run: Run | null = null;
  #runSince = 0;

  constructor(shared: SoakShared, index: number) {
    this.#shared = shared;
    this.#seed = String(1000 + index);
    this.#image = join(shared.phos.folder, `image-${index}`);
  }

  async live(): Promise<void> {
    while (!this.#shared.isOver()) {
      try {
        if (this.#run === null || this.#run.over !== null) await this.#begin();
        await this.#once();
      } catch (thrown) {
        this.#lose(thrown instanceof Error ? thrown.message : String(thrown));
        this.#run = null;
      }
    }
  }

  #lose(what: string): void {
    this.#shared.counts.losses.push(`client ${this.#seed}: ${what}`);
  }

  #follow(args: readonly string[]): Run {
    const run: Run = { counter: new StepCounter(), over: null, said: '' };
    const options = { timeoutMs: 3_600_000, onErrorLine: run.counter.take };
    const end = ({ code, stderr }: { code: number; stderr: string }): void => {
      run.over = code;
      run.said = stderr.slice(-300);
    };
    this.#shared.phos.command(args, options).ended.then(end, () => end({ code: -1, stderr: '' }));
    this.#runSince = performance.now();
    return run;
  }

  async #begin(): Promise<void> {
    const { program, counts } = this.#shared;
    this.#run = null;
    await this.#shared.served();
    rmSync(this.#image, { recursive: true, force: true });
    const args = ['--steps', '1000000', '--mib', '1', '--pause-ms', '20', '--seed', this.#seed];
    const kills = this.#shared.kills.count;
    const run = this.#follow(['run', '--', program, ...args]);
    await this.#until(() => run.over !== null || run.counter.latest >= 2, 'the program begins');
    // phosd was killed before it had answered: nothing was begun, and nothing is lost.
    if (run.over !== null && kills !== this.#shared.kills.count) return;
    if (run.over !== null) throw new Error(`it did not start (${run.over}): ${run.said}`);
    counts.started += 1;
    this.#run = run;
  }

  /** One operation, and what must hold after it. */
  async #once(): Promise<void> {
    const run = this.#run;
    if (run === null) return;
    const pid = this.#pid();
    if (pid === null) return this.#settle(run);
    const kind = this.#shared.random(3);
    if (kind === 0 && this.#shared.mayDump) await this.#dump(pid, run, true);
    else if (kind === 1 && this.#shared.mayDump) await this.#dump(pid, run, false);
    else await this.#suspend(pid, run);
  }

  #pid(): number | null {
    const { phos, program } = this.#shared;
    const all = findProcesses(join(phos.folder, 'run'), program);
    return all.find((one) => one.kind === 'client' && one.seed === this.#seed)?.pid ?? null;
  }

  /** @returns true when it succeeded; a failure must have a name, and a kill beside it */
  async #try(args: readonly string[]): Promise<boolean> {
    const { phos, kills, counts } = this.#shared;
    await this.#shared.served();
    const before = kills.count;
    const { code, stdout, stderr } = await phos.command([...args, '--json'], {
      timeoutMs: PATIENCE_MS,
    }).ended;
    if (code === 0) return true;
    const name = Object.entries(ERRORS).find(([, one]) => one.exitCode === code)?.[0];
    const said = `phos ${args[0]} ended with ${name ?? code}: ${(stdout + stderr).trim()}`;
    if (name === undefined || name === 'INTERNAL') this.#lose(said);
    else if (kills.count === before && !this.#isStruck()) this.#lose(`undisturbed, ${said}`);
    else counts.refused += 1;
    return false;
  }

  /** Since it was begun or restored, something was killed that may take this program with it. */
  #isStruck(): boolean {
    const isOurs = (seed: string): boolean => seed === this.#seed || seed === '';
    return this.#shared.kills.fatal.some(({ at, seed }) => at >= this.#runSince && isOurs(seed));
  }

  async #dump(pid: number, run: Run, goesOn: boolean): Promise<void> {
    const { counts } = this.#shared;
    rmSync(this.#image, { recursive: true, force: true });
    const more = goesOn ? ['--leave-running'] : [];
    const done = await this.#try(['dump', String(pid), '--dir', this.#image, '--quiet', ...more]);
    if (done) counts.dumps += 1;
    await this.#shared.served();
    if (goesOn || !done) await this.#settle(run, !goesOn);
    else await this.#until(() => run.over !== null, 'the dumped program ends');
    if (!existsSync(this.#image)) {
      if (done) this.#lose('a dump that succeeded has left no image');
      return;
    }
    await this.#verify();
    if (run.over !== null && !goesOn) await this.#restore();
  }

  async #verify(): Promise<void> {
    const { code, stderr } = await this.#shared.phos.command(['image', 'verify', this.#image], {
      timeoutMs: PATIENCE_MS,
    }).ended;
    if (code !== 0) this.#lose(`the image is not whole: ${stderr.trim()}`);
  }

  /** An image that is whole comes back, though not at the first attempt when somebody kills. */
  async #restore(): Promise<void> {
    for (let attempt = 0; attempt < 5; attempt += 1) {
      await this.#shared.served();
      const before = this.#shared.kills.count;
      const run = this.#follow(['restore', this.#image, '--quiet']);
      await this.#until(() => run.over !== null || run.counter.latest > 0, 'it is restored');
      if (run.over === null) {
        this.#run = run;
        this.#shared.counts.restores += 1;
        return;
      }
      if (this.#shared.kills.count === before) {
        this.#lose(`undisturbed, phos restore ended with ${run.over}: ${run.said}`);
        break;
      }
      this.#shared.counts.refused += 1;
    }
    this.#run = null;
  }

  async #suspend(pid: number, run: Run): Promise<void> {
    const done = await this.#try(['suspend', String(pid), '--quiet']);
    for (let attempt = 0; attempt < 5; attempt += 1) {
      await this.#shared.served();
      if (run.over !== null) break;
      const resumed = await this.#shared.phos.command(['resume', String(pid), '--quiet'], {
        timeoutMs: PATIENCE_MS,
      }).ended;
      // CONFLICT: it is not suspended, so there is nothing to resume.
      if (resumed.code === 0 || resumed.code === ERRORS.CONFLICT.exitCode) break;
    }
    if (done) this.#shared.counts.suspends += 1;
    await this.#settle(run);
  }

  /** The program goes on, or has ended because of a kill. */
  async #settle(run: Run, mayHaveBeenDumped = false): Promise<void> {
    const at = run.counter.latest;
    await this.#until(() => run.over !== null || run.counter.latest > at, 'the program goes on');
    if (run.over === null) return;
    if (this.#isStruck()) this.#shared.counts.ended += 1;
    else if (!(mayHaveBeenDumped && existsSync(this.#image))) {
      this.#lose(`the program ended with ${run.over}, and nobody had killed it: ${run.said}`);
    }
  }

  async #until(holds: () => boolean, what: string): Promise<void> {
    const end = performance.now() + PATIENCE_MS;
    while (!holds()) {
      if (performance.now() > end) throw new Error(`within ${PATIENCE_MS} ms not: ${what}`);
      await sleep(LOOK_MS);
    }
  }

  /** Folders beside the image that an interrupted dump has left, after `phos clean`. */
  partials(): string[] {
    const name = basename(this.#image);
    return readdirSync(dirname(this.#image)).filter((one) => one.startsWith(`${name}.`));
  }
}
