// SPDX-License-Identifier: Apache-2.0
// The composition: every machine of a node, delivered to as phosd's post office delivers, over the
// world of world.ts. A state offers steps; each is something one process does at once. What one
// step says is delivered before the next begins, because phosd is one thread.
import type { AnyStateMachine, AnyStateNode } from 'xstate';
import { clientInvariants, clientMachine } from '../machines/client.machine.ts';
import { deviceInvariants, deviceMachine } from '../machines/device.machine.ts';
import { dumpInvariants, dumpMachine } from '../machines/dump.machine.ts';
import { executorInvariants, executorMachine } from '../machines/executor.machine.ts';
import { defaultJobLimits } from '../machines/job-limits.ts';
import type { Message } from '../machines/messages.ts';
import { nodeInvariants, nodeMachine } from '../machines/node.machine.ts';
import { restoreInvariants, restoreMachine } from '../machines/restore.machine.ts';
import { resumeInvariants, resumeMachine } from '../machines/resume.machine.ts';
import { suspendInvariants, suspendMachine } from '../machines/suspend.machine.ts';
import { type Delivery, route } from '../machines/wiring.ts';
import type { JobKind } from '../model/domain.ts';
import { type Invariants, LocalMachine, type LocalState, type MachineEvent } from './local.ts';
import { type JobWorld, newClient, newExecutor, type SystemState } from './world.ts';

/** What the machine of a job is given. */
export function jobInput(request: Request): unknown {
  const { jobId, input } = request;
  const how = { gpuOnly: false, maxStallMs: null };
  return { jobId, rootPid: 42, directory: 'image', limits: jobLimits, ...how, ...input };
}

/** A pre-dump is a dump without its CPU side. */
export function machineOf(kind: JobKind): MachineName {
  return kind === 'pre-dump' ? 'dump' : kind;
}

/** The machines that are checked; a mutant replaces one of them, or the wiring. */
export interface Machines {
  readonly node: AnyStateMachine;
  readonly device: AnyStateMachine;
  readonly executor: AnyStateMachine;
  readonly client: AnyStateMachine;
  readonly dump: AnyStateMachine;
  readonly restore: AnyStateMachine;
  readonly suspend: AnyStateMachine;
  readonly resume: AnyStateMachine;
  readonly route: typeof route;
}
export const realMachines: Machines = {
  node: nodeMachine,
  device: deviceMachine,
  executor: executorMachine,
  client: clientMachine,
  dump: dumpMachine,
  restore: restoreMachine,
  suspend: suspendMachine,
  resume: resumeMachine,
  route,
};
export type MachineName = Exclude<keyof Machines, 'route'>;
const invariants: Readonly<Record<MachineName, unknown>> = {
  node: nodeInvariants,
  device: deviceInvariants,
  executor: executorInvariants,
  client: clientInvariants,
  dump: dumpInvariants,
  restore: restoreInvariants,
  suspend: suspendInvariants,
  resume: resumeInvariants,
};

/** Every invariant that a machine's file exports. */
export const allLocalLaws: readonly string[] = Object.entries(invariants).flatMap(([name, laws]) =>
  Object.keys(laws as object).map((law) => `${name}: ${law}`),
);

export interface Request {
  readonly jobId: string;
  readonly kind: JobKind;
  readonly members: readonly string[];
  /** Added to the input of the job's machine. */
  readonly input?: Readonly<Record<string, unknown>>;
  /** Job that must have ended before. */
  readonly after?: string;
}

const short = { executorWaitMs: 1, welcomeMs: 1, attachMs: 1, exitConfirmMs: 1 };
const shortStart = { startMs: 1, assignMs: 1, endMs: 1 };
export const jobLimits = { ...defaultJobLimits, maxCuts: 2 };

/** Told of what comes from outside the machines: what actors are made, and what they hear. */
export interface Observer {
  readonly added: (key: string, machine: MachineName, input: unknown) => void;
  readonly heard: (key: string, event: MachineEvent) => void;
  /** Names the executor that the pool asked for. */
  readonly started: (executorId: string, ordinal: number) => void;
}

/** A state around the innermost one, which both are in. */
function staysIn(before: LocalState, next: LocalState, node: string): boolean {
  const isIn = (local: LocalState): boolean =>
    local.snapshot._nodes.some((one: AnyStateNode) => {
      return one.id === node && Object.keys(one.states).length > 0;
    });
  return isIn(before) && isIn(next);
}

export class System {
  observer: Observer | null = null;
  readonly #machines: ReadonlyMap<MachineName, LocalMachine>;
  readonly #route: typeof route;
  readonly homes: Readonly<Record<string, number>>;
  readonly devices: number;

  constructor(machines: Machines, homes: Readonly<Record<string, number>>, devices: number) {
    const names = Object.keys(invariants) as MachineName[];
    this.#machines = new Map(
      names.map((name) => [
        name,
        new LocalMachine(name, machines[name], invariants[name] as Invariants),
      ]),
    );
    this.#route = machines.route;
    this.homes = homes;
    this.devices = devices;
  }

  machine(name: MachineName): AnyStateMachine {
    return (this.#machines.get(name) as LocalMachine).machine;
  }

  get localStates(): number {
    return [...this.#machines.values()].reduce((sum, one) => sum + one.size, 0);
  }

  empty(faults: number, crashes: number): SystemState {
    return {
      actors: new Map(),
      effects: [],
      notices: [],
      clients: Object.fromEntries(Object.keys(this.homes).map((id) => [id, newClient()])),
      executors: {},
      image: { place: 'absent', cuts: {}, gpu: {}, cpu: {} },
      frozen: false,
      phosd: 'up',
      registry: [],
      jobs: {},
      faults,
      crashes,
      madeExecutors: 0,
      lastWords: [],
      lostSight: {},
    };
  }

  openNode(state: SystemState): void {
    const input = { maxClients: 4, maxJobs: 2, prepareMs: 1, stopMs: 1 };
    this.add(state, 'node', 'node', input);
  }

  openDevice(state: SystemState, ordinal: number, found: number): void {
    const input = { ordinal, found, poolTarget: 1, maxFailures: 2, maxWaiting: 2 };
    this.add(state, `device:${ordinal}`, 'device', input);
  }

  addExecutor(state: SystemState, executorId: string, ordinal: number, found: boolean): void {
    state.executors[executorId] ??= newExecutor(ordinal);
    const input = { executorId, ordinal, found, limits: shortStart };
    this.add(state, `executor:${executorId}`, 'executor', input);
  }

  addClient(
    state: SystemState,
    clientId: string,
    origin: 'hello' | 'image' | 'registry',
    executorId: string | null,
    suspended: boolean,
  ): void {
    const ordinal = this.homes[clientId] ?? 0;
    const input = { clientId, ordinal, origin, executorId, suspended, limits: short };
    this.add(state, `client:${clientId}`, 'client', input);
  }

  /** Asks the node for a job's clients, and starts it when they are granted. */
  request(state: SystemState, request: Request): void {
    const { jobId, kind, members } = request;
    const job: JobWorld = {
      kind,
      members,
      cuts: {},
      moved: [],
      outcome: null,
      unrepaired: false,
      told: 'nothing',
      goesOn: request.input?.['leaveRunning'] !== false,
    };
    state.jobs[jobId] = job;
    this.#wanted = request;
    const event = { type: 'job.requested', jobId, kind, clients: members };
    this.hear(state, 'node', event);
    if (job.outcome === null && !state.actors.has(`job:${jobId}`)) job.outcome = 'refused';
  }
  #wanted: Request | null = null;

  #startJob(state: SystemState, jobId: string): void {
    const request = this.#wanted;
    if (request === null || request.jobId !== jobId) return;
    this.add(state, `job:${jobId}`, machineOf(request.kind), jobInput(request));
  }

  add(state: SystemState, key: string, machine: MachineName, input: unknown): void {
    if (!this.#delivering) this.observer?.added(key, machine, input);
    const step = (this.#machines.get(machine) as LocalMachine).start(input);
    this.#become(state, key, null, step.next);
    this.#say(state, step.emitted);
  }

  /** One actor hears an event from outside; what is said because of it is delivered. */
  hear(state: SystemState, key: string, event: MachineEvent): boolean {
    this.observer?.heard(key, event);
    return this.#hear(state, key, event);
  }

  #hear(state: SystemState, key: string, event: MachineEvent): boolean {
    const before = state.actors.get(key);
    if (before === undefined || !before.active) return false;
    const step = before.machine.step(before, event);
    this.#become(state, key, before, step.next);
    this.#say(state, step.emitted);
    return true;
  }

  #become(state: SystemState, key: string, before: LocalState | null, next: LocalState): void {
    if (before !== null && before.value !== next.value) this.#leave(state, key, before, next);
    state.actors.set(key, next);
    if (before === null || before.value !== next.value) {
      for (const { id, src, node } of next.invocations) {
        if (before !== null && staysIn(before, next, node)) continue;
        state.effects.push({
          actor: key,
          id,
          src,
          pc: 0,
          failed: false,
          isHung: false,
          orphan: false,
        });
      }
    }
    if (!next.active) this.#end(state, key, next);
  }

  /** A job's interrupted effects go on until they are at rest; others are given up at once. */
  #leave(state: SystemState, key: string, before: LocalState, next: LocalState): void {
    const gone = before.invocations.filter(({ node }) => !staysIn(before, next, node));
    const left = new Set(gone.map(({ id }) => id));
    const isLeft = (one: { actor: string; id: string }) => one.actor === key && left.has(one.id);
    if (key.startsWith('job:')) {
      for (const one of state.effects) if (isLeft(one)) one.orphan = true;
    } else state.effects = state.effects.filter((one) => !isLeft(one));
  }

  #end(state: SystemState, key: string, last: LocalState): void {
    for (const law of last.broken) state.lastWords = [...state.lastWords, `${key}: ${law}`];
    if (key.startsWith('job:')) {
      const job = state.jobs[key.slice(4)];
      if (job !== undefined) job.outcome = last.value;
    }
    if (key.startsWith('executor:')) {
      const id = key.slice(9);
      const executor = state.executors[id];
      if (executor?.process === 'dead') delete state.executors[id];
      else if (executor !== undefined)
        executor.isToldLeaked = last.context['process'] === 'unknown';
    }
    if (key !== 'node') state.actors.delete(key);
  }

  readonly #queue: Delivery[] = [];
  #delivering = false;

  #say(state: SystemState, messages: readonly Message[]): void {
    for (const message of messages) {
      if (message.type === 'job.ended') this.#noteEnded(state, message);
      this.#queue.push(...this.#route(message));
    }
    if (this.#delivering) return;
    this.#delivering = true;
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      this.#hand(state, next);
    }
    this.#delivering = false;
  }

  #noteEnded(state: SystemState, message: Extract<Message, { type: 'job.ended' }>): void {
    const job = state.jobs[message.jobId];
    if (job !== undefined) job.told = message.outcome;
  }

  #hand(state: SystemState, delivery: Delivery): void {
    switch (delivery.to) {
      case 'supervisor':
        this.#supervise(state, delivery.event);
        return;
      case 'node':
        this.#hear(state, 'node', delivery.event as never);
        return;
      case 'device':
        this.#hear(state, `device:${delivery.ordinal}`, delivery.event as never);
        return;
      case 'executor':
        this.#hear(state, `executor:${delivery.executorId}`, delivery.event);
        return;
      case 'job':
        this.#hear(state, `job:${delivery.jobId}`, delivery.event as never);
        return;
      case 'client':
        if (this.#hear(state, `client:${delivery.clientId}`, delivery.event)) return;
        if (delivery.otherwise !== undefined) this.#hand(state, delivery.otherwise);
    }
  }

  #supervise(state: SystemState, event: Extract<Delivery, { to: 'supervisor' }>['event']): void {
    if (event.type === 'executor.start') {
      state.madeExecutors += 1;
      const executorId = `x${state.madeExecutors}`;
      this.observer?.started(executorId, event.ordinal);
      this.addExecutor(state, executorId, event.ordinal, false);
    } else if (event.type === 'job.granted') this.#startJob(state, event.jobId);
    else {
      const job = state.jobs[event.jobId];
      if (job !== undefined) job.outcome = 'refused';
    }
  }
}
