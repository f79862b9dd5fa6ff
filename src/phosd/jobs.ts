// SPDX-License-Identifier: Apache-2.0
// Jobs on process trees: who they are for, claiming their clients, and running them to their end.
import { mkdirSync, rmSync } from 'node:fs';
import { isAbsolute, join, normalize } from 'node:path';
import { dumpJob } from '../actors/dump.ts';
import { type Job, type JobOutcomeReport, runJob } from '../actors/job.ts';
import { JobClients } from '../actors/job-clients.ts';
import { type JobNews, JobRecord } from '../actors/job-record.ts';
import { restoreJob } from '../actors/restore.ts';
import type { RunEntry } from '../actors/run-entry.ts';
import { newId, type Supervisor } from '../actors/supervisor.ts';
import { resumeJob, suspendJob } from '../actors/suspend.ts';
import type { Peer } from '../control/server.ts';
import { PhosError } from '../errors/phos-error.ts';
import { listProcesses, readTree } from '../host/proc.ts';
import { readJob, readManifest, requireCpu } from '../image/manifest.ts';
import type { JobKind, JobRecordAtRest } from '../model/domain.ts';
import type { DumpWish } from '../model/dump-plan.ts';
import { clientsOfTree, processTree } from '../model/process-tree.ts';
import { keeperSocket, type RuntimePaths } from '../model/runtime-dir.ts';
import { mayActOn, ownerOfProcess, requireOwnPlace } from './access.ts';
import { installFromImage } from './library.ts';
import type { Runs } from './runs.ts';
import { VERSION } from './version.ts';
import { type DumpWishRequest, wishOf } from './wish.ts';

/** What a caller hears of its job. */
export interface JobHooks {
  readonly onStarted: (jobId: string) => void;
  readonly onNews: (news: JobNews) => void;
  /** The caller went away: the job is cancelled. */
  readonly signal: AbortSignal;
}
export interface JobReport {
  readonly jobId: string;
  readonly record: JobRecord;
  readonly outcome: JobOutcomeReport;
}

interface Target {
  readonly uid: number;
  readonly gid: number;
  readonly run: RunEntry | null;
}

export class Jobs {
  readonly #supervisor: Supervisor;
  readonly #runs: Runs;
  readonly #paths: RuntimePaths;
  readonly #folders: { readonly stateDir: string; readonly logDir: string };
  readonly #onChange: () => void;
  readonly #recovered: () => Promise<void>;
  readonly active = new Map<string, Job>();

  constructor(
    supervisor: Supervisor,
    runs: Runs,
    paths: RuntimePaths,
    folders: { readonly stateDir: string; readonly logDir: string },
    onChange: () => void,
    /** Resolves when what an earlier phosd left under way was put back. */
    recovered: () => Promise<void>,
  ) {
    this.#supervisor = supervisor;
    this.#runs = runs;
    this.#paths = paths;
    this.#folders = folders;
    this.#onChange = onChange;
    this.#recovered = recovered;
  }

  /** Roots of the trees that jobs are at work on. */
  roots(): number[] {
    return [...this.active.values()].map((job) => job.rootPid);
  }

  atRest(): JobRecordAtRest[] {
    return [...this.active.values()].map((job) => ({
      jobId: job.jobId,
      kind: job.kind,
      rootPid: job.rootPid,
      directory: job.directory,
      cgroup: job.cgroup(),
      keeperId: job.keeperId,
      clients: [...job.clientIds()],
    }));
  }

  /** @throws PhosError NOT_FOUND, PERMISSION */
  cancel(jobId: string, caller: Peer): void {
    const job = this.active.get(jobId);
    if (job === undefined) {
      throw new PhosError('NOT_FOUND', `there is no job ${jobId} under way; see phos status`);
    }
    if (!mayActOn(caller, job.uid)) {
      throw new PhosError('PERMISSION', `job ${jobId} is of user ${job.uid}`);
    }
    this.#cancel(jobId);
  }

  #cancel(jobId: string): void {
    this.#supervisor.post.tell({ to: 'job', jobId, event: { type: 'job.cancel' } });
  }

  dump(
    request: {
      readonly pid: number;
      readonly directory: string;
      readonly leaveRunning: boolean;
      readonly closeTcp: boolean;
      readonly drainMs: number | null;
      /** Image or pre-dump to build on; '' for none. */
      readonly parent: string;
    } & DumpWishRequest,
    caller: Peer,
    hooks: JobHooks,
  ): Promise<JobReport> {
    const directory = requireAbsolute(request.directory);
    const target = this.#target(request.pid, caller);
    requireOwnPlace(directory, caller);
    const parent = request.parent === '' ? null : requireAbsolute(request.parent);
    if (parent !== null) requireOwnPlace(parent, caller);
    const wish = wishOf(request);
    requireStallMeant(wish, request.leaveRunning);
    return this.#run(wish.gpuOnly ? 'pre-dump' : 'dump', hooks, (jobId, record) => {
      const clients = this.#clientsOf(request.pid, target, record);
      const { uid, gid, run } = target;
      const { leaveRunning, closeTcp, drainMs } = request;
      const { logDir } = this.#folders;
      if (wish.gpuOnly && clients.members.length === 0) throw notAClient(request.pid);
      const options = { jobId, uid, gid, rootPid: request.pid, directory, logDir, wish, parent };
      return dumpJob(
        { ...options, phosVersion: VERSION, leaveRunning, closeTcp, drainMs, run },
        this.#supervisor,
        record,
        clients,
      );
    });
  }

  suspend(
    request: { readonly pid: number; readonly drainMs: number | null },
    caller: Peer,
    hooks: JobHooks,
  ): Promise<JobReport> {
    return this.#onTree('suspend', request, caller, hooks);
  }

  resume(request: { readonly pid: number }, caller: Peer, hooks: JobHooks): Promise<JobReport> {
    return this.#onTree('resume', { ...request, drainMs: null }, caller, hooks);
  }

  #onTree(
    kind: 'suspend' | 'resume',
    request: { readonly pid: number; readonly drainMs: number | null },
    caller: Peer,
    hooks: JobHooks,
  ): Promise<JobReport> {
    const target = this.#target(request.pid, caller);
    return this.#run(kind, hooks, (jobId, record) => {
      const clients = this.#clientsOf(request.pid, target, record);
      if (clients.members.length === 0) throw notAClient(request.pid);
      const make = kind === 'suspend' ? suspendJob : resumeJob;
      const options = { jobId, uid: target.uid, rootPid: request.pid, drainMs: request.drainMs };
      return make(options, this.#supervisor, record, clients);
    });
  }

  async restore(
    request: {
      readonly directory: string;
      readonly truncate: boolean;
      readonly attach: boolean;
      readonly pty: { readonly rows: number; readonly columns: number } | null;
    },
    caller: Peer,
    hooks: JobHooks,
  ): Promise<JobReport> {
    const directory = requireAbsolute(request.directory);
    requireOwnPlace(directory, caller);
    const manifest = await readManifest(directory);
    const { rootPid } = requireCpu(directory, manifest);
    const job = await readJob(directory);
    if (!mayActOn(caller, job.uid)) {
      throw new PhosError('PERMISSION', `the image ${directory} is of user ${job.uid}`);
    }
    const keeperId = newId('keeper');
    const workDir = join(this.#folders.logDir, `restore-${keeperId}`);
    mkdirSync(workDir, { mode: 0o700 });
    const report = await this.#run('restore', hooks, (jobId, record) => {
      const clients = new JobClients(this.#supervisor, this.#paths, record);
      const library = job.library;
      return restoreJob(
        {
          jobId,
          uid: job.uid,
          directory,
          truncate: request.truncate,
          manifest,
          rootPid,
          job,
          keeperId,
          keeperSocket: keeperSocket(this.#paths, keeperId),
          workDir,
          keeper: this.#runs.keeperJob(keeperId, job, request),
          installLibrary: async () => {
            if (library === null) return;
            installFromImage(join(directory, 'lib'), library.path, this.#folders.stateDir);
          },
          onStarted: (found) => void this.#runs.adopt(found, request.attach),
        },
        this.#supervisor,
        record,
        clients,
      );
    });
    // CRIU's log is for failures; they name it.
    rmSync(workDir, { recursive: true, force: true });
    return report;
  }

  /** The tree that a pid names, when the caller may act on it. */
  #target(pid: number, caller: Peer): Target {
    const owner = ownerOfProcess(pid, caller);
    const run = this.#runs.byRoot(pid);
    if (run === null) this.#refuseInner(pid);
    return { ...owner, run };
  }

  // A job covers a whole tree; half of one that phos run started is not dumped by mistake.
  #refuseInner(pid: number): void {
    const rows = listProcesses();
    for (const entry of this.#runs.entries.values()) {
      const root = entry.record?.root.pid;
      if (root === undefined) continue;
      if (!processTree(rows, root).some((row) => row.pid === pid)) continue;
      throw new PhosError(
        'USAGE',
        `process ${pid} belongs to job ${entry.keeperId}; name its root, process ${root}`,
        { details: { root } },
      );
    }
  }

  #clientsOf(pid: number, target: Target, record: JobRecord): JobClients {
    const clients = new JobClients(this.#supervisor, this.#paths, record);
    const known = [...this.#supervisor.clients.values()].filter(
      (client) => client.process !== null && client.state !== 'lost',
    );
    clients.members = clientsOfTree(readTree(pid), known);
    if (clients.members.length === 0 && target.run === null) throw notAClient(pid);
    return clients;
  }

  async #run(
    kind: JobKind,
    hooks: JobHooks,
    make: (jobId: string, record: JobRecord) => Job,
  ): Promise<JobReport> {
    // The gates that recovery opens must not be those that a new job has closed.
    await this.#recovered();
    const jobId = newId('job');
    const record = new JobRecord(hooks.onNews);
    const job = make(jobId, record);
    for (const other of this.active.values()) {
      if (other.rootPid === job.rootPid) {
        throw new PhosError(
          'CONFLICT',
          `job ${other.jobId} (${other.kind}) is at work on process ${job.rootPid}; wait for it`,
          { retryable: true },
        );
      }
    }
    this.#supervisor.claim(jobId, kind, job.clientIds());
    this.active.set(jobId, job);
    this.#onChange();
    const cancel = (): void => this.#cancel(jobId);
    hooks.signal.addEventListener('abort', cancel);
    this.#supervisor.log('info', 'a job began', { jobId, kind, rootPid: job.rootPid });
    try {
      hooks.onStarted(jobId);
      const following = job.actor.subscribe(() => this.#onChange());
      const ended = runJob(job, this.#supervisor);
      if (hooks.signal.aborted) cancel();
      const outcome = await ended;
      following.unsubscribe();
      this.#log(job, null);
      return { jobId, record, outcome };
    } catch (thrown) {
      this.#log(job, thrown);
      throw thrown;
    } finally {
      hooks.signal.removeEventListener('abort', cancel);
      this.active.delete(jobId);
      this.#onChange();
    }
  }

  #log(job: Job, thrown: unknown): void {
    const { jobId, kind, record } = job;
    const facts = {
      jobId,
      kind,
      totalMs: record.totalMs,
      stallMs: record.stallMs,
      stopMs: record.stopMs,
      stages: record.stages.map((one) => ({ ...one, bytes: one.bytes.toString() })),
      warnings: record.warnings,
    };
    if (thrown === null) this.#supervisor.log('info', 'a job is done', facts);
    else {
      const reason = PhosError.from(thrown, kind).toJSON();
      this.#supervisor.log('warn', 'a job failed', { ...facts, reason });
    }
  }
}

function notAClient(pid: number): PhosError {
  return new PhosError(
    'NOT_FOUND',
    `process ${pid} and its children do not use a device through phos; start it with phos run`,
    { details: { pid } },
  );
}

function requireStallMeant(wish: DumpWish, leaveRunning: boolean): void {
  if (wish.maxStallMs === null || wish.gpuOnly || leaveRunning) return;
  throw new PhosError(
    'USAGE',
    '--max-stall is about a program that goes on; give --leave-running as well, or use pre-dump',
  );
}

function requireAbsolute(directory: string): string {
  if (!isAbsolute(directory)) {
    throw new PhosError('USAGE', `the image folder '${directory}' must be an absolute path`);
  }
  return normalize(directory).replace(/(.)\/+$/, '$1');
}
