// SPDX-License-Identifier: Apache-2.0
// A CUDA program under a phos of the test's own: started, dumped and restored through the command
// line only, as a user would.
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { buildDir, type Ended, PrivatePhos, type Started } from '../../scripts/lib/private-phos.ts';
import { waitUntil } from '../../src/host/wait.ts';

export const RUN_MS = 110_000;
export const STEP_MS = 60_000;
export const programs = {
  steps: join(buildDir, 'examples/steps/steps'),
  family: join(buildDir, 'test/subjects/family'),
  random: join(buildDir, 'test/subjects/random_program'),
  graphs: join(buildDir, 'test/subjects/graph_program'),
} as const;
export const ptx = join(buildDir, 'examples/steps/steps.ptx');

/** A program that runs, with what it has said so far. */
export interface Job {
  readonly pid: number;
  readonly jobId: string;
  readonly ended: Promise<Ended>;
  readonly stdoutLines: () => string[];
  readonly stderrLines: () => string[];
  /** Waits until it has said so many lines; fails when it ends before. */
  readonly said: (stream: 'stdout' | 'stderr', lines: number) => Promise<void>;
}

interface Listed {
  readonly runs: readonly {
    readonly jobId: string;
    readonly pid: number;
    readonly argv: string[];
    readonly stdio: string;
  }[];
  readonly clients: readonly { readonly pid: number; readonly state: string }[];
}

export interface JobReport {
  readonly rootPid: number;
  readonly deviceBytes: string;
  readonly imageBytes: string;
  readonly stallMs: number;
  readonly stopMs: number;
}

/** Error of a command with --json: {"error":{code,message,...}} on standard output. */
export interface Refusal {
  readonly exitCode: number;
  readonly code: string;
  readonly message: string;
}

export class GpuBench {
  readonly phos = new PrivatePhos();
  #gates = 0;

  static async open(env: Readonly<Record<string, string>> = {}): Promise<GpuBench> {
    const bench = new GpuBench();
    await bench.startPhosd(env);
    return bench;
  }

  async startPhosd(env: Readonly<Record<string, string>> = {}): Promise<void> {
    const { code, stderr } = await this.phos.command(['start'], { timeoutMs: STEP_MS, env }).ended;
    if (code !== 0) throw new Error(`phos start ended with ${code}: ${stderr}`);
  }

  /** A file that does not exist yet, for programs that wait for one. */
  gate(): { readonly path: string; readonly open: () => void } {
    this.#gates += 1;
    const path = this.path(`gate-${this.#gates}`);
    return { path, open: () => writeFileSync(path, '') };
  }

  path(name: string): string {
    return join(this.phos.folder, name);
  }

  async run(argv: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Job> {
    const started = this.phos.command(['run', '--', ...argv], { timeoutMs: RUN_MS, env });
    return await this.#follow(started, (listed) =>
      listed.runs.find((run) => run.argv.join('\0') === argv.join('\0')),
    );
  }

  async restore(image: string, options: readonly string[] = []): Promise<Job> {
    const before = new Set((await this.list()).runs.map((run) => run.jobId));
    const started = this.phos.command(['restore', '--quiet', image, ...options], {
      timeoutMs: RUN_MS,
    });
    return await this.#follow(started, (listed) =>
      listed.runs.find((run) => !before.has(run.jobId)),
    );
  }

  async #follow(
    started: Started,
    find: (listed: Listed) => { readonly jobId: string; readonly pid: number } | undefined,
  ): Promise<Job> {
    const text = { stdout: '', stderr: '' };
    for (const stream of ['stdout', 'stderr'] as const) {
      started.child[stream]?.on('data', (data: string) => {
        text[stream] += data;
      });
    }
    let over: Ended | null = null;
    void started.ended.then(
      (ended) => {
        over = ended;
      },
      () => undefined,
    );
    const linesOf = (stream: 'stdout' | 'stderr') => text[stream].split('\n').filter(Boolean);
    let found: { readonly jobId: string; readonly pid: number } | undefined;
    while (found === undefined) {
      found = find(await this.list());
      // A short program may be over before it was ever listed.
      if (found === undefined && over !== null) found = { jobId: '', pid: 0 };
    }
    return {
      ...found,
      ended: started.ended,
      stdoutLines: () => linesOf('stdout'),
      stderrLines: () => linesOf('stderr'),
      said: (stream, lines) =>
        waitUntil(
          () => {
            if (linesOf(stream).length >= lines) return true;
            if (over !== null) throw new Error(`it ended too soon: ${JSON.stringify(over)}`);
            return false;
          },
          STEP_MS,
          `the program did not say ${lines} lines on ${stream}; it said:\n${text.stderr}`,
        ),
    };
  }

  list(): Promise<Listed> {
    return this.phos.json<Listed>(['ps']);
  }

  async dump(pid: number, image: string, options: readonly string[] = []): Promise<JobReport> {
    const args = ['dump', String(pid), '--dir', image, ...options];
    return await this.phos.json<JobReport>(args, RUN_MS);
  }

  /** Runs a command that must fail. */
  async refused(
    args: readonly string[],
    env: Readonly<Record<string, string>> = {},
  ): Promise<Refusal> {
    const command = [...args, '--json'];
    const { code, stdout, stderr } = await this.phos.command(command, { timeoutMs: RUN_MS, env })
      .ended;
    if (code === 0) throw new Error(`phos ${args.join(' ')} succeeded: ${stdout}`);
    const text = stdout.trim() === '' ? stderr : stdout;
    const line = text.trim().split('\n').at(-1) ?? '';
    const { error } = JSON.parse(line) as { error: { code: string; message: string } };
    return { exitCode: code, code: error.code, message: error.message };
  }

  /** Ends phosd and all its programs; everything of this test is gone afterwards. */
  async close(): Promise<void> {
    // A test that failed may have left its program running; 9 means that there is no phosd.
    const stopping = this.phos.command(['stop', '--force'], { timeoutMs: STEP_MS });
    try {
      const { code, stderr } = await stopping.ended;
      if (code !== 0 && code !== 9) throw new Error(`phos stop ended with ${code}: ${stderr}`);
    } finally {
      rmSync(this.phos.folder, { recursive: true, force: true });
    }
  }
}

/** True when the build has what these tests run. */
export function isBuilt(): boolean {
  return Object.values(programs).every((path) => existsSync(path));
}
