// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { createActor } from 'xstate';
import { PhosError } from '../../src/errors/phos-error.ts';
import {
  type ExecutorInput,
  executorInvariants,
  executorMachine,
} from '../../src/machines/executor.machine.ts';
import { brokenBy, itObeysTheLaws, type Laws } from './laws.ts';
import { type Answer, bind, rest, start } from './run.ts';

const input: ExecutorInput = {
  executorId: 'x00000001',
  ordinal: 0,
  found: false,
  limits: { startMs: 30_000, assignMs: 20_000, endMs: 15_000 },
};
const laws: Laws = {
  input,
  outputs: { findExecutor: [{ clientId: null }, { clientId: 'a' }] },
  events: [
    { type: 'executor.assign', clientId: 'a' },
    { type: 'executor.end' },
    { type: 'executor.exited' },
    { type: 'client.gone' },
  ],
  invariants: executorInvariants,
  limit: 2_000,
  atLeast: 10,
  unreachable: ['finding'],
};
const happy: Record<string, Answer> = {
  startExecutor: () => undefined,
  findExecutor: () => ({ clientId: null }),
  assignExecutor: () => undefined,
  endExecutor: () => undefined,
};
const types = (emitted: { type: string }[]) => emitted.map((event) => event.type);

describe('executor machine', () => {
  itObeysTheLaws(executorMachine, laws, 'when started');
  itObeysTheLaws(
    executorMachine,
    { ...laws, input: { ...input, found: true }, unreachable: ['starting'] },
    'when found',
  );

  it.each([
    ['startExecutor', input.limits.startMs, ['executor.failed', 'executor.ended']],
    [
      'assignExecutor',
      input.limits.assignMs,
      ['executor.ready', 'executor.refused', 'executor.ended'],
    ],
  ])('is ended when %s never answers', async (silent, deadlineMs, told) => {
    const { [silent]: _, ...others } = happy;
    const { actor, clock, emitted } = start(bind(executorMachine, others), input);
    await rest(actor);
    actor.send({ type: 'executor.assign', clientId: 'a' });
    await rest(actor);
    clock.increment(deadlineMs);
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('ended');
    expect(types(emitted)).toEqual(told);
    expect(actor.getSnapshot().context.failure).toMatchObject({ code: 'TIMEOUT' });
  });

  it('tells a process that could not be ended', async () => {
    const { endExecutor: _, ...others } = happy;
    const { actor, clock, emitted } = start(bind(executorMachine, others), input);
    await rest(actor);
    actor.send({ type: 'executor.end' });
    clock.increment(input.limits.endMs);
    await rest(actor);
    expect(emitted.at(-1)).toMatchObject({ type: 'executor.ended', leaked: true });
  });

  it('serves one client and ends with it', async () => {
    const { actor, emitted } = start(bind(executorMachine, happy), input);
    await rest(actor);
    actor.send({ type: 'executor.assign', clientId: 'a' });
    await rest(actor);
    actor.send({ type: 'executor.assign', clientId: 'b' });
    expect(actor.getSnapshot().context.clientId).toBe('a');
    actor.send({ type: 'client.gone' });
    await rest(actor);
    expect(types(emitted)).toEqual(['executor.ready', 'executor.bound', 'executor.ended']);
  });

  it('tells its client when it crashes', async () => {
    const { actor, emitted } = start(bind(executorMachine, happy), input);
    await rest(actor);
    actor.send({ type: 'executor.assign', clientId: 'a' });
    await rest(actor);
    actor.send({ type: 'executor.exited' });
    expect(types(emitted).slice(-2)).toEqual(['executor.lost', 'executor.ended']);
  });

  it('tells why it did not start', async () => {
    const startExecutor = () => Promise.reject(new PhosError('DEVICE', 'no such device'));
    const { actor, emitted } = start(bind(executorMachine, { ...happy, startExecutor }), input);
    await rest(actor);
    expect(emitted[0]).toMatchObject({ type: 'executor.failed', failure: { code: 'DEVICE' } });
  });

  it('comes back from its persisted snapshot', async () => {
    const { actor } = start(bind(executorMachine, happy), input);
    await rest(actor);
    const snapshot = JSON.parse(JSON.stringify(actor.getPersistedSnapshot()));
    const again = createActor(bind(executorMachine, happy), { input, snapshot } as never);
    again.start();
    expect(again.getSnapshot().value).toBe('warm');
  });

  it('would be caught giving an executor away twice', () => {
    const broken = executorMachine.provide({ actions: { noteClient: () => undefined } });
    expect(brokenBy(broken, laws)).toContain('a serving executor has a client');
  });
});
