// SPDX-License-Identifier: Apache-2.0
// The machines of a node together: delivered by the same wiring as in phosd, driven one event at a
// time in any order. Nothing may be leaked: no executor without a client or a place in the pool.
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import {
  type AnyMachineSnapshot,
  type AnyStateMachine,
  initialTransition,
  transition,
} from 'xstate';
import { clientMachine } from '../../src/machines/client.machine.ts';
import { deviceMachine } from '../../src/machines/device.machine.ts';
import { executorMachine } from '../../src/machines/executor.machine.ts';
import type { Message } from '../../src/machines/messages.ts';
import { type Delivery, route } from '../../src/machines/wiring.ts';

interface Member {
  readonly machine: AnyStateMachine;
  snapshot: AnyMachineSnapshot;
}
type Action = { readonly type: string; readonly params?: { readonly event?: Message } };

const limits = {
  client: { executorWaitMs: 1, welcomeMs: 1, attachMs: 1, exitConfirmMs: 1 },
  executor: { startMs: 1, assignMs: 1, endMs: 1 },
};

/** A node without a clock: deadlines and effects are choices like any other event. */
class Model {
  readonly members = new Map<string, Member>();
  #executors = 0;

  constructor() {
    this.add('device:0', deviceMachine, {
      ordinal: 0,
      found: 0,
      poolTarget: 1,
      maxFailures: 3,
      maxWaiting: 2,
    });
  }

  add(key: string, machine: AnyStateMachine, input: unknown): void {
    const [snapshot, actions] = initialTransition(machine, input) as never as [
      AnyMachineSnapshot,
      Action[],
    ];
    this.members.set(key, { machine, snapshot });
    this.#say(actions);
  }

  send(key: string, event: { readonly type: string }): boolean {
    const member = this.members.get(key);
    if (member === undefined || member.snapshot.status !== 'active') return false;
    const [snapshot, actions] = transition(
      member.machine,
      member.snapshot,
      event as never,
    ) as never as [AnyMachineSnapshot, Action[]];
    member.snapshot = snapshot;
    this.#say(actions);
    return true;
  }

  #say(actions: readonly Action[]): void {
    for (const { type, params } of actions) {
      if (type !== 'xstate.emit' || params?.event === undefined) continue;
      for (const delivery of route(params.event)) this.#deliver(delivery);
    }
  }

  #deliver(delivery: Delivery): void {
    if (delivery.to === 'supervisor') {
      if (delivery.event.type !== 'executor.start') return;
      this.#executors += 1;
      const executorId = `x${this.#executors}`;
      const input = { executorId, ordinal: 0, found: false, limits: limits.executor };
      this.add(`executor:${executorId}`, executorMachine, input);
      return;
    }
    const id = { client: 'clientId', executor: 'executorId', device: 'ordinal' } as const;
    if (delivery.to === 'node' || delivery.to === 'job') return;
    const key = `${delivery.to}:${(delivery as never as Record<string, string>)[id[delivery.to]]}`;
    const arrived = this.send(key, delivery.event);
    if (!arrived && delivery.to === 'client' && delivery.otherwise !== undefined) {
      this.#deliver(delivery.otherwise);
    }
  }

  /** What ports and clocks may say next. */
  choices(): (readonly [string, { readonly type: string; readonly output?: unknown }])[] {
    return [...this.members].flatMap(([key, { snapshot }]) => {
      if (snapshot.status !== 'active') return [];
      const events = snapshot._nodes.flatMap((node) => [
        ...node.invoke.flatMap(({ id }: { id: string }) => [
          { type: `xstate.done.actor.${id}` },
          { type: `xstate.error.actor.${id}`, error: new Error('planted') },
        ]),
        ...node.after.map(({ eventType }: { eventType: string }) => ({ type: eventType })),
      ]);
      const outside = key.startsWith('client:')
        ? ['process.exited', 'agent.attached', 'agent.hello', 'agent.away']
        : key.startsWith('executor:')
          ? ['executor.exited']
          : [];
      return [...events, ...outside.map((type) => ({ type }))].map(
        (event) => [key, event] as const,
      );
    });
  }

  of(kind: string): { readonly id: string; readonly snapshot: AnyMachineSnapshot }[] {
    return [...this.members].flatMap(([key, { snapshot }]) =>
      key.startsWith(`${kind}:`) ? [{ id: key.slice(kind.length + 1), snapshot }] : [],
    );
  }

  /** Executors that serve nobody who is there, and are in no pool. */
  leaked(): string[] {
    const [device] = this.of('device');
    const warm = device?.snapshot.context.warm as readonly string[];
    const clients = new Map(this.of('client').map(({ id, snapshot }) => [id, snapshot]));
    return this.of('executor').flatMap(({ id, snapshot }) => {
      if (snapshot.value === 'warm')
        return warm.includes(id) ? [] : [`${id} is warm, not in the pool`];
      if (snapshot.value !== 'serving') return [];
      const client = clients.get(snapshot.context.clientId as string);
      // A client that is being refused knows it, and takes it along when it goes.
      const isServed =
        client?.status === 'active' &&
        client.value !== 'lost' &&
        (client.value !== 'refusing' || client.context.executorId === id);
      return isServed ? [] : [`${id} serves ${snapshot.context.clientId}, who is ${client?.value}`];
    });
  }

  shared(): boolean {
    const served = this.of('executor').flatMap(({ snapshot }) =>
      ['assigning', 'serving'].includes(String(snapshot.value)) ? [snapshot.context.clientId] : [],
    );
    return new Set(served).size !== served.length;
  }
}

function join(model: Model, clientId: string): void {
  model.add(`client:${clientId}`, clientMachine, {
    clientId,
    ordinal: 0,
    origin: 'hello',
    executorId: null,
    suspended: false,
    limits: limits.client,
  });
}

describe('machines together', () => {
  it('bring a client to its executor and end it with the client', () => {
    const model = new Model();
    model.send('executor:x1', { type: 'xstate.done.actor.startExecutor' });
    join(model, 'a');
    model.send('executor:x1', { type: 'xstate.done.actor.assignExecutor' });
    model.send('client:a', { type: 'xstate.done.actor.welcomeAgent' });
    model.send('client:a', { type: 'agent.attached' });
    expect(model.members.get('client:a')?.snapshot.value).toBe('running');
    expect(model.members.has('executor:x2')).toBe(true);
    model.send('client:a', { type: 'process.exited' });
    expect(model.members.get('executor:x1')?.snapshot.value).toBe('ending');
  });

  it('leave no executor behind a client that ended while it was made ready', () => {
    const model = new Model();
    model.send('executor:x1', { type: 'xstate.done.actor.startExecutor' });
    join(model, 'a');
    model.send('client:a', { type: 'process.exited' });
    model.send('executor:x1', { type: 'xstate.done.actor.assignExecutor' });
    expect(model.leaked()).toEqual([]);
  });

  it('leak nothing and share nothing in any order', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(), { size: '+1', maxLength: 60 }), (picks) => {
        const model = new Model();
        let joined = 0;
        const trace: string[] = [];
        for (const pick of picks) {
          const choices = model.choices();
          const canJoin = joined < 3;
          const index = pick % (choices.length + (canJoin ? 1 : 0));
          const choice = choices[index];
          if (choice === undefined) {
            joined += 1;
            trace.push(`join c${joined}`);
            join(model, `c${joined}`);
          } else {
            trace.push(`${choice[0]} ${choice[1].type}`);
            model.send(choice[0], choice[1]);
          }
          const leaked = model.leaked();
          if (leaked.length > 0 || model.shared()) {
            throw new Error(
              `${leaked.join(', ')} shared ${model.shared()} after ${trace.join(' > ')}`,
            );
          }
        }
      }),
      { seed: Number(process.env['PHOS_SEED'] ?? 1), numRuns: 25 },
    );
  });
});
