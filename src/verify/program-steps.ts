// SPDX-License-Identifier: Apache-2.0
// What processes do by themselves: threads of a program pass the gate and publish, agents hand
// their ring over and say hello again, executors run commands; and each of them may end.
import type { Scenario, Step } from './scenario.ts';
import type { System } from './system.ts';
import { killClient, type SystemState } from './world.ts';

export function programSteps(system: System, scenario: Scenario, state: SystemState): Step[] {
  const steps: Step[] = [];
  for (const [id, client] of Object.entries(state.clients)) {
    if (client.process !== 'alive') continue;
    if (!state.frozen) steps.push(...threadSteps(system, scenario, state, id));
    const run = (draft: SystemState): void => killClient(draft, id);
    steps.push({ label: `program ${id} exits`, kind: 'fault', run });
  }
  for (const [id, executor] of Object.entries(state.executors)) {
    if (executor.process === 'dead') continue;
    const client = executor.client === null ? undefined : state.clients[executor.client];
    const published = executor.ring && client !== undefined ? client.issued : 0;
    if (executor.tail < Math.min(published, executor.limit ?? published)) {
      const isIn = executor.memory === 'in';
      const take = (draft: SystemState): void => {
        (draft.executors[id] as { tail: number }).tail += 1;
      };
      if (isIn) steps.push({ label: `executor ${id} runs a command`, kind: 'free', run: take });
    }
    steps.push({ label: `executor ${id} dies`, kind: 'fault', run: (draft) => die(draft, id) });
  }
  return steps;
}

function die(draft: SystemState, id: string): void {
  const executor = draft.executors[id];
  if (executor === undefined) return;
  executor.process = 'dead';
  if (!draft.actors.has(`executor:${id}`)) delete draft.executors[id];
  else draft.notices.push({ to: 'executor', id, type: 'executor.exited' });
}

function threadSteps(system: System, scenario: Scenario, state: SystemState, id: string): Step[] {
  const client = state.clients[id];
  if (client === undefined) return [];
  const change = (label: string, edit: (one: NonNullable<typeof client>) => void): Step => ({
    label: `program ${id} ${label}`,
    kind: 'free',
    run: (draft) => edit(draft.clients[id] as NonNullable<typeof client>),
  });
  const steps: Step[] = [];
  if (client.writing) {
    steps.push(
      change('publishes a command', (one) => {
        one.writing = false;
        one.issued += 1;
      }),
    );
  } else if (client.served && client.issued < scenario.commands && client.gate === 'open') {
    steps.push(
      change('passes its gate', (one) => {
        one.writing = true;
      }),
    );
  }
  if (client.agent === 'welcomed') steps.push(attach(system, state, id));
  const isKnown = state.actors.has(`client:${id}`);
  if (client.agent === 'away' && client.invited && state.phosd === 'up' && isKnown) {
    const run = (draft: SystemState): void => {
      (draft.clients[id] as { agent: string }).agent = 'hello';
      system.hear(draft, `client:${id}`, { type: 'agent.hello' });
    };
    steps.push({ label: `agent of ${id} says hello again`, kind: 'free', run });
  }
  return steps;
}

function attach(system: System, state: SystemState, id: string): Step {
  const executorId = state.clients[id]?.sentTo ?? '';
  const isThere = state.executors[executorId]?.process === 'alive';
  const run = (draft: SystemState): void => {
    const client = draft.clients[id];
    const executor = draft.executors[executorId];
    if (client === undefined) return;
    client.agent = isThere ? 'attached' : 'none';
    if (!isThere || executor === undefined) return;
    client.served = true;
    executor.ring = true;
    system.hear(draft, `client:${id}`, { type: 'agent.attached' });
  };
  return { label: `agent of ${id} hands its ring to ${executorId}`, kind: 'free', run };
}
