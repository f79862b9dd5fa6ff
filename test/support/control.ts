// SPDX-License-Identifier: Apache-2.0
// A phosd of a test's own, the programs that it runs, and waiting for what they say.
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { nativeUrl, packageRoot } from '../../src/model/locate.ts';

const program = fileURLToPath(new URL('dist/src/cli/main.js', packageRoot));
const DEADLINE_MS = 90_000;

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Waits for something outside; a deadline that passes names what was waited for. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  for (const end = performance.now() + DEADLINE_MS; performance.now() < end; ) {
    if (await holds()) return;
    await sleep(30);
  }
  throw new Error(`${what} did not come true within ${DEADLINE_MS} ms`);
}

/** A file of the native build. */
export function built(name: string): string {
  return fileURLToPath(nativeUrl(name, process.env['PHOS_BUILD_DIR'] ?? null));
}

/** A phos command under way. */
export class Command {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  stdout = '';
  stderr = '';
  #over: number | null = null;

  constructor(
    args: readonly string[],
    env: NodeJS.ProcessEnv,
    stdin: 'ignore' | 'pipe' = 'ignore',
    user: { readonly uid: number; readonly gid: number } | null = null,
  ) {
    this.child = spawn(process.execPath, [program, ...args], {
      ...user,
      env,
      stdio: [stdin, 'pipe', 'pipe'],
    });
    this.child.stdout?.on('data', (data: Buffer) => {
      this.stdout += data.toString();
    });
    this.child.stderr?.on('data', (data: Buffer) => {
      this.stderr += data.toString();
    });
    this.ended = new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.child.kill('SIGKILL');
        reject(new Error(`phos ${args.join(' ')} did not end: ${this.stderr}`));
      }, DEADLINE_MS);
      this.child.on('error', reject);
      this.child.on('close', (code) => {
        clearTimeout(timer);
        this.#over = code ?? -1;
        resolve({ code: this.#over, stdout: this.stdout, stderr: this.stderr });
      });
    });
    this.ended.catch(() => undefined);
  }

  lines(): string[] {
    return this.stdout.split('\n').filter(Boolean);
  }

  async untilLines(count: number): Promise<void> {
    await this.#until(`${count} lines of output`, () => this.lines().length >= count);
  }

  async untilSays(text: string): Promise<void> {
    await this.#until(`"${text}" on stderr`, () => this.stderr.includes(text));
  }

  /** A command that has ended says nothing more: that is told at once. */
  async #until(what: string, holds: () => boolean): Promise<void> {
    await until(what, () => {
      if (holds()) return true;
      if (this.#over === null) return false;
      throw new Error(`it ended with ${this.#over} before ${what}: ${this.stderr}`);
    });
  }
}

interface PsAnswer {
  readonly clients: readonly {
    readonly clientId: string;
    readonly pid: number;
    readonly state: string;
    readonly executorId: string;
    readonly executorPid: number;
    readonly deviceBytes: number;
    readonly jobId: string;
  }[];
  readonly runs: readonly { readonly jobId: string; readonly pid: number }[];
}

/** A program that steps through device memory until its stop file is there. */
export interface MemorySteps {
  readonly command: Command;
  readonly pid: number;
  readonly target: string;
  readonly stopFile: string;
}

/** Lets the program end by itself. @returns the number of its last step */
export async function finish(command: Command, stopFile: string): Promise<number> {
  writeFileSync(stopFile, '');
  const { code, stderr } = await command.ended;
  if (code !== 0) throw new Error(`the program ended with ${code}: ${stderr}`);
  const last = command.lines().at(-2) ?? '';
  return Number(last.replace('step ', ''));
}

export class TestPhos {
  readonly folder = mkdtempSync(join(tmpdir(), 'phos-e2e-'));
  readonly runtimeDir = join(this.folder, 'run');
  readonly env: NodeJS.ProcessEnv = {
    ...process.env,
    PHOS_RUNTIME_DIR: this.runtimeDir,
    PHOS_STATE_DIR: join(this.folder, 'state'),
    PHOS_LOG_DIR: join(this.folder, 'log'),
  };

  #programs = 0;

  begin(...args: string[]): Command {
    return new Command(args, this.env);
  }

  run(...args: string[]): Promise<Ended> {
    return this.begin(...args).ended;
  }

  async json<T>(...args: string[]): Promise<T> {
    const { stdout, stderr, code } = await this.run(...withJson(args));
    if (code !== 0)
      throw new Error(`phos ${args.join(' ')} ended with ${code}: ${stderr}${stdout}`);
    return JSON.parse(stdout) as T;
  }

  /** The error that a command must end with. */
  async failure(...args: string[]): Promise<{ exit: number; code: string; message: string }> {
    const { stdout, code } = await this.run(...withJson(args));
    const { error } = JSON.parse(stdout) as { error: { code: string; message: string } };
    return { exit: code, ...error };
  }

  ps(): Promise<PsAnswer> {
    return this.json<PsAnswer>('ps');
  }

  daemonPid(): number {
    return Number(readFileSync(join(this.runtimeDir, 'phosd.pid'), 'utf8').split(' ')[0]);
  }

  /** Kills phosd as a crash would. */
  async crash(): Promise<void> {
    const pid = this.daemonPid();
    process.kill(pid, 'SIGKILL');
    await until('the end of phosd', () => !isRunning(pid));
  }

  /** Starts the program that uses device memory; resolves when its client runs. */
  async memorySteps(): Promise<MemorySteps> {
    this.#programs += 1;
    const stopFile = join(this.folder, `stop-${this.#programs}`);
    const path = built('test/subjects/memory_steps');
    const command = this.begin('run', '--', path, '1', '5000', stopFile);
    await command.untilLines(5);
    const { clients } = await this.ps();
    const [client] = clients;
    if (client === undefined) throw new Error(`the program is no client: ${command.stderr}`);
    return { command, pid: client.pid, target: String(client.pid), stopFile };
  }

  async close(): Promise<void> {
    const { code, stderr } = await this.run('stop', '--force');
    rmSync(this.folder, { recursive: true, force: true });
    if (code !== 0 && !stderr.includes('not running')) throw new Error(stderr);
  }
}

/** Options end where the program's own begin. */
function withJson(args: readonly string[]): string[] {
  const end = args.indexOf('--');
  return end < 0 ? [...args, '--json'] : [...args.slice(0, end), '--json', ...args.slice(end)];
}

export function isRunning(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return !/\) [ZX] /.test(stat);
  } catch {
    // No such process.
    return false;
  }
}

/** What memory_steps prints for a number of steps, uninterrupted. */
export function stepLines(from: number, to: number): string[] {
  return Array.from({ length: to - from + 1 }, (_, index) => `step ${from + index}`);
}
