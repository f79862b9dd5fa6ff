// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { createActor } from 'xstate';
import { PhosError } from '../../src/errors/phos-error.ts';
import { defaultJobLimits } from '../../src/machines/job-limits.ts';
import {
  type RestoreInput,
  restoreInvariants,
  restoreMachine,
} from '../../src/machines/restore.machine.ts';
import { brokenBy, itObeysTheLaws, type Laws } from './laws.ts';
import { type Answer, bind, rest, start } from './run.ts';

const input: RestoreInput = {
  jobId: 'j00000002',
  directory: '/images/one',
  limits: defaultJobLimits,
};
const failure = { code: 'NOT_FOUND', message: 'the client ended', step: 'x', retryable: false };
const laws: Laws = {
  input,
  outputs: {
    readImage: [{ clients: ['a', 'b'] }],
    takeExecutors: [{ a: 'x1', b: 'x2' }],
    restoreCpu: [{ rootPid: 42 }],
  },
  events: [{ type: 'job.cancel' }, { type: 'job.fail', failure }],
  invariants: restoreInvariants,
  limit: 10_000,
  atLeast: 50,
};
const happy: Record<string, Answer> = {
  readImage: () => ({ clients: ['a', 'b'] }),
  takeExecutors: () => ({ a: 'x1', b: 'x2' }),
  loadGpu: () => undefined,
  restoreCpu: () => ({ rootPid: 42 }),
  awaitAgents: () => undefined,
  openGates: () => undefined,
  settle: () => undefined,
  endTree: () => undefined,
  endExecutors: () => undefined,
};

describe('restore machine', () => {
  itObeysTheLaws(restoreMachine, laws);

  it.each([
    ['readImage', input.limits.readImageMs],
    ['takeExecutors', input.limits.reserveMs],
    ['loadGpu', input.limits.loadMs],
    ['restoreCpu', input.limits.cpuRestoreMs],
    ['awaitAgents', input.limits.reattachMs],
    ['openGates', input.limits.gateMs],
  ])('takes everything back when %s never answers', async (silent, deadlineMs) => {
    const { [silent]: _, ...others } = happy;
    const { actor, clock } = start(bind(restoreMachine, others), input);
    await rest(actor);
    clock.increment(deadlineMs);
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('failed');
    expect(actor.getSnapshot().context).toMatchObject({
      failure: { code: 'TIMEOUT' },
      tree: 'absent',
      held: 'none',
      unrepaired: [],
    });
  });

  it.each([
    ['settle', input.limits.settleMs],
    ['endTree', input.limits.endTreeMs],
    ['endExecutors', input.limits.endTreeMs],
  ])('tells that %s never answered', async (silent, deadlineMs) => {
    const { [silent]: _, ...others } = happy;
    const awaitAgents = () => Promise.reject(new PhosError('TRANSPORT', 'no hello'));
    const { actor, clock } = start(bind(restoreMachine, { ...others, awaitAgents }), input);
    await rest(actor);
    clock.increment(deadlineMs);
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('failed');
    expect(actor.getSnapshot().context.unrepaired).toHaveLength(1);
    expect(actor.getSnapshot().context.failure).toMatchObject({ code: 'TRANSPORT' });
  });

  it('ends restored', async () => {
    const { actor, emitted } = start(bind(restoreMachine, happy), input);
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('restored');
    expect(actor.getSnapshot().context.rootPid).toBe(42);
    expect(emitted).toEqual([{ type: 'job.ended', jobId: input.jobId, outcome: 'done' }]);
  });

  it('touches nothing when the image is bad', async () => {
    const readImage = () => Promise.reject(new PhosError('IMAGE_INVALID', 'bad checksum'));
    const { actor } = start(bind(restoreMachine, { ...happy, readImage }), input);
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('failed');
    expect(actor.getSnapshot().context).toMatchObject({
      failure: { code: 'IMAGE_INVALID' },
      held: 'none',
      tree: 'absent',
    });
  });

  it('comes back from its persisted snapshot', async () => {
    const { loadGpu: _, ...others } = happy;
    const { actor } = start(bind(restoreMachine, others), input);
    await rest(actor);
    const snapshot = JSON.parse(JSON.stringify(actor.getPersistedSnapshot()));
    const again = createActor(bind(restoreMachine, happy), { input, snapshot } as never);
    again.start();
    await rest(again as never);
    expect(again.getSnapshot().value).toBe('restored');
  });

  it('would be caught leaving processes behind', () => {
    const broken = restoreMachine.provide({ guards: { hasTree: () => false } });
    expect(brokenBy(broken, laws)).toContain('a failed restore leaves no process and no executor');
  });
});
