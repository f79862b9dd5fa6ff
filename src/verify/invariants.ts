// SPDX-License-Identifier: Apache-2.0
// What holds in every reachable state of the composition (`safety`), and in every state in which
// nothing moves any more (`atRest`). Each looks at the world, not at what a machine believes of it.
import { ownerOf } from '../machines/node.machine.ts';
import { executorOf, type SystemState } from './world.ts';

export type Law = (state: SystemState) => boolean;

const members = (state: SystemState) => Object.entries(state.clients);

function ownersAreUnique(state: SystemState): boolean {
  const held = [...state.actors.keys()].flatMap((key) =>
    key.startsWith('job:') ? (state.jobs[key.slice(4)]?.members ?? []) : [],
  );
  return new Set(held).size === held.length;
}

function ownersAreKnown(state: SystemState): boolean {
  const node = state.actors.get('node')?.context as { jobs: Record<string, string[]> } | undefined;
  return [...state.actors.keys()].every((key) => {
    if (!key.startsWith('job:') || node === undefined) return true;
    const owned = state.jobs[key.slice(4)]?.members ?? [];
    return owned.every((id) => ownerOf(node, [id]) === key.slice(4));
  });
}

function servedOnce(state: SystemState): boolean {
  const served = Object.values(state.executors).flatMap((one) =>
    one.client !== null && one.ring && one.process === 'alive' ? [one.client] : [],
  );
  return new Set(served).size === served.length;
}

function inPool(state: SystemState, id: string, ordinal: number): boolean {
  const device = state.actors.get(`device:${ordinal}`)?.context as { warm?: string[] } | undefined;
  return device?.warm?.includes(id) ?? false;
}

/** Warm ones are in the pool, others serve somebody who is there: said of states at rest. */
function noneLeaked(state: SystemState): boolean {
  return Object.entries(state.executors).every(([id, one]) => {
    if (one.process === 'dead' || one.isToldLeaked) return true;
    const actor = state.actors.get(`executor:${id}`);
    if (actor === undefined) return false;
    if (actor.value === 'warm') return inPool(state, id, one.ordinal);
    const clientId = actor.context['clientId'];
    return (
      actor.value === 'serving' && typeof clientId === 'string' && isServed(state, clientId, id)
    );
  });
}

function isServed(state: SystemState, clientId: string, executorId: string): boolean {
  const client = state.actors.get(`client:${clientId}`);
  const isKnown = client !== undefined && client.value !== 'lost';
  return isKnown && client.context['executorId'] === executorId;
}

/** An image in its place holds, of every member, what ran up to the cut, and not less on disk. */
function imageIsOneCut(state: SystemState): boolean {
  const { place, cuts, gpu, cpu } = state.image;
  if (place !== 'renamed' && place !== 'durable') return true;
  return members(state).every(([id]) => {
    const cut = cuts[id];
    if (cut === undefined) return !isDumped(state, id);
    return gpu[id] === cut && (cpu[id] ?? -1) >= cut;
  });
}

function isDumped(state: SystemState, id: string): boolean {
  const dumps = Object.values(state.jobs).filter((job) => job.kind === 'dump');
  return dumps.some((job) => job.members.includes(id) && job.outcome === 'committed');
}

/** A program of which everything that it needs is there. */
function goesOn(state: SystemState, id: string): boolean {
  const client = state.clients[id];
  const executor = executorOf(state, id);
  if (client === undefined || executor === null) return false;
  const isOpen = client.gate === 'open' && executor.limit === null;
  return isOpen && executor.memory === 'in' && client.agent === 'attached' && !state.frozen;
}

function survives(state: SystemState, id: string): boolean {
  const client = state.clients[id];
  const executor = executorOf(state, id);
  return client?.process === 'alive' && executor !== null && executor.process === 'alive';
}

function isWaiting(state: SystemState, id: string): boolean {
  return state.actors.get(`client:${id}`)?.value === 'suspended' && !state.frozen;
}

/** Whose job is over runs, or is suspended on purpose; unless putting back failed itself. */
function survivorsGoOn(state: SystemState): boolean {
  const isExcused = Object.values(state.jobs).some((job) => job.unrepaired);
  if (isExcused) return true;
  return members(state).every(([id, client]) => {
    if (!survives(state, id) || !client.served) return true;
    const value = state.actors.get(`client:${id}`)?.value;
    if (value === 'lost' || value === 'exited') return true;
    return goesOn(state, id) || isWaiting(state, id);
  });
}

function failedDumpsLeaveNothing(state: SystemState): boolean {
  return Object.values(state.jobs).every((job) => {
    if (job.kind !== 'dump' || job.outcome !== 'failed' || job.unrepaired) return true;
    const isOthers = Object.values(state.jobs).some(
      (other) => other !== job && other.kind === 'dump' && other.outcome !== 'refused',
    );
    const isOwn = members(state).every(
      ([id, one]) => one.process !== 'alive' || !state.frozen || id,
    );
    return (isOthers || state.image.place === 'absent') && isOwn;
  });
}

function restoredOnce(state: SystemState): boolean {
  return Object.values(state.jobs).every((job) => {
    if (job.kind !== 'restore' || job.outcome !== 'restored') return true;
    return job.members.every((id) => {
      const executor = executorOf(state, id);
      const wasCut = state.image.cuts[id] ?? 0;
      return executor === null || (executor.loads === 1 && executor.tail >= wasCut);
    });
  });
}

const servedStates = new Set(['running', 'suspended', 'away', 'welcoming', 'attaching']);
const isStill = (state: SystemState): boolean => state.phosd === 'up';

/** Hold always. */
export const safety: Readonly<Record<string, Law>> = {
  'at most one job owns a client': ownersAreUnique,
  'the node knows who owns a client that a job is at work on': ownersAreKnown,
  'no executor is shared': servedOnce,
  'an image holds all commands up to the cut and none after': imageIsOneCut,
  'nothing is told committed before it is durable': (state) =>
    Object.values(state.jobs).every(
      (job) => job.kind !== 'dump' || job.told !== 'done' || state.image.place === 'durable',
    ),
  'a failed dump leaves no image and no frozen tree': failedDumpsLeaveNothing,
  'a restored client has each object exactly once': restoredOnce,
  'no command passes a closed gate at a cut': (state) =>
    Object.values(state.executors).every((one) => one.limit === null || one.tail <= one.limit),
  'an effect of a job ends before the job does': (state) =>
    state.effects.every((one) => {
      if (!one.actor.startsWith('job:') || state.actors.has(one.actor)) return true;
      return state.jobs[one.actor.slice(4)]?.unrepaired ?? false;
    }),
  'memory is never saved or moved under a running program': (state) =>
    members(state).every(([id, client]) => {
      const executor = executorOf(state, id);
      return executor === null || executor.memory === 'in' || client.gate === 'closed';
    }),
};

/** Hold when nothing moves any more. */
export const atRest: Readonly<Record<string, Law>> = {
  'every job ends': (state) =>
    [...state.actors.keys()].every((key) => !key.startsWith('job:')) && state.effects.length === 0,
  'no executor is leaked': (state) => !isStill(state) || noneLeaked(state),
  'a program whose job is over goes on': (state) => !isStill(state) || survivorsGoOn(state),
  'a restart of phosd loses no client': (state) =>
    Object.entries(state.lostSight).every(([id, executorId]) => {
      if (state.clients[id]?.process !== 'alive') return true;
      if (state.executors[executorId]?.process !== 'alive') return true;
      const client = state.actors.get(`client:${id}`);
      return client !== undefined && client.context['executorId'] === executorId;
    }),
  'nobody waits for ever': (state) =>
    [...state.actors.values()].every((local) => local.invocations.length === 0),
  'the node forgets a job that is over': (state) => {
    const node = state.actors.get('node')?.context as { jobs?: object } | undefined;
    return Object.keys(node?.jobs ?? {}).every((id) => state.actors.has(`job:${id}`));
  },
  'who has lost its executor is told so': (state) =>
    [...state.actors].every(([key, local]) => {
      const id = local.context['executorId'];
      const isServed = key.startsWith('client:') && servedStates.has(local.value);
      return !isServed || (typeof id === 'string' && state.actors.has(`executor:${id}`));
    }),
  'a pool holds living executors, and fills up or gives up': (state) =>
    [...state.actors].every(([key, local]) => {
      if (!key.startsWith('device:')) return true;
      const { warm, starting } = local.context as { warm: string[]; starting: number };
      const isFull = warm.length > 0 && warm.every((id) => state.executors[id] !== undefined);
      return starting === 0 && (local.value === 'failed' || (local.value === 'open' && isFull));
    }),
  'a failed restore leaves no program and no executor': (state) =>
    Object.values(state.jobs).every((job) => {
      if (job.kind !== 'restore' || job.outcome !== 'failed' || job.unrepaired) return true;
      const isAlive = job.members.some((id) => state.clients[id]?.process === 'alive');
      const holds = Object.values(state.executors).some((one) => one.client !== null);
      return !isAlive && !holds;
    }),
  'a dump ends the tree when it is to, and only then': (state) =>
    Object.values(state.jobs).every((job) => {
      if (job.kind !== 'dump' || job.outcome !== 'committed' || job.unrepaired) return true;
      const isAlive = job.members.some((id) => state.clients[id]?.process === 'alive');
      return job.goesOn || !isAlive;
    }),
};
