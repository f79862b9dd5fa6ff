// SPDX-License-Identifier: Apache-2.0
// Suspend and resume with their effects: device memory of a whole tree out of the device and in
// again, without CRIU.
import { createActor } from 'xstate';
import type { JobKind } from '../model/domain.ts';
import { defaultJobLimits } from '../machines/job-limits.ts';
import { type ResumeContext, resumeMachine } from '../machines/resume.machine.ts';
import { type SuspendContext, suspendMachine } from '../machines/suspend.machine.ts';
import { deadlines } from '../model/limits.ts';
import { PhosError } from '../errors/phos-error.ts';
import type { ClientEntry } from './client-entry.ts';
import { Effects } from './effects.ts';
import { withFaultPoints } from './fault-points.ts';
import type { Job } from './job.ts';
import type { JobClients } from './job-clients.ts';
import type { JobRecord } from './job-record.ts';
import type { Supervisor } from './supervisor.ts';

export interface SuspendOptions {
  readonly jobId: string;
  readonly uid: number;
  readonly rootPid: number;
  readonly drainMs: number | null;
}

const stages: Readonly<Record<string, string>> = {
  planning: 'plan',
  cutting: 'cut',
  draining: 'drain',
  reopening: 'cut',
  backingOff: 'cut',
  moving: 'move',
  opening: 'open',
  settling: 'put back',
  movingBack: 'move back',
};

/** Moving memory of all clients of a tree, with what was moved remembered for the way back. */
class Mover {
  readonly clients: JobClients;
  readonly #supervisor: Supervisor;
  readonly #record: JobRecord;
  readonly #moved = new Set<ClientEntry>();
  deviceBytes = 0n;

  constructor(clients: JobClients, supervisor: Supervisor, record: JobRecord) {
    this.clients = clients;
    this.#supervisor = supervisor;
    this.#record = record;
  }

  /** Moves every client that is not there yet. One that fails leaves the others where they are. */
  async move(method: 'suspend' | 'resume', on: readonly ClientEntry[]): Promise<void> {
    const event = method === 'suspend' ? ('memory.out' as const) : ('memory.in' as const);
    const outcomes = await Promise.allSettled(
      on.map(async (member) => {
        const [result] = await this.clients.long(method, () => ({}), deadlines.suspendMs, 'move', [
          member,
        ]);
        this.#moved.add(member);
        const bytes = result?.deviceBytes ?? 0n;
        this.deviceBytes += bytes;
        this.#record.moved('move', bytes);
        const { clientId } = member.facts;
        this.#supervisor.post.tell({ to: 'client', clientId, event: { type: event } });
      }),
    );
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  }

  /**
   * The other way, for those that moved; one that failed half-way put itself back. Members that
   * have ended are left alone: the gates of the others wait for this.
   */
  async moveBack(method: 'suspend' | 'resume'): Promise<void> {
    const moved = this.clients.living.filter((member) => this.#moved.has(member));
    this.#moved.clear();
    await this.move(method, moved);
  }
}

function describe(
  kind: JobKind,
  options: SuspendOptions,
  record: JobRecord,
  mover: Mover,
): Omit<Job, 'actor'> {
  return {
    jobId: options.jobId,
    kind,
    uid: options.uid,
    startedAt: new Date(),
    rootPid: options.rootPid,
    directory: null,
    record,
    clientIds: () => mover.clients.ids,
    cgroup: () => null,
    keeperId: null,
    stageOf: stages,
    outcome: () => ({
      clientIds: mover.clients.ids,
      directory: null,
      deviceBytes: mover.deviceBytes,
      imageBytes: 0n,
      attempts: 1,
      rootPid: options.rootPid,
      keeperId: null,
      keeperSocket: null,
    }),
  };
}

export function suspendJob(
  options: SuspendOptions,
  supervisor: Supervisor,
  record: JobRecord,
  clients: JobClients,
): Job {
  const mover = new Mover(clients, supervisor, record);
  const effects = new Effects<SuspendContext>();
  const limits =
    options.drainMs === null ? defaultJobLimits : { ...defaultJobLimits, drainMs: options.drainMs };
  const machine = suspendMachine.provide({
    actors: withFaultPoints('suspend', {
      planSuspend: effects.bind(async () => {
        clients.requireRunning('suspended');
        return { clients: clients.ids };
      }),
      closeGates: effects.bind(() => clients.closeGates()),
      drainToCuts: effects.bind((c) => clients.drainTo(c.cuts ?? {}, c.limits.drainMs)),
      openGates: effects.bind(() => open(clients)),
      moveOut: effects.bind(() => mover.move('suspend', clients.members)),
      moveIn: effects.bind(() => mover.moveBack('resume')),
      settle: effects.settled(),
    }),
  });
  const { jobId, rootPid } = options;
  const actor = createActor(machine, { input: { jobId, rootPid, limits } });
  return { ...describe('suspend', options, record, mover), actor };
}

export function resumeJob(
  options: SuspendOptions,
  supervisor: Supervisor,
  record: JobRecord,
  clients: JobClients,
): Job {
  const mover = new Mover(clients, supervisor, record);
  const effects = new Effects<ResumeContext>();
  const machine = resumeMachine.provide({
    actors: withFaultPoints('resume', {
      planResume: effects.bind(async () => {
        const suspended = clients.members.filter((member) => member.state === 'suspended');
        if (suspended.length === 0) {
          throw new PhosError(
            'CONFLICT',
            `process ${options.rootPid} is not suspended; see phos ps`,
          );
        }
        clients.members = suspended;
        return { clients: clients.ids };
      }),
      moveIn: effects.bind(() => mover.move('resume', clients.members)),
      moveOut: effects.bind(() => mover.moveBack('suspend')),
      openGates: effects.bind(() => open(clients)),
      settle: effects.settled(),
    }),
  });
  const { jobId, rootPid } = options;
  const actor = createActor(machine, { input: { jobId, rootPid, limits: defaultJobLimits } });
  return { ...describe('resume', options, record, mover), actor };
}

async function open(clients: JobClients): Promise<void> {
  await clients.openGates();
}
