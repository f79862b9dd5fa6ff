// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { createActor } from 'xstate';
import { PhosError } from '../../src/errors/phos-error.ts';
import { defaultJobLimits } from '../../src/machines/job-limits.ts';
import {
  type SuspendInput,
  suspendInvariants,
  suspendMachine,
} from '../../src/machines/suspend.machine.ts';
import { brokenBy, itObeysTheLaws, type Laws } from './laws.ts';
import { type Answer, bind, rest, start } from './run.ts';

const input: SuspendInput = {
  jobId: 'j00000003',
  rootPid: 42,
  limits: { ...defaultJobLimits, maxCuts: 2 },
};
const failure = { code: 'NOT_FOUND', message: 'the client ended', step: 'x', retryable: false };
const laws: Laws = {
  input,
  outputs: {
    planSuspend: [{ clients: ['a', 'b'] }],
    closeGates: [{ a: '64', b: '128' }],
    drainToCuts: [
      { reached: true, waitingFor: null },
      { reached: false, waitingFor: 'spin' },
    ],
  },
  events: [{ type: 'job.cancel' }, { type: 'job.fail', failure }],
  invariants: suspendInvariants,
  limit: 10_000,
  atLeast: 50,
};
const happy: Record<string, Answer> = {
  planSuspend: () => ({ clients: ['a', 'b'] }),
  closeGates: () => ({ a: '64', b: '128' }),
  drainToCuts: () => ({ reached: true, waitingFor: null }),
  openGates: () => undefined,
  moveOut: () => undefined,
  moveIn: () => undefined,
  settle: () => undefined,
};

describe('suspend machine', () => {
  itObeysTheLaws(suspendMachine, laws);

  it.each([
    ['planSuspend', input.limits.planMs],
    ['closeGates', input.limits.gateMs],
    ['drainToCuts', input.limits.drainMs + input.limits.marginMs],
    ['moveOut', input.limits.suspendMs],
  ])('lets the program go on when %s never answers', async (silent, deadlineMs) => {
    const { [silent]: _, ...others } = happy;
    const { actor, clock } = start(bind(suspendMachine, others), input);
    await rest(actor);
    clock.increment(deadlineMs);
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('failed');
    expect(actor.getSnapshot().context).toMatchObject({
      failure: { code: 'TIMEOUT' },
      gates: 'open',
      memory: 'in',
    });
  });

  // The executor that holds it refuses to open its gate; those of the others must not wait.
  it('lets the others go on when memory of one did not come back', async () => {
    const openGates = () => Promise.reject(new PhosError('CONFLICT', 'the client is suspended'));
    const moveOut = () => Promise.reject(new PhosError('DEVICE', 'lost'));
    const { moveIn: _, ...others } = happy;
    const { actor, clock } = start(bind(suspendMachine, { ...others, moveOut, openGates }), input);
    await rest(actor);
    clock.increment(input.limits.suspendMs);
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('failed');
    expect(actor.getSnapshot().context).toMatchObject({ memory: 'unknown', gates: 'unknown' });
    expect(actor.getSnapshot().context.unrepaired).toHaveLength(2);
  });

  it('tries a later cut after a pause', async () => {
    const drains = [false, true];
    const drainToCuts = () => ({ reached: drains.shift() ?? false, waitingFor: 'spin' });
    const { actor, clock } = start(bind(suspendMachine, { ...happy, drainToCuts }), input);
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('backingOff');
    clock.increment(input.limits.backoffMs);
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('suspended');
  });

  it('ends suspended', async () => {
    const { actor, emitted } = start(bind(suspendMachine, happy), input);
    await rest(actor);
    expect(actor.getSnapshot().context).toMatchObject({ memory: 'out', gates: 'closed' });
    expect(emitted).toEqual([{ type: 'job.ended', jobId: input.jobId, outcome: 'done' }]);
  });

  it('comes back from its persisted snapshot', async () => {
    const { moveOut: _, ...others } = happy;
    const { actor } = start(bind(suspendMachine, others), input);
    await rest(actor);
    const snapshot = JSON.parse(JSON.stringify(actor.getPersistedSnapshot()));
    const again = createActor(bind(suspendMachine, happy), { input, snapshot } as never);
    again.start();
    await rest(again as never);
    expect(again.getSnapshot().value).toBe('suspended');
  });

  it('would be caught opening a gate over absent memory', () => {
    const broken = suspendMachine.provide({
      guards: { isMoving: () => false, mayOpen: ({ context }) => context.gates === 'closed' },
    });
    expect(brokenBy(broken, laws)).toContain('no gate opens while memory is out');
  });
});
