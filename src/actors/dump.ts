// SPDX-License-Identifier: Apache-2.0
// A dump, or a pre-dump, with its effects: the machine of dump.machine.ts over executors, the
// freezer, CRIU and the image on disk.
import { copyFileSync, existsSync } from 'node:fs';
import { createActor } from 'xstate';
import { PhosError } from '../errors/phos-error.ts';
import { createJobCgroup, JobCgroup } from '../host/cgroup.ts';
import {
  type CpuDumpRequest,
  dumpCpu,
  endTree,
  type FrozenDump,
  planCpuDump,
  thawTree,
} from '../host/cpu-checkpoint.ts';
import { readTree } from '../host/proc.ts';
import { noDemands } from '../image/keys.ts';
import { type ParentPlan, planParent } from '../image/parents.ts';
import {
  checkTarget,
  commitImage,
  createPartial,
  discardPartial,
  partialOf,
} from '../image/commit.ts';
import { dumpMachine } from '../machines/dump.machine.ts';
import {
  type DumpContext,
  type DumpInput,
  drainBudgetMs,
  type HoldOutcome,
  type PlanOutcome,
} from '../machines/dump-parts.ts';
import { defaultJobLimits } from '../machines/job-limits.ts';
import { contractBroken, type DumpPlan, type DumpWish } from '../model/dump-plan.ts';
import { deadlines } from '../model/limits.ts';
import { clientsOfTree } from '../model/process-tree.ts';
import { writeImageParts } from './dump-image.ts';
import { Effects } from './effects.ts';
import { GpuSave, requireSameClients } from './gpu-save.ts';
import { withFaultPoints } from './fault-points.ts';
import type { Job, JobOutcomeReport } from './job.ts';
import { JobClients } from './job-clients.ts';
import type { JobRecord } from './job-record.ts';
import { planTree } from './planner.ts';
import type { RunEntry } from './run-entry.ts';
import type { Supervisor } from './supervisor.ts';

export interface DumpOptions {
  readonly jobId: string;
  readonly uid: number;
  readonly gid: number;
  readonly rootPid: number;
  readonly directory: string;
  readonly leaveRunning: boolean;
  readonly wish: DumpWish;
  /** An earlier image or pre-dump of the same program, for unchanged chunks; absolute. */
  readonly parent: string | null;
  readonly closeTcp: boolean;
  readonly drainMs: number | null;
  readonly phosVersion: string;
  readonly logDir: string;
  /** The keeper whose program is the root; null for a program that phos did not start. */
  readonly run: RunEntry | null;
}

const CGROUP_REMOVE_MS = 5_000;
const stages: Readonly<Record<string, string>> = {
  planning: 'plan',
  cutting: 'cut',
  draining: 'drain',
  reopening: 'cut',
  backingOff: 'cut',
  snapshotting: 'snapshot',
  disconnecting: 'disconnect',
  cpuDumping: 'cpu-dump',
  thawing: 'thaw',
  reattaching: 'reattach',
  holding: 'last bytes',
  opening: 'open',
  awaiting: 'last bytes',
  committing: 'commit',
  endingTree: 'end',
  settling: 'put back',
  rethawing: 'thaw',
  abortingSave: 'put back',
  readmitting: 'reattach',
  reopeningLast: 'open',
  discarding: 'discard',
};

/** The effects of one dump, and what they leave for each other. */
class DumpEffects {
  readonly #options: DumpOptions;
  readonly #supervisor: Supervisor;
  readonly #record: JobRecord;
  readonly clients: JobClients;
  readonly gpu: GpuSave;
  readonly #effects = new Effects<DumpContext>();
  #cgroup: JobCgroup | null = null;
  /** Made for this dump, because the program did not come from phos run. */
  #ownCgroup = false;
  #parent: ParentPlan | null = null;
  #frozen: FrozenDump | null = null;
  #gateWaitNs = 0n;
  plan: DumpPlan | null = null;
  imageBytes = 0n;

  constructor(
    options: DumpOptions,
    supervisor: Supervisor,
    record: JobRecord,
    clients: JobClients,
  ) {
    this.#options = options;
    this.#supervisor = supervisor;
    this.#record = record;
    this.clients = clients;
    this.gpu = new GpuSave(clients, record, supervisor.rates);
  }

  get cgroupPath(): string | null {
    return this.#cgroup?.path ?? null;
  }

  actors() {
    const effects = this.#effects;
    const bind = <T>(effect: (context: DumpContext, signal: AbortSignal) => Promise<T>) =>
      effects.bind(effect);
    return {
      planDump: bind((c, signal) => this.#plan(c, signal)),
      closeGates: bind(() => this.clients.closeGates()),
      drainToCuts: bind((c) => this.clients.drainTo(c.cuts ?? {}, drainBudgetMs(c))),
      openGates: bind(() => this.clients.openGates()),
      beginSave: bind((c) => this.#beginSave(c)),
      finishSave: bind((c, signal) => this.gpu.finish(c.limits.saveMs, signal)),
      abortSave: bind(() => this.gpu.abort()),
      disconnectAgents: bind(() => this.clients.disconnect()),
      dumpCpu: bind((c, signal) => this.#dumpCpu(c, signal)),
      commitImage: bind((c, signal) => this.#commit(c, signal)),
      endTree: bind(() => this.#endTree()),
      thawTree: bind(() => this.#thaw()),
      reattachAgents: bind((_, signal) => this.clients.reattach(signal)),
      settle: effects.settled(),
      discardImage: bind(() => discardPartial(this.#options.directory)),
    };
  }

  #request(): CpuDumpRequest {
    if (this.#cgroup === null) throw new Error('the dump has no cgroup yet');
    return {
      rootPid: this.#options.rootPid,
      cgroup: this.#cgroup,
      keeper: this.#options.run?.link ?? null,
      closing: this.clients.executorPids,
      leaveRunning: this.#options.leaveRunning,
      closeTcp: this.#options.closeTcp,
    };
  }

  async #plan(context: DumpContext, signal: AbortSignal): Promise<PlanOutcome> {
    const { wish, directory, rootPid } = this.#options;
    this.clients.requireRunning('dumped');
    await checkTarget(directory);
    this.#parent = await this.#readParent();
    let pids = [rootPid];
    if (!wish.gpuOnly) {
      const path = this.#options.run?.record?.cgroup ?? null;
      this.#ownCgroup = path === null;
      this.#cgroup = path === null ? createJobCgroup(this.#options.jobId) : new JobCgroup(path);
      const { tree } = await planCpuDump(this.#request());
      pids = tree.map((row) => row.pid);
    }
    await this.clients.requireSaveable();
    this.plan = await planTree(this.clients, pids, this.#supervisor.rates, wish);
    this.#gateWaitNs = await this.clients.gateWaitNs();
    const broken = contractBroken(this.plan, wish.maxStallMs);
    if (broken !== null) throw broken;
    await this.gpu.prepare(this.plan, context.limits.planMs, signal);
    const { stallMs, stopModeStallMs } = this.plan;
    return { clients: this.clients.ids, stallMs, stopModeStallMs };
  }

  async #readParent(): Promise<ParentPlan | null> {
    const { parent } = this.#options;
    if (parent === null) return null;
    const plan = await planParent(parent, noDemands);
    requireSameClients(parent, plan.folderOf, this.clients.ids);
    return plan;
  }

  async #beginSave(context: DumpContext): Promise<HoldOutcome> {
    if (this.plan === null) throw new Error('the dump has no plan yet');
    const partial = await createPartial(context.directory, this.#options);
    this.#frozen = null;
    const forced = context.missed === null ? null : 'stop';
    if (forced !== null) {
      this.#record.warnings.push(
        `${context.missed ?? 'a command'} wrote memory that was not saved yet: that cut was ` +
          'given up, and a new one was taken in mode stop',
      );
    }
    return this.gpu.begin(partial, this.plan, this.#parent, forced, context.limits.saveMs);
  }

  async #dumpCpu(context: DumpContext, signal: AbortSignal): Promise<void> {
    const directory = `${partialOf(context.directory)}/cpu`;
    const limits = { freezeMs: deadlines.thawMs, criuMs: context.limits.cpuDumpMs, signal };
    const frozen = await dumpCpu(this.#request(), directory, limits).catch((thrown: unknown) => {
      throw this.#keepCriuLog(thrown, `${directory}/dump.log`);
    });
    this.#frozen = frozen;
    this.#record.moved('cpu-dump', frozen.bytes);
    const { cpuBytes } = this.plan ?? { cpuBytes: frozen.bytes };
    this.#supervisor.rates.measured('cpu', cpuBytes, performance.now() - frozen.stoppedAt);
    // A client that came to the tree after the plan has no cut: the image would be without it.
    const known = [...this.#supervisor.clients.values()];
    const now = clientsOfTree(frozen.tree, known).map((client) => client.facts.clientId);
    const planned = new Set(this.clients.ids);
    if (now.some((id) => !planned.has(id))) {
      throw new PhosError('CONFLICT', 'a program of the tree began to use the device; try again', {
        retryable: true,
      });
    }
  }

  /** CRIU's log goes with the partial image; what it says of a failure is kept with phosd's. */
  #keepCriuLog(thrown: unknown, path: string): unknown {
    if (!(thrown instanceof PhosError) || !existsSync(path)) return thrown;
    const kept = `${this.#options.logDir}/${this.#options.jobId}.criu.log`;
    copyFileSync(path, kept);
    return new PhosError(thrown.code, thrown.message.replaceAll(path, kept), {
      cause: thrown,
      details: { ...thrown.details, log: kept },
      retryable: thrown.retryable,
    });
  }

  async #commit(context: DumpContext, signal: AbortSignal): Promise<void> {
    const waitedNs = (await this.clients.gateWaitNs()) - this.#gateWaitNs;
    this.#record.gateWaitMs = Number(waitedNs) / 1e6;
    if (this.#frozen === null && !context.gpuOnly) throw new Error('nothing was frozen');
    const { manifest, job } = await writeImageParts({
      partial: partialOf(context.directory),
      phosVersion: this.#options.phosVersion,
      clients: this.clients,
      cuts: context.cuts ?? {},
      saved: this.gpu.saved,
      frozen: this.#frozen,
      rootPid: context.rootPid,
      parent: this.#parent,
      run: this.#options.run?.record ?? null,
      owner: this.#options,
    });
    this.imageBytes = await commitImage({
      directory: context.directory,
      manifest,
      job,
      signal,
      onProgress: (done, total) => this.#record.progress('files', done, total),
    });
    this.#record.moved('commit', this.imageBytes);
    if (!context.leaveRunning && !context.gpuOnly) this.#record.gatesOpen();
  }

  async #endTree(): Promise<void> {
    const { run, directory } = this.#options;
    await run?.link?.noteEnd(`checkpointed to ${directory}`, deadlines.marginMs);
    const tree = this.#frozen?.tree ?? readTree(this.#options.rootPid);
    const cgroup = this.#request().cgroup;
    await endTree(cgroup, tree, deadlines.endTreeMs);
    if (this.#frozen !== null) this.#record.stopMs = performance.now() - this.#frozen.stoppedAt;
    if (this.#ownCgroup) await cgroup.remove(CGROUP_REMOVE_MS);
  }

  async #thaw(): Promise<void> {
    // The host thaws by itself when its own step failed; then there is nothing frozen here.
    const cgroup = this.#request().cgroup;
    if (this.#frozen === null) await cgroup.thaw(deadlines.thawMs);
    else this.#record.stopMs = await thawTree(cgroup, this.#frozen, deadlines.thawMs);
  }
}

/** Makes the job; runJob() starts it. */
export function dumpJob(
  options: DumpOptions,
  supervisor: Supervisor,
  record: JobRecord,
  clients: JobClients,
): Job {
  const effects = new DumpEffects(options, supervisor, record, clients);
  const limits =
    options.drainMs === null ? defaultJobLimits : { ...defaultJobLimits, drainMs: options.drainMs };
  const { gpuOnly, maxStallMs } = options.wish;
  const input: DumpInput = {
    jobId: options.jobId,
    rootPid: options.rootPid,
    directory: options.directory,
    leaveRunning: options.leaveRunning,
    gpuOnly,
    maxStallMs,
    limits,
  };
  const actor = createActor(
    dumpMachine.provide({ actors: withFaultPoints('dump', effects.actors()) }),
    { input },
  );
  return {
    jobId: options.jobId,
    kind: gpuOnly ? 'pre-dump' : 'dump',
    uid: options.uid,
    startedAt: new Date(),
    rootPid: options.rootPid,
    directory: options.directory,
    record,
    actor,
    clientIds: () => clients.ids,
    cgroup: () => effects.cgroupPath,
    keeperId: null,
    stageOf: stages,
    outcome: (): JobOutcomeReport => ({
      clientIds: clients.ids,
      directory: options.directory,
      deviceBytes: effects.gpu.deviceBytes,
      imageBytes: effects.imageBytes,
      attempts: actor.getSnapshot().context.attempt,
      rootPid: options.rootPid,
      keeperId: options.run?.keeperId ?? null,
      keeperSocket: null,
      modes: effects.gpu.saved.map((one) => one.mode),
      predictedStallMs: effects.plan?.stallMs ?? 0,
    }),
  };
}
