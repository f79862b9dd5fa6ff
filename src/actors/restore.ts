// SPDX-License-Identifier: Apache-2.0
// A restore with its effects: executors that load the GPU side, a keeper that has CRIU bring the
// tree back, agents that find their executor again.
import { join } from 'node:path';
import { createActor } from 'xstate';
import { PhosError } from '../errors/phos-error.ts';
import { createJobCgroup, JobCgroup } from '../host/cgroup.ts';
import { planCpuRestore, restoreCpu } from '../host/cpu-restore.ts';
import type { KeeperJob } from '../host/keeper.ts';
import { readProcess } from '../host/proc.ts';
import { verifyImage } from '../image/verify.ts';
import { defaultJobLimits } from '../machines/job-limits.ts';
import { type RestoreContext, restoreMachine } from '../machines/restore.machine.ts';
import type { KeeperRecord } from '../model/domain.ts';
import type { ImageManifest, JobFile, ManifestClient } from '../model/image-manifest.ts';
import { deadlines } from '../model/limits.ts';
import type { ClientEntry } from './client-entry.ts';
import { Effects, waitFor } from './effects.ts';
import { withFaultPoints } from './fault-points.ts';
import type { Job } from './job.ts';
import type { JobClients } from './job-clients.ts';
import type { JobRecord } from './job-record.ts';
import type { Supervisor } from './supervisor.ts';

export interface RestoreOptions {
  readonly jobId: string;
  readonly uid: number;
  readonly directory: string;
  readonly truncate: boolean;
  readonly manifest: ImageManifest;
  /** Pid that the root of the tree had, and gets again. */
  readonly rootPid: number;
  readonly job: JobFile;
  readonly keeperId: string;
  readonly keeperSocket: string;
  /** Folder of this job for CRIU's log; made by the caller. */
  readonly workDir: string;
  readonly keeper: Omit<KeeperJob, 'cgroup'>;
  /** Puts the client library of the image where the program has it mapped. */
  readonly installLibrary: () => Promise<void>;
  /** The tree runs again under this keeper. */
  readonly onStarted: (record: KeeperRecord) => void;
}

const stages: Readonly<Record<string, string>> = {
  reading: 'read',
  reserving: 'reserve',
  loading: 'load',
  restoringCpu: 'cpu-restore',
  reattaching: 'reattach',
  opening: 'open',
  settling: 'put back',
  endingTree: 'put back',
  endingExecutors: 'put back',
};

class RestoreEffects {
  readonly #options: RestoreOptions;
  readonly #supervisor: Supervisor;
  readonly #record: JobRecord;
  readonly #clients: JobClients;
  readonly #effects = new Effects<RestoreContext>();
  #cgroup: JobCgroup | null = null;
  rootPid: number;
  deviceBytes = 0n;

  constructor(
    options: RestoreOptions,
    supervisor: Supervisor,
    record: JobRecord,
    clients: JobClients,
  ) {
    this.#options = options;
    this.#supervisor = supervisor;
    this.#record = record;
    this.#clients = clients;
    this.rootPid = options.rootPid;
  }

  get cgroupPath(): string | null {
    return this.#cgroup?.path ?? null;
  }

  actors() {
    const effects = this.#effects;
    return {
      readImage: effects.bind((_, signal) => this.#read(signal)),
      takeExecutors: effects.bind((_, signal) => this.#take(signal)),
      loadGpu: effects.bind((c) => this.#load(c)),
      restoreCpu: effects.bind((c) => this.#restoreCpu(c)),
      awaitAgents: effects.bind((_, signal) => this.#clients.reattach(signal)),
      openGates: effects.bind(() => this.#open()),
      settle: effects.settled(),
      endTree: effects.bind(() => this.#endTree()),
      endExecutors: effects.bind((_, signal) => this.#endExecutors(signal)),
    };
  }

  async #read(signal: AbortSignal): Promise<{ readonly clients: readonly string[] }> {
    const { directory, truncate, manifest } = this.#options;
    for (const client of manifest.clients) this.#refuseLive(client);
    await planCpuRestore(join(directory, 'cpu'), { truncate });
    const found = await verifyImage(directory, {
      onProgress: (done, total) => this.#record.progress('image', done, total),
      signal,
    });
    this.#record.moved('read', found.bytes);
    await this.#options.installLibrary();
    return { clients: manifest.clients.map((client) => client.clientId) };
  }

  #refuseLive(client: ManifestClient): void {
    const live = this.#supervisor.clients.get(client.clientId);
    if (live === undefined) return;
    throw new PhosError(
      'CONFLICT',
      `the program of this image still runs as process ${live.pid}; end it before restoring`,
      { details: { pid: live.pid } },
    );
  }

  async #take(signal: AbortSignal): Promise<Readonly<Record<string, string>>> {
    const { manifest, job } = this.#options;
    const members = manifest.clients.map((client) =>
      this.#supervisor.addClient(
        {
          clientId: client.clientId,
          uid: job.uid,
          gid: job.gid,
          command: client.command,
          ordinal: 0,
          environment: client.environment,
        },
        { pid: client.pid, process: null },
        { origin: 'image', executorId: null, suspended: false },
        null,
      ),
    );
    this.#clients.members = members;
    await waitFor(
      () => members.every((member) => this.#isReady(member)),
      (changed) => this.#supervisor.observe(changed),
      signal,
    );
    return Object.fromEntries(
      members.map((member) => [member.facts.clientId, member.executorId ?? '']),
    );
  }

  #isReady(member: ClientEntry): boolean {
    const { state, failure } = member;
    if (state === 'lost' || state === 'exited') {
      const { code, message } = failure ?? { code: 'UNAVAILABLE' as const, message: 'see its log' };
      throw new PhosError(code, `no executor for process ${member.pid}: ${message}`);
    }
    return state === 'away';
  }

  async #load(context: RestoreContext): Promise<void> {
    const { directory, manifest } = this.#options;
    const results = await this.#clients.long(
      'load',
      (_, index) => ({ directory: join(directory, manifest.clients[index]?.directory ?? '') }),
      context.limits.loadMs,
      'load',
    );
    for (const [index, result] of results.entries()) {
      const client = manifest.clients[index];
      if (client === undefined || result.clientId !== client.clientId) {
        throw new PhosError('IMAGE_INVALID', `${client?.directory} is of another client`);
      }
      this.deviceBytes += result.deviceBytes;
      this.#record.moved('load', result.readBytes);
    }
  }

  async #restoreCpu(context: RestoreContext): Promise<{ readonly rootPid: number }> {
    const { directory, keeper, truncate, workDir } = this.#options;
    this.#cgroup = createJobCgroup(keeper.id);
    const started = await restoreCpu({
      directory: join(directory, 'cpu'),
      workDir,
      job: { ...keeper, cgroup: this.#cgroup.path },
      truncate,
      deadlineMs: context.limits.cpuRestoreMs,
    });
    this.rootPid = started.pid;
    this.#options.onStarted(this.#keeperRecord(started, this.#cgroup.path));
    return { rootPid: started.pid };
  }

  #keeperRecord(
    started: { readonly keeperPid: number; readonly pid: number; readonly startTime: bigint },
    cgroup: string,
  ): KeeperRecord {
    const { job, keeperId } = this.#options;
    return {
      keeperId,
      process: {
        pid: started.keeperPid,
        startTime: (readProcess(started.keeperPid)?.startTime ?? 0n).toString(),
      },
      root: { pid: started.pid, startTime: started.startTime.toString() },
      uid: job.uid,
      gid: job.gid,
      groups: job.groups,
      stdio: job.stdio === 'pty' ? 'pty' : 'pipes',
      argv: job.argv,
      cwd: job.cwd,
      cgroup,
      library: job.library?.hash ?? null,
    };
  }

  async #open(): Promise<void> {
    await this.#clients.openGates();
  }

  async #endTree(): Promise<void> {
    if (this.#cgroup === null) return;
    await this.#cgroup.kill(deadlines.endTreeMs);
    await this.#cgroup.remove(deadlines.endTreeMs);
  }

  /** Clients that never came back are discarded; their executors end with them. */
  async #endExecutors(signal: AbortSignal): Promise<void> {
    const members = this.#clients.members;
    const held = members.flatMap((member) => member.executorId ?? []);
    for (const { facts } of members) {
      const { clientId } = facts;
      this.#supervisor.post.tell({ to: 'client', clientId, event: { type: 'client.discard' } });
    }
    await waitFor(
      () => held.every((id) => !this.#supervisor.executors.has(id)),
      (changed) => this.#supervisor.observe(changed),
      signal,
    );
  }
}

export function restoreJob(
  options: RestoreOptions,
  supervisor: Supervisor,
  record: JobRecord,
  clients: JobClients,
): Job {
  const effects = new RestoreEffects(options, supervisor, record, clients);
  const { jobId, directory } = options;
  const actor = createActor(
    restoreMachine.provide({ actors: withFaultPoints('restore', effects.actors()) }),
    {
      input: { jobId, directory, limits: defaultJobLimits },
    },
  );
  return {
    jobId,
    kind: 'restore',
    uid: options.uid,
    startedAt: new Date(),
    rootPid: options.rootPid,
    directory,
    record,
    actor,
    clientIds: () => options.manifest.clients.map((client) => client.clientId),
    cgroup: () => effects.cgroupPath,
    keeperId: options.keeperId,
    stageOf: stages,
    outcome: () => ({
      clientIds: clients.ids,
      directory,
      deviceBytes: effects.deviceBytes,
      imageBytes: options.manifest.files.reduce((sum, file) => sum + BigInt(file.bytes), 0n),
      attempts: 1,
      rootPid: effects.rootPid,
      keeperId: options.keeperId,
      keeperSocket: options.keeperSocket,
    }),
  };
}
