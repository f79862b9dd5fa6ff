// SPDX-License-Identifier: Apache-2.0
// What the ports do to the world, in the steps in which src/actors does it. A port is a small
// program: each step is atomic, and anything may happen between two of them. What an interrupted
// port still does is part of the model, because the machines promise to wait for it.
import { answering, each, isThere, type Port, stateOf } from './port-tools.ts';
import { type ImageWorld, isLive, killClient, type SystemState } from './world.ts';

const closeGates: Port = {
  parallel: true,
  step: ({ state, effect, job }) => {
    const count = job.members.length;
    if (effect.pc < count) {
      const clientId = job.members[effect.pc] as string;
      const client = state.clients[clientId];
      if (answering(state, clientId) === null || client === undefined) effect.failed = true;
      else client.gate = 'closed';
      return 'more';
    }
    if (effect.failed) return 'fail';
    const clientId = job.members[effect.pc - count];
    if (clientId === undefined) {
      return { done: Object.fromEntries(job.members.map((id) => [id, 'cut'])) };
    }
    const executor = answering(state, clientId);
    const client = state.clients[clientId];
    if (executor === null || client === undefined) return 'fail';
    // The executor reads the head and stops there in one step.
    executor.limit = client.gate === 'closed' ? client.issued : null;
    job.cuts = { ...job.cuts, [clientId]: client.issued };
    return 'more';
  },
};

const drainToCuts: Port = {
  ready: ({ state, job }) =>
    job.members.every((id) => {
      const executor = answering(state, id);
      return executor === null || executor.tail >= (job.cuts[id] ?? 0);
    }),
  step: ({ state, job }) =>
    job.members.every((id) => answering(state, id) !== null)
      ? { done: { reached: true, waitingFor: null } }
      : 'fail',
  otherwise: { reached: false, waitingFor: 'kernel spin' },
  fault: 'a kernel spins',
};

const openGates: Port = {
  ...each(
    (executor, clientId, { state, effect }) => {
      const client = state.clients[clientId];
      if (executor.memory === 'out') effect.failed = true;
      else {
        executor.limit = null;
        if (client !== undefined) client.gate = 'open';
      }
    },
    { living: true, answer: { heldMs: 1 } },
  ),
};

const beginSave: Port = {
  parallel: true,
  fault: 'disk full or device error',
  step: ({ state, effect, job }) => {
    if (effect.pc === 0) {
      if (state.image.place !== 'absent') return 'fail';
      state.image = { place: 'partial', cuts: {}, gpu: {}, cpu: {} };
      return 'more';
    }
    const clientId = job.members[effect.pc - 1];
    if (clientId === undefined) return effect.failed ? 'fail' : { done: { mayOpen: true } };
    const executor = answering(state, clientId);
    if (executor === null || executor.memory === 'out') effect.failed = true;
    else state.image.gpu = { ...state.image.gpu, [clientId]: executor.tail };
    return 'more';
  },
};

/** What was put aside at the cut streams out; where it was written before, the cut is lost. */
const finishSave: Port = {
  parallel: true,
  abortableBefore: 9,
  fault: 'disk full',
  otherwise: { missed: 'scatter' },
  step: ({ state, effect, job }) => {
    const clientId = job.members[effect.pc];
    if (clientId === undefined) return effect.failed ? 'fail' : { done: { missed: null } };
    if (answering(state, clientId) === null) effect.failed = true;
    return 'more';
  },
};

const dumpCpu: Port = {
  fault: 'disk full or CRIU fails',
  abortableBefore: 9,
  step: ({ state, effect, job }) => {
    if (effect.pc === 0) {
      state.frozen = true;
      return 'more';
    }
    // CRIU refuses sockets that lead out of the tree, and processes that are not there.
    const fits = job.members.every(
      (id) => isLive(state, id) && state.clients[id]?.agent !== 'attached',
    );
    if (!fits) return 'fail';
    const cpu = job.members.map((id) => [id, state.clients[id]?.issued ?? 0] as const);
    state.image.cpu = Object.fromEntries(cpu);
    return { done: undefined };
  },
};

function place(state: SystemState, to: ImageWorld['place']): void {
  state.image = { ...state.image, place: to };
}

const commitImage: Port = {
  fault: 'disk full',
  abortableBefore: 2,
  step: ({ state, effect, job }) => {
    if (effect.pc === 0) {
      if (state.image.place !== 'partial') return 'fail';
      state.image = { ...state.image, cuts: job.cuts };
      return 'more';
    }
    if (effect.pc === 1) {
      place(state, 'renamed');
      return 'more';
    }
    // Success that nobody waits for is taken back.
    place(state, effect.orphan ? 'partial' : 'durable');
    return effect.orphan ? 'fail' : { done: undefined };
  },
};

const endTree: Port = {
  step: ({ state, job }) => {
    for (const id of job.members) killClient(state, id);
    state.frozen = false;
    return { done: undefined };
  },
};

const reattach: Port = {
  abortableBefore: 9,
  infallible: true,
  ready: ({ state, effect, job }) =>
    effect.pc === 0 ||
    job.members
      .filter((id) => isThere(state, id))
      .every((id) => ['running', 'suspended', 'lost'].includes(stateOf(state, id))),
  step: ({ state, effect, job }) => {
    const clients = job.members.map((id) => [id, state.clients[id]] as const);
    if (effect.pc === 0) {
      for (const [id, client] of clients) {
        if (client !== undefined && isThere(state, id)) client.invited = true;
      }
      return 'more';
    }
    const ended = clients.some(([id, client]) => {
      const isBack = isThere(state, id) && stateOf(state, id) !== 'lost';
      return client?.invited === true && !isBack;
    });
    for (const [, client] of clients) if (client !== undefined) client.invited = false;
    return ended ? 'fail' : { done: undefined };
  },
};

const settle: Port = {
  infallible: true,
  ready: ({ state, effect }) =>
    state.effects.every((one) => one === effect || one.actor !== effect.actor),
  step: () => ({ done: undefined }),
};

const planOn = (allowed: readonly string[], needsRoom: boolean): Port => ({
  step: ({ state, job }) => {
    if (needsRoom && state.image.place !== 'absent') return 'fail';
    return job.members.every((id) => allowed.includes(stateOf(state, id)))
      ? { done: { clients: job.members, stallMs: 1, stopModeStallMs: 1 } }
      : 'fail';
  },
});

const takeExecutors: Port = {
  abortableBefore: 9,
  infallible: true,
  ready: ({ state, effect, job }) =>
    effect.pc === 0 ||
    job.members.every((id) => stateOf(state, id) === 'away') ||
    job.members.some((id) => ['lost', 'gone', 'refusing'].includes(stateOf(state, id))),
  step: ({ state, effect, job, effects }) => {
    if (effect.pc === 0) {
      for (const id of job.members) effects.addClient(id, 'image');
      return 'more';
    }
    if (!job.members.every((id) => stateOf(state, id) === 'away')) return 'fail';
    const known = job.members.map(
      (id) => [id, state.actors.get(`client:${id}`)?.context['executorId']] as const,
    );
    return { done: Object.fromEntries(known) };
  },
};

const restoreCpu: Port = {
  fault: 'CRIU fails',
  step: ({ state, effect, job }) => {
    const clientId = job.members[effect.pc];
    const client = clientId === undefined ? undefined : state.clients[clientId];
    if (clientId === undefined || client === undefined) return { done: { rootPid: 42 } };
    if (client.process === 'alive') return 'fail';
    client.process = 'alive';
    client.issued = state.image.cpu[clientId] ?? 0;
    client.gate = 'closed';
    client.agent = 'away';
    client.served = true;
    return 'more';
  },
};

const endExecutors: Port = {
  abortableBefore: 9,
  infallible: true,
  ready: ({ state, effect, job }) =>
    effect.pc === 0 || job.moved.every((id) => !state.actors.has(`executor:${id}`)),
  step: ({ state, effect, job, effects }) => {
    if (effect.pc > 0) return { done: undefined };
    job.moved = job.members.flatMap((id) => {
      const executorId = state.actors.get(`client:${id}`)?.context['executorId'];
      return typeof executorId === 'string' ? [executorId] : [];
    });
    for (const id of job.members) effects.tell('client', id, 'client.discard');
    return 'more';
  },
};

/** Moves members there; the way back moves those that were moved only. */
const move = (to: 'in' | 'out', forth: boolean): Port => ({
  ...each(
    (executor, clientId, { job, effects }) => {
      executor.memory = to;
      job.moved = forth
        ? [...job.moved, clientId]
        : job.moved.filter((member) => member !== clientId);
      effects.tell('client', clientId, `memory.${to}`);
    },
    { living: !forth, only: (clientId, { job }) => forth || job.moved.includes(clientId) },
  ),
  fault: 'device or host memory is full',
});

const disconnectAgents = each((_, clientId, { state, effect, effects }) => {
  const client = state.clients[clientId];
  if (client === undefined || client.agent !== 'attached') effect.failed = true;
  else {
    client.agent = 'away';
    effects.tell('client', clientId, 'agent.away');
  }
});

const loadGpu: Port = {
  ...each((executor, clientId, { state }) => {
    executor.loads += 1;
    executor.tail = state.image.gpu[clientId] ?? 0;
    executor.limit = executor.tail;
  }),
  fault: 'disk or device error',
};

const readImage: Port = {
  step: ({ state, job }) => {
    const isWhole = state.image.place === 'durable' || state.image.place === 'renamed';
    const isFree = job.members.every((id) => !state.actors.has(`client:${id}`));
    return isWhole && isFree ? { done: { clients: job.members } } : 'fail';
  },
};

const jobPorts: Readonly<Record<string, Port>> = {
  'dump.planDump': planOn(['running'], true),
  'suspend.planSuspend': planOn(['running'], false),
  'resume.planResume': planOn(['suspended'], false),
  closeGates,
  drainToCuts,
  openGates,
  beginSave,
  finishSave,
  abortSave: each(() => undefined, { living: true }),
  disconnectAgents,
  dumpCpu,
  commitImage,
  endTree,
  thawTree: {
    step: ({ state }) => {
      state.frozen = false;
      return { done: undefined };
    },
  },
  reattachAgents: reattach,
  awaitAgents: reattach,
  settle,
  discardImage: {
    step: ({ state }) => {
      if (state.image.place === 'partial') place(state, 'absent');
      return { done: undefined };
    },
  },
  readImage,
  takeExecutors,
  loadGpu,
  restoreCpu,
  endExecutors,
  'suspend.moveOut': move('out', true),
  'suspend.moveIn': move('in', false),
  'resume.moveIn': move('in', true),
  'resume.moveOut': move('out', false),
};

/** A port that the model does not know: it may answer nothing or fail, and changes nothing. */
const unknown: Port = { step: () => ({ done: undefined }) };

export function portOf(kind: string, src: string): Port {
  return jobPorts[`${kind}.${src}`] ?? jobPorts[src] ?? unknown;
}

export function isKnownPort(kind: string, src: string): boolean {
  return portOf(kind, src) !== unknown;
}
