// SPDX-License-Identifier: Apache-2.0
// An executor as phosd holds it: the process, the control connection, and who listens to what it
// says of its own accord.
import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { PhosError } from '../errors/phos-error.ts';
import { ExecutorClient } from '../executor/client.ts';
import type {
  ExecutorNotice,
  MethodName,
  MethodParams,
  MethodResult,
} from '../executor/protocol.ts';
import { keeperPath } from '../host/keeper.ts';
import { isAlive, type ProcessKey } from '../host/proc.ts';
import { waitUntil } from '../host/wait.ts';
import type { Environment } from '../model/driver-environment.ts';
import { moduleExecArgv, moduleUrl } from '../model/locate.ts';
import { deadlines } from '../model/limits.ts';
import { executorRingSocket, executorSocket, type RuntimePaths } from '../model/runtime-dir.ts';
import { processStartTime } from '../native/native.ts';

export interface ExecutorSettings {
  readonly paths: RuntimePaths;
  readonly driver: 'sim' | 'cuda';
  readonly logDir: string;
}

const POLL_MS = 20;

export class ExecutorProcess {
  readonly id: string;
  readonly ordinal: number;
  readonly driver: 'sim' | 'cuda';
  readonly socketPath: string;
  readonly ringSocketPath: string;
  readonly #settings: ExecutorSettings;
  readonly #listeners = new Set<(notice: ExecutorNotice) => void>();
  #link: ExecutorClient | null = null;
  #key: ProcessKey | null = null;
  #exited: () => void = () => undefined;
  /** Counts the processes of this executor: the end of one that was replaced is no news. */
  #generation = 0;
  #environment: Environment = {};

  constructor(id: string, ordinal: number, settings: ExecutorSettings) {
    this.id = id;
    this.ordinal = ordinal;
    this.driver = settings.driver;
    this.#settings = settings;
    this.socketPath = executorSocket(settings.paths, id);
    this.ringSocketPath = executorRingSocket(settings.paths, id);
  }

  /** Pid and start time; null before it was started or found. */
  get key(): ProcessKey | null {
    return this.#key;
  }

  onNotice(listener: (notice: ExecutorNotice) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Called once when the process or its control connection is gone. */
  onExit(listener: () => void): void {
    this.#exited = listener;
  }

  /**
   * Starts the process and waits until its context is ready.
   *
   * @throws PhosError UNAVAILABLE when it ended first (its log says why), DEVICE, or the signal's
   *   reason
   */
  async start(signal: AbortSignal): Promise<void> {
    const generation = this.#generation;
    const log = openSync(`${this.#settings.logDir}/executor-${this.id}.log`, 'a', 0o600);
    const command = [process.execPath, ...moduleExecArgv, ...this.#arguments()];
    const child = spawn(keeperPath(), ['settled', ...command], {
      detached: true,
      stdio: ['ignore', log, log],
      cwd: '/',
      env: { ...executorEnvironment(), ...this.#environment },
    });
    closeSync(log);
    let ended: string | null = null;
    child.on('error', (error) => {
      ended = error.message;
    });
    child.on('exit', (code, by) => {
      ended = by === null ? `exit status ${code}` : by;
      // Before it listens, start() tells its end, and why.
      if (this.#link !== null) this.#noteExit(generation);
    });
    child.unref();
    if (child.pid !== undefined) {
      this.#key = { pid: child.pid, startTime: processStartTime(child.pid) };
    }
    while (this.#link === null) {
      signal.throwIfAborted();
      if (ended !== null) throw this.#didNotStart(ended);
      await this.#tryConnect();
      if (this.#link === null) await sleep(POLL_MS);
    }
    const status = await this.request('status', {}, deadlines.executorRequestMs);
    if (status.device === null) throw this.#didNotStart('it has no device');
  }

  /**
   * Sees to it that the driver runs with these variables. A driver reads them when it starts, so a
   * warm executor that has others is replaced by one that starts with them.
   *
   * @throws PhosError as start() does
   */
  async adopt(environment: Environment, signal: AbortSignal): Promise<void> {
    if (isDeepStrictEqual(environment, this.#environment)) return;
    this.#generation += 1;
    await this.end();
    this.#link = null;
    this.#environment = environment;
    await this.start(signal);
  }

  #noteExit(generation: number): void {
    if (generation === this.#generation) this.#exited();
  }

  #arguments(): string[] {
    return [
      fileURLToPath(moduleUrl('src/executor/main')),
      '--id',
      this.id,
      '--runtime-dir',
      this.#settings.paths.dir,
      '--driver',
      this.driver,
      '--ordinal',
      String(this.ordinal),
    ];
  }

  #didNotStart(why: string): PhosError {
    const log = `${this.#settings.logDir}/executor-${this.id}.log`;
    const reason = lastWords(log) ?? `executor ${this.id} did not start (${why}); see ${log}`;
    return new PhosError('UNAVAILABLE', reason, {
      details: { executorId: this.id, log },
    });
  }

  async #tryConnect(): Promise<void> {
    try {
      await this.connect();
    } catch (thrown) {
      // Not listening yet: its end is noticed by the child's exit event.
      if (!(thrown instanceof PhosError) || thrown.code !== 'UNAVAILABLE') throw thrown;
    }
  }

  /** Connects to a process that runs. @throws PhosError UNAVAILABLE when nobody listens */
  async connect(): Promise<void> {
    const generation = this.#generation;
    const link = await ExecutorClient.connect(this.socketPath, {
      connectDeadlineMs: deadlines.executorRequestMs,
      onNotice: (notice) => {
        for (const listener of [...this.#listeners]) listener(notice);
      },
    });
    this.#link = link;
    void link.closed.then(() => this.#noteExit(generation));
  }

  /** Finds a process that an earlier phosd started. @returns the client that it serves */
  async find(): Promise<{ readonly clientId: string | null }> {
    await this.connect();
    const status = await this.request('status', {}, deadlines.executorRequestMs);
    this.#key = { pid: status.pid, startTime: status.startTime };
    return { clientId: status.clientId };
  }

  /** Tells which process it is, so that it can be ended before it was connected to. */
  know(key: ProcessKey): void {
    this.#key = key;
  }

  /** Resolves when the control connection stands. @throws PhosError TIMEOUT */
  async ready(): Promise<void> {
    await waitUntil(
      () => this.#link !== null,
      deadlines.executorRequestMs,
      `executor ${this.id} could not be connected to`,
    );
  }

  request<M extends MethodName>(
    method: M,
    params: MethodParams<M>,
    deadlineMs: number,
  ): Promise<MethodResult<M>> {
    if (this.#link === null) {
      return Promise.reject(
        new PhosError('UNAVAILABLE', `executor ${this.id} is not connected; see phos ps`),
      );
    }
    return this.#link.request(method, params, deadlineMs);
  }

  /** Asks it to exit, kills it when it does not, and waits until it is gone. */
  async end(): Promise<void> {
    const key = this.#key;
    if (key === null) return;
    try {
      await this.request('exit', {}, deadlines.executorRequestMs / 5);
      await this.#waitGone(key, deadlines.executorRequestMs / 5);
    } catch (thrown) {
      if (!(thrown instanceof PhosError)) throw thrown;
      this.#kill(key);
      await this.#waitGone(key, deadlines.executorRequestMs);
    } finally {
      this.#link?.close();
    }
  }

  // Dead is enough: one that an earlier phosd started is reaped by init, when init gets to it.
  #waitGone(key: ProcessKey, deadlineMs: number): Promise<void> {
    return waitUntil(() => !isAlive(key), deadlineMs, `executor ${this.id} did not end`);
  }

  #kill(key: ProcessKey): void {
    // The pid may have been reused since: pid and start time together name the process.
    if (!isAlive(key)) return;
    try {
      process.kill(key.pid, 'SIGKILL');
    } catch (thrown) {
      if ((thrown as { code?: unknown }).code !== 'ESRCH') throw thrown;
    }
  }

  /** Lets go of the connection; the process goes on. */
  release(): void {
    this.#exited = () => undefined;
    this.#link?.close();
  }
}

/** Why it gave up, as the last line of its log has it; null when it could not say. */
function lastWords(path: string): string | null {
  const last = readFileSync(path, 'utf8').trim().split('\n').at(-1) ?? '';
  try {
    const { reason } = JSON.parse(last) as { reason?: unknown };
    return typeof reason === 'string' ? reason : null;
  } catch {
    // Not a line of its logger: a crash, or nothing at all.
    return null;
  }
}

/** An executor gets nothing of phosd's environment but what it needs to run. */
function executorEnvironment(): NodeJS.ProcessEnv {
  const kept = ['PATH', 'LANG', 'NODE_OPTIONS', 'TZ'];
  const names = Object.keys(process.env).filter(
    (name) => kept.includes(name) || name.startsWith('PHOS_'),
  );
  return Object.fromEntries(names.map((name) => [name, process.env[name]]));
}
