// SPDX-License-Identifier: Apache-2.0
// A phosd that comes back, as src/phosd/recover.ts does it: executors are asked, clients are made
// of what they tell, and the jobs that were under way are taken back.
import type { Step } from './scenario.ts';
import type { System } from './system.ts';
import { type ExecutorWorld, executorOf, killClient, type SystemState } from './world.ts';

export function restart(system: System, draft: SystemState): void {
  draft.phosd = 'up';
  system.openNode(draft);
  const found = Object.entries(draft.executors).filter(([, one]) => one.process === 'alive');
  for (const [id, one] of Object.entries(draft.executors)) {
    // One that does not answer yet serves nobody: it is ended.
    if (one.process !== 'alive') delete draft.executors[id];
  }
  for (let ordinal = 0; ordinal < system.devices; ordinal += 1) {
    const warm = found.filter(([, one]) => one.client === null && one.ordinal === ordinal);
    system.openDevice(draft, ordinal, warm.length);
  }
  for (const [id, executor] of found) adopt(system, draft, id, executor.ordinal);
  draft.effects.push({
    actor: 'phosd',
    id: 'takeBack',
    src: 'takeBack',
    pc: 0,
    failed: false,
    isHung: false,
    orphan: false,
  });
}

function adopt(system: System, draft: SystemState, id: string, ordinal: number): void {
  const executor = draft.executors[id];
  const clientId = executor?.client ?? null;
  const isAlive = clientId !== null && draft.clients[clientId]?.process === 'alive';
  if (executor !== undefined && clientId !== null && isAlive) {
    system.addClient(draft, clientId, 'registry', id, executor.memory === 'out');
    const client = draft.clients[clientId];
    if (client !== undefined && client.agent !== 'attached') {
      if (client.served && client.agent !== 'welcomed') client.agent = 'away';
      system.hear(draft, `client:${clientId}`, { type: 'agent.away' });
    }
  }
  system.addExecutor(draft, id, ordinal, true);
  if (clientId !== null && !isAlive) {
    system.hear(draft, `executor:${id}`, { type: 'executor.end' });
  }
}

const between = ['away', 'welcoming', 'attaching'];

/** Jobs are undone one by one; then agents are invited, and gates open behind those who came. */
export function recoverySteps(system: System, state: SystemState, index: number): Step[] {
  const { pc } = state.effects[index] as { pc: number };
  const jobs = state.registry.length;
  const ids = Object.keys(state.clients);
  const next = (label: string, work: (draft: SystemState) => void): Step => ({
    label: `the new phosd ${label}`,
    kind: 'free',
    run: (draft) => {
      work(draft);
      (draft.effects[index] as { pc: number }).pc += 1;
    },
  });
  if (pc < jobs) return [next(`takes back job ${state.registry[pc]}`, (draft) => undo(draft, pc))];
  if (pc === jobs) return [next('invites agents', (draft) => invite(system, draft))];
  const clientId = ids[pc - jobs - 1];
  if (clientId === undefined) {
    const run = (draft: SystemState): void => {
      draft.effects.splice(index, 1);
      draft.registry = [];
    };
    return [{ label: 'the new phosd has taken everything back', kind: 'free', run }];
  }
  const value = state.actors.get(`client:${clientId}`)?.value ?? 'gone';
  const isBack = state.clients[clientId]?.invited !== true || !between.includes(value);
  const open = next(`opens the gate of ${clientId}`, (draft) => letIn(draft, clientId));
  if (isBack) return [open];
  const late = next(`waits no longer for ${clientId}`, (draft) => {
    (draft.clients[clientId] as { invited: boolean }).invited = false;
  });
  return [{ ...late, kind: 'deadline' }];
}

function undo(draft: SystemState, at: number): void {
  const job = draft.jobs[draft.registry[at] ?? ''];
  if (job === undefined) return;
  if (job.kind === 'restore') {
    for (const id of job.members) killClient(draft, id);
    return;
  }
  if (job.kind !== 'dump') return;
  draft.frozen = false;
  if (draft.image.place === 'partial') draft.image = { ...draft.image, place: 'absent' };
}

function servedBy(draft: SystemState, clientId: string): ExecutorWorld | null {
  const executor = executorOf(draft, clientId);
  return executor !== null && executor.process === 'alive' ? executor : null;
}

function invite(_system: System, draft: SystemState): void {
  for (const [id, client] of Object.entries(draft.clients)) {
    const isAway = draft.actors.get(`client:${id}`)?.value === 'away';
    if (isAway && servedBy(draft, id)?.memory === 'in') client.invited = true;
  }
}

function letIn(draft: SystemState, clientId: string): void {
  const client = draft.clients[clientId];
  const executor = servedBy(draft, clientId);
  if (client === undefined) return;
  client.invited = false;
  if (executor === null || executor.memory === 'out' || client.gate === 'open') return;
  client.gate = 'open';
  executor.limit = null;
}
