// SPDX-License-Identifier: Apache-2.0
// What is outside the machines, as far as they touch it: processes, rings, gates, the image on
// disk, the freezer, the registry. Small on purpose: a ring is how many commands were published
// and how many of them ran, an image is where in each ring its two halves were taken.
import type { LocalState } from './local.ts';

export interface ClientWorld {
  process: 'none' | 'alive' | 'dead';
  /** Commands published in its ring. */
  issued: number;
  /** A thread has passed the gate and not published yet. */
  writing: boolean;
  gate: 'open' | 'closed';
  agent: 'none' | 'hello' | 'welcomed' | 'attached' | 'away';
  /** Its reattach file is there. */
  invited: boolean;
  /** Executor that it was sent to. */
  sentTo: string | null;
  /** It was served at least once; a restored one from the start. */
  served: boolean;
}
export interface ExecutorWorld {
  process: 'starting' | 'alive' | 'dead';
  readonly ordinal: number;
  client: string | null;
  /** It has the ring of its client. */
  ring: boolean;
  /** Commands that ran. */
  tail: number;
  /** No command after this one is taken. */
  limit: number | null;
  memory: 'in' | 'out';
  /** How often objects were loaded from an image. */
  loads: number;
  /** It could not be ended, and that was told. */
  isToldLeaked: boolean;
}
export interface ImageWorld {
  place: 'absent' | 'partial' | 'renamed' | 'durable';
  cuts: Record<string, number>;
  /** Tail of each executor when its half was saved. */
  gpu: Record<string, number>;
  /** Head of each ring when the process was saved. */
  cpu: Record<string, number>;
}
export interface Effect {
  readonly actor: string;
  /** Name under which the machine hears of its end. */
  readonly id: string;
  readonly src: string;
  pc: number;
  failed: boolean;
  /** It does not answer, until somebody gives it up. */
  isHung: boolean;
  /** The machine does not wait for it any more. */
  orphan: boolean;
}
export interface JobWorld {
  readonly kind: string;
  readonly members: readonly string[];
  cuts: Record<string, number>;
  moved: readonly string[];
  /** How it ended, or null. */
  outcome: string | null;
  unrepaired: boolean;
  told: 'nothing' | 'done' | 'failed';
  /** The tree is to go on after the job. */
  readonly goesOn: boolean;
}
/** Something that happened and has not been heard of yet. */
export interface Notice {
  readonly to: 'executor' | 'client';
  readonly id: string;
  readonly type: string;
}
export interface SystemState {
  readonly actors: Map<string, LocalState>;
  effects: Effect[];
  notices: Notice[];
  readonly clients: Record<string, ClientWorld>;
  readonly executors: Record<string, ExecutorWorld>;
  image: ImageWorld;
  frozen: boolean;
  phosd: 'up' | 'down';
  /** Jobs that the registry of a phosd that died tells of. */
  registry: readonly string[];
  jobs: Record<string, JobWorld>;
  faults: number;
  crashes: number;
  madeExecutors: number;
  /** Invariants that an actor broke in its last state. */
  lastWords: readonly string[];
  /** Programs that were running, with whom, when phosd died. */
  lostSight: Record<string, string>;
}

/** A copy that may be changed; what is in it and immutable is shared. */
export function draftOf(state: SystemState): SystemState {
  const clients: Record<string, ClientWorld> = {};
  for (const [id, one] of Object.entries(state.clients)) clients[id] = { ...one };
  const executors: Record<string, ExecutorWorld> = {};
  for (const [id, one] of Object.entries(state.executors)) executors[id] = { ...one };
  const jobs: Record<string, JobWorld> = {};
  for (const [id, one] of Object.entries(state.jobs)) jobs[id] = { ...one };
  const { image } = state;
  return {
    ...state,
    actors: new Map(state.actors),
    effects: state.effects.map((one) => ({ ...one })),
    notices: [...state.notices],
    clients,
    executors,
    jobs,
    image: { ...image },
  };
}

export function newClient(): ClientWorld {
  return {
    process: 'none',
    issued: 0,
    writing: false,
    gate: 'open',
    agent: 'none',
    invited: false,
    sentTo: null,
    served: false,
  };
}

export function newExecutor(ordinal: number): ExecutorWorld {
  return {
    process: 'starting',
    ordinal,
    client: null,
    ring: false,
    tail: 0,
    limit: null,
    memory: 'in',
    loads: 0,
    isToldLeaked: false,
  };
}

export function isLive(state: SystemState, clientId: string): boolean {
  return state.clients[clientId]?.process === 'alive';
}

/** The executor that the client's actor knows, when its process and its actor are there. */
export function executorOf(state: SystemState, clientId: string): ExecutorWorld | null {
  const id = state.actors.get(`client:${clientId}`)?.context['executorId'];
  if (typeof id !== 'string' || !state.actors.has(`executor:${id}`)) return null;
  return state.executors[id] ?? null;
}

/** Ends a program as a signal does. */
export function killClient(state: SystemState, clientId: string): void {
  const client = state.clients[clientId];
  if (client === undefined || client.process !== 'alive') return;
  client.process = 'dead';
  state.notices.push({ to: 'client', id: clientId, type: 'process.exited' });
  const attached = client.agent === 'attached';
  client.agent = 'none';
  client.invited = false;
  if (attached && executorOf(state, clientId)?.process === 'alive') {
    state.notices.push({ to: 'client', id: clientId, type: 'agent.lost' });
  }
}
