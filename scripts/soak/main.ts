// SPDX-License-Identifier: Apache-2.0
// `npm run soak -- 30m [--clients N] [--json]`: kills phosd, executors, clients and CRIU at random
// under a load of dumps, restores and suspends, and looks whether anything is lost or left behind.
// PHOS_SEED makes the choices again (not the moments: the machine is part of those).
import { existsSync, readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { join } from 'node:path';
import { PhosError } from '../../src/errors/phos-error.ts';
import { createJobCgroup } from '../../src/host/cgroup.ts';
import { checkMayCheckpoint, findCriu } from '../../src/host/criu.ts';
import { leftovers } from '../lib/leftovers.ts';
import { buildDir, PrivatePhos } from '../lib/private-phos.ts';
import { type Counts, type Kills, SoakClient, type SoakShared } from './client.ts';
import { durationMs, randomFrom } from './choices.ts';
import { findProcesses, type Victim, victims } from './processes.ts';

const START_MS = 120_000;
const PAUSE_MS = 4_000;
const CGROUP_MS = 5_000;
const CRIU_LOOK_MS = 20;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    clients: { type: 'string', default: '3' },
    json: { type: 'boolean', default: false },
  },
});
const seed = Number(process.env['PHOS_SEED'] ?? Date.now() & 0x7fffffff);
const random = randomFrom(seed);
const say = (text: string): boolean => process.stderr.write(`soak: ${text}\n`);
const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

class Soak implements SoakShared {
  readonly phos = new PrivatePhos();
  readonly program = join(buildDir, 'examples/steps/steps');
  readonly random = random;
  readonly counts: Counts = {
    started: 0,
    dumps: 0,
    restores: 0,
    suspends: 0,
    refused: 0,
    ended: 0,
    losses: [],
  };
  readonly kills: Kills = { count: 0, fatal: [] };
  readonly killed: Record<Victim, number> = { phosd: 0, executor: 0, client: 0, criu: 0 };
  readonly #end: number;
  #serving: Promise<void>;

  readonly mayDump: boolean;

  constructor(ms: number, mayDump: boolean) {
    this.mayDump = mayDump;
    this.#end = performance.now() + ms;
    this.#serving = this.#start();
  }

  isOver = (): boolean => performance.now() >= this.#end;
  served = (): Promise<void> => this.#serving;

  async #start(): Promise<void> {
    const { code, stderr } = await this.phos.command(['start'], { timeoutMs: START_MS }).ended;
    if (code !== 0) throw new Error(`phos start ended with ${code}: ${stderr.trim()}`);
  }

  /** Kills somebody every few seconds; a phosd is started again at once. */
  async kill(): Promise<void> {
    await this.#serving;
    while (!this.isOver()) {
      await sleep(PAUSE_MS / 2 + random(PAUSE_MS));
      if (this.isOver()) return;
      const kind = victims[random(victims.length)] ?? 'phosd';
      // CRIU lives for a moment only: wait for one, a while.
      const until = performance.now() + (kind === 'criu' ? PAUSE_MS : 0);
      let chosen = this.#find(kind);
      while (chosen.length === 0 && performance.now() < until && !this.isOver()) {
        await sleep(CRIU_LOOK_MS);
        chosen = this.#find(kind);
      }
      const victim = chosen[random(chosen.length)];
      if (victim !== undefined) await this.#strike(victim.pid, kind, victim.seed);
    }
  }

  #find(kind: Victim) {
    const all = findProcesses(join(this.phos.folder, 'run'), this.program);
    return all.filter((one) => one.kind === kind);
  }

  async #strike(pid: number, kind: Victim, seed: string | null): Promise<void> {
    // Told before it happens: whoever is hit must not look like a loss.
    this.kills.count += 1;
    this.killed[kind] += 1;
    // CRIU is anybody's, and an executor may serve a program that is still on its way back.
    if (kind !== 'phosd') this.kills.fatal.push({ at: performance.now(), seed: seed ?? '' });
    say(`killing ${kind} ${pid}${seed === null ? '' : ` of client ${seed}`}`);
    try {
      process.kill(pid, 'SIGKILL');
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== 'ESRCH') throw thrown;
    }
    if (kind !== 'phosd') return;
    this.#serving = this.#start();
    await this.#serving;
    // What was asked for meanwhile may have found nobody.
    this.kills.count += 1;
  }

  #tellLog(): void {
    const path = join(this.phos.folder, 'log', 'phosd.log');
    if (existsSync(path)) process.stderr.write(readFileSync(path, 'utf8').slice(-20_000));
  }

  async close(clients: readonly SoakClient[]): Promise<void> {
    await this.#serving;
    await this.phos.must(['clean', this.phos.folder], START_MS).catch((thrown: unknown) => {
      this.counts.losses.push(thrown instanceof Error ? thrown.message : String(thrown));
    });
    if (this.counts.losses.length > 0) this.#tellLog();
    const jobs = await this.phos.json<{ runs: { jobId: string }[] }>(['ps'], START_MS);
    const left = clients.flatMap((one) => one.partials());
    const stop = await this.phos.command(['stop', '--force'], { timeoutMs: START_MS }).ended;
    if (stop.code !== 0) left.push(`phos stop ended with ${stop.code}: ${stop.stderr.trim()}`);
    left.push(
      ...leftovers(
        this.phos.folder,
        jobs.runs.map((one) => one.jobId),
      ),
    );
    await this.phos.close().catch((thrown: unknown) => left.push(String(thrown)));
    this.counts.losses.push(...left);
  }
}

/** Null when processes can be checkpointed here, else why not. */
async function whyNoDumps(): Promise<string | null> {
  try {
    checkMayCheckpoint();
    await findCriu();
    await createJobCgroup(`soak-${process.pid}`).remove(CGROUP_MS);
    return null;
  } catch (thrown) {
    if (thrown instanceof PhosError) return thrown.message;
    throw thrown;
  }
}

async function main(): Promise<number> {
  const ms = durationMs(positionals[0] ?? '2m');
  const why = await whyNoDumps();
  if (why !== null) say(`NO DUMPS on this machine, only suspend and resume: ${why}`);
  const soak = new Soak(ms, why === null);
  const clients = Array.from(
    { length: Number(values.clients) },
    (_, index) => new SoakClient(soak, index),
  );
  say(`${clients.length} clients for ${ms / 1000} s, seed ${seed}`);
  try {
    await Promise.all([soak.kill(), ...clients.map((one) => one.live())]);
  } finally {
    await soak.close(clients);
  }
  const { losses, ...done } = soak.counts;
  for (const loss of losses) say(`LOST ${loss}`);
  const { killed } = soak;
  const count = (of: object): string =>
    Object.entries(of)
      .map(([name, number]) => `${name} ${number}`)
      .join(', ');
  say(`done: ${count(done)}`);
  say(`killed: ${count(killed)}`);
  say(`${losses.length} lost or left behind`);
  if (values.json) {
    process.stdout.write(`${JSON.stringify({ seed, ...done, killed, lost: losses.length })}\n`);
  }
  return losses.length === 0 && done.started > 0 ? 0 : 1;
}

process.exitCode = await main();
