// SPDX-License-Identifier: Apache-2.0
// phosd put together: folders, registry, supervisor, attach desk, jobs and the control server.
import { chmodSync } from 'node:fs';
import { type Log, Supervisor } from '../actors/supervisor.ts';
import type { Agents } from '../actors/client-entry.ts';
import { type ControlServer, startControlServer } from '../control/server.ts';
import { PhosError } from '../errors/phos-error.ts';
import { Control } from '../gen/proto/phos/v1/control_pb.ts';
import { waitUntil } from '../host/wait.ts';
import type { ClientRecord, JobRecordAtRest, Registry } from '../model/domain.ts';
import { deadlines } from '../model/limits.ts';
import type { PhosFolders, RuntimePaths } from '../model/runtime-dir.ts';
import { AttachServer, peerCredentials } from '../native/native.ts';
import { AttachDesk } from './attach.ts';
import { makeFolders, modes } from './folders.ts';
import { Jobs } from './jobs.ts';
import { dropPidFile, takePidFile } from './pid-file.ts';
import { adopt, findExecutors, takeBack, warmByDevice } from './recover.ts';
import { RegistryFile } from './registry.ts';
import { Runs } from './runs.ts';
import { controlService } from './service.ts';

export interface NodeSettings {
  readonly folders: PhosFolders;
  readonly driver: 'sim' | 'cuda';
  readonly devices: number;
  readonly poolTarget: number;
  readonly logFile: string | null;
  readonly log: Log;
}

export class PhosNode {
  readonly settings: NodeSettings;
  readonly startedAt = new Date();
  readonly paths: RuntimePaths;
  readonly supervisor: Supervisor;
  readonly runs: Runs;
  readonly jobs: Jobs;
  readonly #registry: RegistryFile;
  readonly #desk: AttachDesk;
  #attach: AttachServer | null = null;
  #control: ControlServer | null = null;
  #keepClients = false;
  /** Jobs of an earlier phosd that are not taken back yet: this one may be killed as well. */
  #inherited: readonly JobRecordAtRest[] = [];
  #recovered: Promise<void> = Promise.resolve();
  #ended: () => void = () => undefined;
  /** Resolves when phosd has stopped. */
  readonly stopped: Promise<void>;

  constructor(settings: NodeSettings) {
    this.settings = settings;
    this.stopped = new Promise((resolve) => {
      this.#ended = resolve;
    });
    this.paths = makeFolders(settings.folders);
    const { log } = settings;
    this.#registry = new RegistryFile(
      this.paths.registry,
      () => this.#collect(),
      (thrown) => log('error', 'the registry could not be written', { reason: String(thrown) }),
    );
    const onChange = (): void => this.#registry.changed();
    const agents: Agents = {
      welcome: (connection, answer) => this.#attach?.welcome(connection, answer),
      refuse: (connection, status, message) => this.#refuse(connection, status, message),
    };
    this.supervisor = new Supervisor({
      paths: this.paths,
      driver: settings.driver,
      devices: settings.devices,
      poolTarget: settings.poolTarget,
      logDir: settings.folders.logDir,
      agents,
      log,
      onChange,
      prepare: () => this.#prepare(),
      close: () => this.#close(),
    });
    this.runs = new Runs(this.supervisor, this.paths, settings.folders, onChange);
    const onJobs = (): void => {
      onChange();
      this.#desk.jobEnded();
    };
    const recovered = () => this.#recovered;
    const { folders } = settings;
    this.jobs = new Jobs(this.supervisor, this.runs, this.paths, folders, onJobs, recovered);
    this.#desk = new AttachDesk({
      supervisor: this.supervisor,
      agents,
      busyRoots: () => this.jobs.roots(),
      devices: settings.devices,
    });
  }

  /** @throws PhosError why phosd cannot serve */
  async start(): Promise<void> {
    this.supervisor.node.start();
    await new Promise<void>((resolve, reject) => {
      const look = (): void => {
        const { value, context } = this.supervisor.node.getSnapshot();
        if (value === 'preparing') return;
        if (context.failure === null) resolve();
        else reject(new PhosError(context.failure.code, context.failure.message));
      };
      this.supervisor.node.subscribe({ next: look });
      look();
    });
  }

  async #prepare(): Promise<void> {
    const { log } = this.settings;
    takePidFile(this.paths.pidFile);
    const { registry, damaged } = RegistryFile.read(this.paths.registry);
    if (damaged !== null) log('error', 'the registry was damaged', { reason: damaged });
    const options = { supervisor: this.supervisor, runs: this.runs, paths: this.paths, registry };
    this.#inherited = registry.jobs;
    const found = await findExecutors(options);
    this.supervisor.openDevices(warmByDevice(found));
    await adopt(options, found);
    this.#attach = new AttachServer(this.paths.attachSocket, {
      onMessage: (request) => this.#desk.hello(request),
      onGone: (connection) => this.#desk.gone(connection),
    });
    chmodSync(this.paths.attachSocket, modes().socket);
    this.#control = await startControlServer({
      path: this.paths.controlSocket,
      mode: modes().socket,
      peerOf: peerCredentials,
      routes: (router) => router.service(Control, controlService(this)),
      onError: (method, thrown) => this.#rpcFailed(method, thrown),
    });
    this.#registry.changed();
    this.#recovered = takeBack(options).finally(() => {
      this.#inherited = [];
      this.#registry.changed();
    });
  }

  #rpcFailed(method: string, thrown: unknown): void {
    const error = PhosError.from(thrown, method);
    const level = error.code === 'INTERNAL' ? 'error' : 'info';
    const stack = level === 'error' && thrown instanceof Error ? { stack: thrown.stack } : {};
    this.settings.log(level, 'a request failed', { method, error: error.toJSON(), ...stack });
  }

  /** An agent that hung up meanwhile needs no answer. */
  #refuse(connection: number, status: number, message: string): void {
    try {
      this.#attach?.refuse(connection, status, message);
    } catch (thrown) {
      if (!(thrown instanceof PhosError) || thrown.code !== 'NOT_FOUND') throw thrown;
    }
  }

  #collect(): Registry {
    const { supervisor, runs } = this;
    return {
      schema: 'phos-registry',
      version: 1,
      executors: [...supervisor.executors.values()].flatMap(({ process }) =>
        process.key === null
          ? []
          : [
              {
                executorId: process.id,
                process: {
                  pid: process.key.pid,
                  startTime: process.key.startTime.toString(),
                },
                driver: process.driver,
                ordinal: process.ordinal,
              },
            ],
      ),
      clients: this.#clientRecords(),
      keepers: [...runs.entries.values()].flatMap((entry) => entry.record ?? []),
      jobs: [...this.#inherited, ...this.jobs.atRest()],
    };
  }

  #clientRecords(): ClientRecord[] {
    return [...this.supervisor.clients.values()].flatMap((client) => {
      const { executorId, process: key } = client;
      if (executorId === null || key === null) return [];
      const { clientId, uid, gid, command, environment } = client.facts;
      return [
        {
          clientId,
          process: { pid: key.pid, startTime: key.startTime.toString() },
          uid,
          gid,
          command,
          executorId,
          suspended: client.state === 'suspended',
          environment: { ...environment },
        },
      ];
    });
  }

  /**
   * Stops phosd.
   *
   * @returns clients that were ended with it
   * @throws PhosError CONFLICT while jobs are under way, or programs run and neither was asked for
   */
  async stop(how: { readonly force: boolean; readonly keepClients: boolean }): Promise<number> {
    const [job] = this.jobs.active.values();
    if (job !== undefined) {
      throw new PhosError('CONFLICT', `job ${job.jobId} (${job.kind}) is under way; wait for it`);
    }
    const clients = this.supervisor.clients.size;
    const programs = this.runs.entries.size;
    if (clients + programs > 0 && !how.force && !how.keepClients) {
      throw new PhosError(
        'CONFLICT',
        `${Math.max(clients, programs)} programs run under phos; end them, or use --force ` +
          '(they are killed) or --keep-clients (they go on, and phos start finds them again)',
      );
    }
    this.#keepClients = how.keepClients;
    if (!how.keepClients) {
      await this.runs.endAll(deadlines.endTreeMs);
      // Their cgroups are cleared away by the jobs themselves, after their keepers have told.
      const isOver = (): boolean => this.runs.entries.size === 0;
      await waitUntil(isOver, deadlines.endTreeMs, 'the programs under phos did not end');
    }
    this.supervisor.post.tell({ to: 'node', event: { type: 'node.stop' } });
    return how.keepClients ? 0 : clients;
  }

  async #close(): Promise<void> {
    const { supervisor } = this;
    for (const ordinal of supervisor.devices.keys()) {
      supervisor.post.tell({ to: 'device', ordinal, event: { type: 'pool.close' } });
    }
    this.#attach?.close();
    for (const [executorId, { actor }] of supervisor.executors) {
      const serves = actor.getSnapshot().value === 'serving';
      if (serves && this.#keepClients) continue;
      supervisor.post.tell({ to: 'executor', executorId, event: { type: 'executor.end' } });
    }
    await this.#executorsEnded();
    // The answer to the stop request is still to be sent.
    setImmediate(() => void this.#finish());
  }

  #executorsEnded(): Promise<void> {
    const { supervisor } = this;
    const isOver = (): boolean =>
      [...supervisor.executors.values()].every(
        ({ actor }) => this.#keepClients && actor.getSnapshot().value === 'serving',
      );
    return new Promise((resolve) => {
      const stop = supervisor.observe(() => {
        if (!isOver()) return;
        stop();
        resolve();
      });
      if (!isOver()) return;
      stop();
      resolve();
    });
  }

  async #finish(): Promise<void> {
    await this.#control?.close(deadlines.marginMs);
    this.runs.release();
    this.#registry.close();
    this.supervisor.release();
    dropPidFile(this.paths.pidFile);
    this.#ended();
  }
}
