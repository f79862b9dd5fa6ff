// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { createActor } from 'xstate';
import {
  type DeviceInput,
  deviceInvariants,
  deviceMachine,
} from '../../src/machines/device.machine.ts';
import { poolBackoffMs } from '../../src/model/limits.ts';
import { brokenBy, itObeysTheLaws, type Laws } from './laws.ts';
import { start } from './run.ts';

const input: DeviceInput = { ordinal: 0, found: 0, poolTarget: 1, maxFailures: 2, maxWaiting: 2 };
const failure = { code: 'DEVICE', message: 'no such device', step: 'start', retryable: true };
const laws: Laws = {
  input,
  events: [
    ...['a', 'b', 'c'].flatMap((clientId) => [
      { type: 'executor.request', clientId, ordinal: 0 },
      { type: 'client.gone', clientId, executorId: null, ordinal: 0 },
    ]),
    ...['x1', 'x2'].flatMap((executorId) => [
      { type: 'executor.ready', executorId, ordinal: 0 },
      { type: 'executor.failed', executorId, ordinal: 0, failure },
      { type: 'executor.ended', executorId, ordinal: 0, leaked: false },
    ]),
    { type: 'pool.retry' },
    { type: 'pool.close' },
  ],
  invariants: deviceInvariants,
  limit: 20_000,
  atLeast: 30,
};
const ready = (executorId: string) => ({ type: 'executor.ready', executorId, ordinal: 0 });
const request = (clientId: string) => ({ type: 'executor.request', clientId, ordinal: 0 });
const failed = { type: 'executor.failed', executorId: 'x1', ordinal: 0, failure };

describe('device machine', () => {
  itObeysTheLaws(deviceMachine, laws);

  it('keeps the pool full', () => {
    const { actor, emitted } = start(deviceMachine, { ...input, poolTarget: 2 });
    expect(emitted.map((event) => event.type)).toEqual(['executor.start', 'executor.start']);
    actor.send(ready('x1'));
    actor.send(ready('x2'));
    actor.send(request('a'));
    expect(emitted.slice(2)).toEqual([
      { type: 'executor.paired', executorId: 'x1', clientId: 'a' },
      { type: 'executor.start', ordinal: 0 },
    ]);
  });

  it('starts nothing for executors that an earlier phosd left', () => {
    const { actor, emitted } = start(deviceMachine, { ...input, found: 1 });
    expect(emitted).toEqual([]);
    actor.send(ready('x1'));
    actor.send(request('a'));
    expect(emitted[0]).toEqual({ type: 'executor.paired', executorId: 'x1', clientId: 'a' });
  });

  it('serves who waited longest', () => {
    const { actor, emitted } = start(deviceMachine, input);
    actor.send(request('a'));
    actor.send(request('b'));
    actor.send(ready('x1'));
    expect(emitted).toContainEqual({ type: 'executor.paired', executorId: 'x1', clientId: 'a' });
    expect(actor.getSnapshot().context.waiting).toEqual(['b']);
  });

  it('spaces out starts that fail, then gives up and says why', () => {
    const { actor, clock, emitted } = start(deviceMachine, input);
    actor.send(request('a'));
    actor.send(failed);
    expect(actor.getSnapshot().value).toBe('cooling');
    clock.increment(poolBackoffMs(1) - 1);
    expect(actor.getSnapshot().value).toBe('cooling');
    clock.increment(1);
    expect(actor.getSnapshot().value).toBe('open');
    actor.send(failed);
    expect(actor.getSnapshot().value).toBe('failed');
    expect(emitted.at(-1)).toMatchObject({ type: 'executor.refused', clientId: 'a' });
    actor.send({ type: 'pool.retry' });
    expect(actor.getSnapshot().value).toBe('open');
  });

  it('refuses whoever comes after the end', () => {
    const { actor, emitted } = start(deviceMachine, input);
    actor.send({ type: 'pool.close' });
    actor.send(request('a'));
    expect(emitted.at(-1)).toMatchObject({
      type: 'executor.refused',
      failure: { code: 'UNAVAILABLE' },
    });
  });

  it('comes back from its persisted snapshot', () => {
    const { actor } = start(deviceMachine, input);
    actor.send(ready('x1'));
    const snapshot = JSON.parse(JSON.stringify(actor.getPersistedSnapshot()));
    const again = createActor(deviceMachine, { input, snapshot } as never);
    again.start();
    expect(again.getSnapshot().context.warm).toEqual(['x1']);
  });

  it('would be caught letting a client wait beside a warm executor', () => {
    const broken = deviceMachine.provide({ guards: { canPair: () => false } });
    expect(brokenBy(broken, laws)).toContain('nobody waits while an executor is warm');
  });
});
