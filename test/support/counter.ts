// SPDX-License-Identifier: Apache-2.0
// A CPU-only job under a keeper, for tests of src/host: everything it makes lies in one folder and
// one cgroup, and both are gone after dispose(), whatever the test did.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createJobCgroup, JobCgroup } from '../../src/host/cgroup.ts';
import { type KeeperJob, type StartedJob, startKeeper } from '../../src/host/keeper.ts';
import { KeeperConnection } from '../../src/host/keeper-connection.ts';
import { isAlive, readProcess } from '../../src/host/proc.ts';
import { waitUntil } from '../../src/host/wait.ts';

export const DEADLINE_MS = 20_000;

/** Builds a program of test/subjects with the system's compiler. */
export function compileSubject(name: string, folder: string): string {
  const source = new URL(`../subjects/${name}.c`, import.meta.url).pathname;
  const program = join(folder, name);
  execFileSync('cc', ['-O1', '-Wall', '-Werror', '-pthread', '-o', program, source], {
    stdio: 'inherit',
  });
  return program;
}

/** Output as it comes in, by stream. */
export class Collector {
  #out = '';
  #err = '';
  stdout(bytes: Buffer): void {
    this.#out += bytes.toString('latin1');
  }
  stderr(bytes: Buffer): void {
    this.#err += bytes.toString('latin1');
  }
  get out(): string {
    return this.#out;
  }
  get err(): string {
    return this.#err;
  }
  lines(): string[] {
    return this.#out.replaceAll('\r', '').split('\n').filter(Boolean);
  }
  async waitForLines(count: number): Promise<void> {
    await waitUntil(() => this.lines().length >= count, DEADLINE_MS, `no ${count} lines came`);
  }
}

export class Bench {
  readonly dir = mkdtempSync(join(tmpdir(), 'phos-host-'));
  readonly #cgroups: JobCgroup[] = [];
  readonly #keepers: number[] = [];
  readonly #connections: KeeperConnection[] = [];
  #next = 0;

  /** What a keeper is told when the test does not care. */
  job(overrides: Partial<KeeperJob> = {}): KeeperJob {
    this.#next += 1;
    const id = `k${process.pid.toString(16)}n${this.#next}`;
    const cgroup = createJobCgroup(`test-${id}`);
    this.#cgroups.push(cgroup);
    return {
      id,
      socketPath: join(this.dir, `${id}.sock`),
      logOut: join(this.dir, `${id}.out`),
      logErr: join(this.dir, `${id}.err`),
      exitFile: join(this.dir, `${id}.exit`),
      uid: process.getuid?.() ?? 0,
      gid: process.getgid?.() ?? 0,
      groups: [],
      cgroup: cgroup.path,
      pty: null,
      holdMs: 10_000,
      lingerMs: 5_000,
      ...overrides,
    };
  }

  /** Notes a keeper, so that dispose() ends it. */
  track(started: StartedJob): void {
    this.#keepers.push(started.keeperPid);
  }

  async run(argv: readonly string[], overrides: Partial<KeeperJob> = {}): Promise<Running> {
    const job = this.job(overrides);
    const started = await startKeeper(
      {
        ...job,
        argv,
        cwd: this.dir,
        umask: 0o022,
        environment: { PATH: process.env['PATH'] ?? '' },
      },
      DEADLINE_MS,
    );
    this.track(started);
    return this.follow(job, started);
  }

  /** Attaches to a running job and collects what it says. */
  async follow(job: KeeperJob, started: StartedJob): Promise<Running> {
    const keeper = await KeeperConnection.open(job.socketPath, DEADLINE_MS);
    this.#connections.push(keeper);
    const output = new Collector();
    await keeper.attach(output, null, DEADLINE_MS);
    return { job, started, keeper, output, cgroup: new JobCgroup(job.cgroup ?? '') };
  }

  /** File that a counter with `--gate` waits for; openGate() makes it. */
  get gate(): string {
    return join(this.dir, 'gate');
  }

  openGate(): void {
    writeFileSync(this.gate, '');
  }

  folder(name: string): string {
    const path = join(this.dir, name);
    mkdirSync(path, { recursive: true });
    return path;
  }

  read(name: string): string {
    return readFileSync(join(this.dir, name), 'utf8');
  }

  async dispose(): Promise<void> {
    for (const connection of this.#connections) connection.close();
    for (const cgroup of this.#cgroups) {
      await cgroup.thaw(DEADLINE_MS);
      await cgroup.kill(DEADLINE_MS);
    }
    for (const pid of this.#keepers) await endKeeper(pid);
    for (const cgroup of this.#cgroups) await cgroup.remove(DEADLINE_MS);
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Ends a keeper whose job is over; it may be gone already. */
async function endKeeper(pid: number): Promise<void> {
  const isKeeper = () => readProcess(pid)?.command === 'phos-keeper' && !isZombie(pid);
  if (isKeeper()) process.kill(pid, 'SIGKILL');
  await waitUntil(() => !isKeeper(), DEADLINE_MS, `keeper ${pid} did not end`);
}

function isZombie(pid: number): boolean {
  return readProcess(pid)?.state === 'Z';
}

export interface Running {
  readonly job: KeeperJob;
  readonly started: StartedJob;
  readonly keeper: KeeperConnection;
  readonly output: Collector;
  readonly cgroup: JobCgroup;
}

export function alive(running: Running): boolean {
  return isAlive(running.started);
}
