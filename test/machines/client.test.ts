// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { createActor } from 'xstate';
import {
  type ClientInput,
  clientInvariants,
  clientMachine,
} from '../../src/machines/client.machine.ts';
import { brokenBy, itObeysTheLaws, type Laws } from './laws.ts';
import { bind, rest, start } from './run.ts';

const input: ClientInput = {
  clientId: 'a'.repeat(32),
  ordinal: 0,
  origin: 'hello',
  executorId: null,
  suspended: false,
  limits: { executorWaitMs: 25_000, welcomeMs: 5_000, attachMs: 30_000, exitConfirmMs: 10_000 },
};
const failure = { code: 'TRANSPORT', message: 'hang-up', step: 'run', retryable: false };
const laws: Laws = {
  input,
  events: [
    { type: 'executor.bound', executorId: 'x1' },
    { type: 'executor.refused', failure },
    { type: 'executor.lost' },
    { type: 'agent.hello' },
    { type: 'agent.attached' },
    { type: 'agent.away' },
    { type: 'agent.lost', failure },
    { type: 'memory.out' },
    { type: 'memory.in' },
    { type: 'client.discard' },
    { type: 'process.exited' },
  ],
  invariants: clientInvariants,
  limit: 5_000,
  atLeast: 10,
};
const happy = { welcomeAgent: () => undefined, refuseAgent: () => undefined };

describe('client machine', () => {
  itObeysTheLaws(clientMachine, laws, 'after a hello');
  itObeysTheLaws(clientMachine, { ...laws, input: { ...input, origin: 'image' } }, 'from an image');
  itObeysTheLaws(
    clientMachine,
    {
      ...laws,
      input: { ...input, origin: 'registry', executorId: 'x1', suspended: true },
      unreachable: ['waiting', 'refusing'],
    },
    'from the registry',
  );

  it.each([
    ['waiting', [], input.limits.executorWaitMs, 'refusing'],
    ['welcoming', ['executor.bound'], input.limits.welcomeMs, 'lost'],
  ])('does not stay %s for ever', async (state, events, deadlineMs, next) => {
    const { actor, clock } = start(bind(clientMachine, {}), input);
    for (const type of events) actor.send({ type, executorId: 'x1' });
    expect(actor.getSnapshot().value).toBe(state);
    clock.increment(deadlineMs - 1);
    expect(actor.getSnapshot().value).toBe(state);
    clock.increment(1);
    expect(actor.getSnapshot().value).toBe(next);
    expect(actor.getSnapshot().context.failure).toMatchObject({ code: 'TIMEOUT' });
  });

  it('is lost when it never hands its ring over', async () => {
    const { actor, clock, emitted } = start(bind(clientMachine, happy), input);
    actor.send({ type: 'executor.bound', executorId: 'x1' });
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('attaching');
    clock.increment(input.limits.attachMs);
    expect(actor.getSnapshot().value).toBe('lost');
    expect(emitted.at(-1)).toMatchObject({ type: 'client.gone', executorId: 'x1' });
  });

  it('is refused with the reason', async () => {
    const refusals: unknown[] = [];
    const machine = bind(clientMachine, {
      refuseAgent: (context: { failure: unknown }) => void refusals.push(context.failure),
    } as never);
    const { actor } = start(machine, input);
    actor.send({ type: 'executor.refused', failure });
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('exited');
    expect(refusals).toEqual([failure]);
  });

  it('goes away for a dump and comes back to the same executor', async () => {
    const { actor } = start(bind(clientMachine, happy), input);
    actor.send({ type: 'executor.bound', executorId: 'x1' });
    await rest(actor);
    actor.send({ type: 'agent.attached' });
    actor.send({ type: 'agent.away' });
    expect(actor.getSnapshot().value).toBe('away');
    actor.send({ type: 'agent.hello' });
    await rest(actor);
    actor.send({ type: 'agent.attached' });
    expect(actor.getSnapshot().value).toBe('running');
    expect(actor.getSnapshot().context.executorId).toBe('x1');
  });

  it('believes a hang-up only when the process is gone or time is up', async () => {
    const { actor, clock } = start(bind(clientMachine, happy), {
      ...input,
      origin: 'registry',
      executorId: 'x1',
    });
    actor.send({ type: 'agent.lost', failure });
    expect(actor.getSnapshot().value).toBe('confirming');
    clock.increment(input.limits.exitConfirmMs);
    expect(actor.getSnapshot().value).toBe('lost');
    actor.send({ type: 'process.exited' });
    expect(actor.getSnapshot().value).toBe('exited');
  });

  it('comes back from its persisted snapshot', async () => {
    const { actor } = start(bind(clientMachine, happy), input);
    actor.send({ type: 'executor.bound', executorId: 'x1' });
    await rest(actor);
    const snapshot = JSON.parse(JSON.stringify(actor.getPersistedSnapshot()));
    const again = createActor(bind(clientMachine, happy), { input, snapshot } as never);
    again.start();
    again.send({ type: 'agent.attached' } as never);
    expect(again.getSnapshot().value).toBe('running');
  });

  it('would be caught running without a ring', () => {
    const broken = clientMachine.provide({ actions: { noteAttached: () => undefined } });
    expect(brokenBy(broken, laws)).toContain(
      'a client that runs has an executor and handed its ring over',
    );
  });
});
