// SPDX-License-Identifier: Apache-2.0
// Executors started by hand, and the smallest thing that can send a program to one: what phosd
// does at attach, without phosd.
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { PhosError } from '../../src/errors/phos-error.ts';
import { ExecutorClient } from '../../src/executor/client.ts';
import type { ExecutorNotice } from '../../src/executor/protocol.ts';
import { moduleExecArgv, moduleUrl, nativeUrl } from '../../src/model/locate.ts';
import {
  executorRingSocket,
  executorSocket,
  type RuntimePaths,
  reattachFile,
  runtimePaths,
} from '../../src/model/runtime-dir.ts';
import { type AttachRequest, AttachServer } from '../../src/native/native.ts';

export const DEADLINE_MS = 60_000;
const TOKEN = 'a0b1c2d3e4f5a6b7c8d9eafb0c1d2e3f';

export function buildFile(name: string): string {
  return fileURLToPath(nativeUrl(name, process.env['PHOS_BUILD_DIR'] ?? null));
}

export interface RunningExecutor {
  readonly id: string;
  readonly process: ChildProcess;
  readonly control: ExecutorClient;
  readonly notices: ExecutorNotice[];
}

/** A socket has its name a moment before it listens. */
async function connected(
  socket: string,
  notices: ExecutorNotice[],
  deadline: number,
): Promise<ExecutorClient> {
  for (;;) {
    try {
      return await ExecutorClient.connect(socket, {
        connectDeadlineMs: DEADLINE_MS,
        onNotice: (notice) => notices.push(notice),
      });
    } catch (error) {
      const early = error instanceof PhosError && error.code === 'UNAVAILABLE';
      if (!early || Date.now() > deadline) throw error;
      await sleep(20);
    }
  }
}

/** A runtime folder with an attach server that sends every program to one executor. */
export class Bench {
  readonly paths: RuntimePaths;
  readonly #server: AttachServer;
  readonly #executors: RunningExecutor[] = [];
  readonly #programs: ChildProcess[] = [];
  #target: RunningExecutor | null = null;
  #assigned = new Set<string>();
  clientId: string | null = null;

  constructor() {
    this.paths = runtimePaths(mkdtempSync(join(tmpdir(), 'phos-bench-')));
    mkdirSync(this.paths.executorsDir);
    mkdirSync(this.paths.reattachDir);
    this.#server = new AttachServer(this.paths.attachSocket, {
      onMessage: (request) => void this.#attach(request),
      onGone: () => undefined,
    });
  }

  async startExecutor(id: string, environment: NodeJS.ProcessEnv = {}): Promise<RunningExecutor> {
    const child = spawn(
      process.execPath,
      [
        ...moduleExecArgv,
        fileURLToPath(moduleUrl('src/executor/main')),
        ...['--id', id, '--runtime-dir', this.paths.dir, '--driver', 'sim'],
      ],
      { cwd: '/', stdio: ['ignore', 'ignore', 'inherit'], env: { ...process.env, ...environment } },
    );
    const notices: ExecutorNotice[] = [];
    const socket = executorSocket(this.paths, id);
    const deadline = Date.now() + DEADLINE_MS;
    while (!existsSync(socket)) {
      if (child.exitCode !== null) throw new Error(`executor ${id} ended with ${child.exitCode}`);
      if (Date.now() > deadline) throw new Error(`executor ${id} did not start`);
      await sleep(20);
    }
    const control = await connected(socket, notices, deadline);
    const running = { id, process: child, control, notices };
    this.#executors.push(running);
    return running;
  }

  /** Programs that attach from here on go to this executor. */
  aim(executor: RunningExecutor): void {
    this.#target = executor;
  }

  /** Marks an executor as one that has been assigned by the test itself. */
  async assign(executor: RunningExecutor, clientId: string): Promise<void> {
    this.#assigned.add(executor.id);
    await executor.control.request(
      'assign',
      {
        clientId,
        token: TOKEN,
        pid: 0,
        uid: process.getuid?.() ?? 0,
        gid: process.getgid?.() ?? 0,
        environment: {},
      },
      DEADLINE_MS,
    );
  }

  async #attach(request: AttachRequest): Promise<void> {
    const target = this.#target;
    if (target === null) {
      this.#server.refuse(request.connection, 3, 'no executor');
      return;
    }
    this.clientId = request.hello.clientId;
    if (this.#assigned.has(target.id)) {
      const params = { clientId: this.clientId, token: TOKEN, pid: 0, environment: {} };
      await target.control.request('expect', params, DEADLINE_MS);
    } else {
      await this.assign(target, this.clientId);
    }
    this.#server.welcome(request.connection, {
      token: TOKEN,
      executorPath: executorRingSocket(this.paths, target.id),
    });
  }

  /** Tells the agent that it should attach again now. */
  reattach(): void {
    if (this.clientId === null) throw new Error('no client yet');
    writeFileSync(reattachFile(this.paths, this.clientId), '');
  }

  /** Runs a program over libphos.so. */
  run(program: string, args: readonly string[], environment: NodeJS.ProcessEnv = {}): Program {
    const libraries = buildFile('lib/client');
    const child = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        PHOS_RUNTIME_DIR: this.paths.dir,
        LD_LIBRARY_PATH: libraries,
        LD_PRELOAD: `${libraries}/libcuda.so.1`,
        ...environment,
      },
    });
    this.#programs.push(child);
    return new Program(child);
  }

  async dispose(): Promise<void> {
    for (const child of this.#programs) child.kill('SIGKILL');
    for (const executor of this.#executors) {
      executor.control.close();
      executor.process.kill('SIGKILL');
    }
    this.#server.close();
    rmSync(this.paths.dir, { recursive: true, force: true });
  }
}

export class Program {
  readonly process: ChildProcess;
  stdout = '';
  stderr = '';
  readonly ended: Promise<number>;

  constructor(child: ChildProcess) {
    this.process = child;
    child.stdout?.on('data', (data: Buffer) => {
      this.stdout += data.toString();
    });
    child.stderr?.on('data', (data: Buffer) => {
      this.stderr += data.toString();
    });
    this.ended = new Promise((resolve) => {
      child.on('close', (code, signal) => resolve(code ?? (signal === null ? -1 : -2)));
    });
  }

  /** Waits until standard error holds `text`. */
  async says(text: string): Promise<void> {
    const deadline = Date.now() + DEADLINE_MS;
    while (!this.stderr.includes(text)) {
      if (this.process.exitCode !== null) throw new Error(`it ended: ${this.stderr}`);
      if (Date.now() > deadline) throw new Error(`it never said ${text}: ${this.stderr}`);
      await sleep(5);
    }
  }
}
