// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { createActor } from 'xstate';
import { PhosError } from '../../src/errors/phos-error.ts';
import { type NodeInput, nodeInvariants, nodeMachine } from '../../src/machines/node.machine.ts';
import { brokenBy, itObeysTheLaws, type Laws } from './laws.ts';
import { bind, rest, start } from './run.ts';

const input: NodeInput = { maxClients: 4, maxJobs: 2, prepareMs: 1_000, stopMs: 2_000 };
const job = (jobId: string, clients: readonly string[]) => ({
  type: 'job.requested',
  jobId,
  kind: 'dump',
  clients,
});
const laws: Laws = {
  input,
  events: [
    { type: 'client.joined', clientId: 'a' },
    { type: 'client.joined', clientId: 'b' },
    { type: 'client.gone', clientId: 'a', executorId: null, ordinal: 0 },
    job('j1', ['a']),
    job('j2', ['a', 'b']),
    job('j3', ['b']),
    job('j4', []),
    ...['j1', 'j2', 'j3', 'j4'].map((jobId) => ({ type: 'job.ended', jobId, outcome: 'done' })),
    { type: 'node.stop' },
  ],
  invariants: nodeInvariants,
  limit: 5_000,
  atLeast: 20,
};
const happy = { prepareNode: () => undefined, closeNode: () => undefined };

describe('node machine', () => {
  itObeysTheLaws(nodeMachine, laws);

  it('gives a tree to one job only', async () => {
    const { actor, emitted } = start(bind(nodeMachine, happy), input);
    await rest(actor);
    actor.send(job('j1', ['a', 'b']));
    actor.send(job('j2', ['b']));
    expect(emitted).toMatchObject([
      { type: 'job.granted', jobId: 'j1' },
      { type: 'job.refused', jobId: 'j2', failure: { code: 'CONFLICT' } },
    ]);
    actor.send({ type: 'job.ended', jobId: 'j1', outcome: 'done' });
    actor.send(job('j2', ['b']));
    expect(emitted.at(-1)).toEqual({ type: 'job.granted', jobId: 'j2' });
  });

  it('breaks the job of a client that ends', async () => {
    const { actor, emitted } = start(bind(nodeMachine, happy), input);
    await rest(actor);
    actor.send(job('j1', ['a']));
    actor.send({ type: 'client.gone', clientId: 'a', executorId: null, ordinal: 0 });
    expect(emitted.at(-1)).toMatchObject({ type: 'job.broken', jobId: 'j1' });
  });

  it('does not stop under a job', async () => {
    const { actor } = start(bind(nodeMachine, happy), input);
    await rest(actor);
    actor.send(job('j1', ['a']));
    actor.send({ type: 'node.stop' });
    expect(actor.getSnapshot().value).toBe('ready');
    actor.send({ type: 'job.ended', jobId: 'j1', outcome: 'failed' });
    actor.send({ type: 'node.stop' });
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('stopped');
  });

  it('fails when it cannot be prepared in time', () => {
    const { actor, clock } = start(bind(nodeMachine, {}), input);
    clock.increment(input.prepareMs);
    expect(actor.getSnapshot().value).toBe('failed');
    expect(actor.getSnapshot().context.failure).toMatchObject({ code: 'TIMEOUT' });
  });

  it('fails when it cannot stop in time', async () => {
    const { actor, clock } = start(bind(nodeMachine, { prepareNode: () => undefined }), input);
    await rest(actor);
    actor.send({ type: 'node.stop' });
    clock.increment(input.stopMs);
    expect(actor.getSnapshot().value).toBe('failed');
  });

  it('fails with the reason when it cannot be prepared', async () => {
    const prepareNode = () => Promise.reject(new PhosError('CONFLICT', 'phosd runs already'));
    const { actor } = start(bind(nodeMachine, { prepareNode }), input);
    await rest(actor);
    expect(actor.getSnapshot().context.failure).toMatchObject({ code: 'CONFLICT' });
  });

  it('comes back from its persisted snapshot', async () => {
    const { actor } = start(bind(nodeMachine, happy), input);
    await rest(actor);
    actor.send(job('j1', ['a']));
    const snapshot = JSON.parse(JSON.stringify(actor.getPersistedSnapshot()));
    const again = createActor(bind(nodeMachine, happy), { input, snapshot } as never);
    again.start();
    expect(again.getSnapshot().context.jobs).toEqual({ j1: ['a'] });
  });

  it('would be caught giving a client to two jobs', () => {
    const broken = nodeMachine.provide({ guards: { ownsClient: () => false } });
    expect(brokenBy(broken, laws)).toContain('at most one job owns a client');
  });
});
