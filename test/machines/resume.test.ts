// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { createActor } from 'xstate';
import { PhosError } from '../../src/errors/phos-error.ts';
import { defaultJobLimits } from '../../src/machines/job-limits.ts';
import {
  type ResumeInput,
  resumeInvariants,
  resumeMachine,
} from '../../src/machines/resume.machine.ts';
import { brokenBy, itObeysTheLaws, type Laws } from './laws.ts';
import { type Answer, bind, rest, start } from './run.ts';

const input: ResumeInput = { jobId: 'j00000004', rootPid: 42, limits: defaultJobLimits };
const failure = { code: 'NOT_FOUND', message: 'the client ended', step: 'x', retryable: false };
const laws: Laws = {
  input,
  outputs: { planResume: [{ clients: ['a'] }] },
  events: [{ type: 'job.cancel' }, { type: 'job.fail', failure }],
  invariants: resumeInvariants,
  limit: 10_000,
  atLeast: 20,
};
const happy: Record<string, Answer> = {
  planResume: () => ({ clients: ['a'] }),
  moveIn: () => undefined,
  moveOut: () => undefined,
  openGates: () => undefined,
  settle: () => undefined,
};

describe('resume machine', () => {
  itObeysTheLaws(resumeMachine, laws);

  it.each([
    ['planResume', input.limits.planMs],
    ['moveIn', input.limits.suspendMs],
  ])('leaves the tree suspended when %s never answers', async (silent, deadlineMs) => {
    const { [silent]: _, ...others } = happy;
    const { actor, clock } = start(bind(resumeMachine, others), input);
    await rest(actor);
    clock.increment(deadlineMs);
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('failed');
    expect(actor.getSnapshot().context).toMatchObject({ memory: 'out', gates: 'closed' });
  });

  it('tells when a gate did not open', async () => {
    const { openGates: _, ...others } = happy;
    const { actor, clock } = start(bind(resumeMachine, others), input);
    await rest(actor);
    clock.increment(input.limits.gateMs);
    await rest(actor);
    expect(actor.getSnapshot().context).toMatchObject({
      failure: { code: 'TIMEOUT', step: 'open' },
      gates: 'unknown',
      memory: 'in',
    });
  });

  it('ends resumed', async () => {
    const { actor, emitted } = start(bind(resumeMachine, happy), input);
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('resumed');
    expect(emitted).toEqual([{ type: 'job.ended', jobId: input.jobId, outcome: 'done' }]);
  });

  it('moves out again what came in half', async () => {
    const moves: string[] = [];
    const { actor } = start(
      bind(resumeMachine, {
        ...happy,
        moveIn: () => Promise.reject(new PhosError('DEVICE', 'out of memory')),
        moveOut: () => void moves.push('out'),
      }),
      input,
    );
    await rest(actor);
    expect(moves).toEqual(['out']);
    expect(actor.getSnapshot().context.failure).toMatchObject({ code: 'DEVICE', step: 'resume' });
  });

  it('comes back from its persisted snapshot', async () => {
    const { moveIn: _, ...others } = happy;
    const { actor } = start(bind(resumeMachine, others), input);
    await rest(actor);
    const snapshot = JSON.parse(JSON.stringify(actor.getPersistedSnapshot()));
    const again = createActor(bind(resumeMachine, happy), { input, snapshot } as never);
    again.start();
    await rest(again as never);
    expect(again.getSnapshot().value).toBe('resumed');
  });

  it('would be caught leaving half the memory in', () => {
    const broken = resumeMachine.provide({ guards: { isMoving: () => false } });
    expect(brokenBy(broken, laws)).toContain(
      'a failed resume leaves the tree suspended, or tells what it left',
    );
  });
});
