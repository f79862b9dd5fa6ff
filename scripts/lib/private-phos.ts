// SPDX-License-Identifier: Apache-2.0
// A phos of one's own: a phosd in folders that nobody else uses, driven through the command line
// only, and gone without a trace at the end. The demo and the benchmarks run in it.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ERRORS } from '../../src/gen/error-codes.ts';
import { packageRoot } from '../../src/model/locate.ts';

/** How a command ended, and what it printed. */
export interface Ended {
  /** 128 + n after signal n, as a shell would say. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Started {
  readonly child: ChildProcess;
  /** Resolves when the command has ended; rejects when its deadline has passed. */
  readonly ended: Promise<Ended>;
}

export interface StartOptions {
  readonly timeoutMs: number;
  readonly env?: Readonly<Record<string, string>>;
  /** Called with each whole line of stderr. */
  readonly onErrorLine?: (line: string) => void;
}

const signalNumbers: Readonly<Record<string, number>> = { SIGINT: 2, SIGKILL: 9, SIGTERM: 15 };

/** Starts a command with its own end of everything; stdin is empty. */
export function start(command: readonly string[], options: StartOptions): Started {
  const [program = '', ...args] = command;
  const child = spawn(program, args, {
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  let partial = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
    const lines = (partial + text).split('\n');
    partial = lines.pop() ?? '';
    for (const line of lines) options.onErrorLine?.(line);
  });
  const ended = new Promise<Ended>((resolve, reject) => {
    const timer = setTimeout(() => {
      child.kill('SIGKILL');
      const what = `\`${command.join(' ')}\` did not end within ${options.timeoutMs} ms`;
      reject(new Error(`${what}; it said:\n${stderr.slice(-2000)}`));
    }, options.timeoutMs);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      const number = signal === null ? 1 : 128 + (signalNumbers[signal] ?? 0);
      resolve({ code: code ?? number, stdout, stderr });
    });
  });
  // Whoever awaits `ended` sees the failure; nobody awaiting it yet must not end the process.
  ended.catch(() => {});
  return { child, ended };
}

/** The folder of the native build. */
export const buildDir: string = fileURLToPath(new URL('build', packageRoot));

/** A libcuda.so.1 that is the simulated device itself: what phos is compared with. */
export const directEnv: Readonly<Record<string, string>> = {
  LD_LIBRARY_PATH: join(buildDir, 'lib/sim'),
};

export class PrivatePhos {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'phos-'));
  readonly env: Readonly<Record<string, string>> = {
    PHOS_RUNTIME_DIR: join(this.folder, 'run'),
    PHOS_STATE_DIR: join(this.folder, 'state'),
    PHOS_LOG_DIR: join(this.folder, 'log'),
  };
  private readonly program = [
    process.execPath,
    fileURLToPath(new URL('dist/src/cli/main.js', packageRoot)),
  ];

  /** Starts `phos ARGS`. */
  command(args: readonly string[], options: StartOptions): Started {
    return start([...this.program, ...args], {
      ...options,
      env: { ...this.env, ...options.env },
    });
  }

  /** Runs `phos ARGS` to its end, which must be a success; gives its standard output. */
  async must(args: readonly string[], timeoutMs = 60_000): Promise<string> {
    const { code, stdout, stderr } = await this.command(args, { timeoutMs }).ended;
    if (code !== 0) {
      throw new Error(`\`phos ${args.join(' ')}\` ended with ${code}: ${stderr.trim()}`);
    }
    return stdout;
  }

  /** The same with --json, parsed. */
  async json<T>(args: readonly string[], timeoutMs = 60_000): Promise<T> {
    return JSON.parse(await this.must([...args, '--json'], timeoutMs)) as T;
  }

  /** Stops phosd and everything under it, makes sure that it is gone, removes the folders. */
  async close(): Promise<void> {
    try {
      const stopped = await this.command(['stop', '--force'], { timeoutMs: 60_000 }).ended;
      // Where no phosd runs there is nothing to stop: its start failed, and that is told already.
      if (stopped.code !== 0 && stopped.code !== ERRORS.UNAVAILABLE.exitCode) {
        throw new Error(`\`phos stop --force\` ended with ${stopped.code}: ${stopped.stderr}`);
      }
      await this.waitUntilNothingIsLeft();
    } finally {
      rmSync(this.folder, { recursive: true, force: true });
    }
  }

  /** Everything that belongs to this phos has its runtime folder in its environment. */
  private async waitUntilNothingIsLeft(): Promise<void> {
    const mark = `PHOS_RUNTIME_DIR=${this.env['PHOS_RUNTIME_DIR'] ?? ''}`;
    const end = performance.now() + 10_000;
    for (let left = marked(mark); left.length > 0; left = marked(mark)) {
      if (performance.now() > end) throw new Error(`left running: ${left.join(', ')}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** Processes whose environment holds this setting, with their command lines. */
function marked(setting: string): string[] {
  const found: string[] = [];
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
      if (!environment.includes(setting)) continue;
      const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
      found.push(`${pid} (${line})`);
    } catch (error) {
      // It ended while we looked, or is another user's.
      const { code } = error as NodeJS.ErrnoException;
      if (code !== 'ENOENT' && code !== 'ESRCH' && code !== 'EACCES') throw error;
    }
  }
  return found;
}
