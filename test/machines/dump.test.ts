// SPDX-License-Identifier: Apache-2.0
import { createActor } from 'xstate';
import { describe, expect, it } from 'vitest';
import { dumpInvariants, dumpMachine } from '../../src/machines/dump.machine.ts';
import type { DumpInput } from '../../src/machines/dump-parts.ts';
import { defaultJobLimits } from '../../src/machines/job-limits.ts';
import { PhosError } from '../../src/errors/phos-error.ts';
import { bind, rest, start, type Answer } from './run.ts';
import { randomRuns, stateNames, walk, type WalkOptions } from './walk.ts';

const input: DumpInput = {
  jobId: 'j00000001',
  rootPid: 42,
  directory: '/images/one',
  leaveRunning: false,
  limits: { ...defaultJobLimits, maxCuts: 2 },
};
const failure = { code: 'NOT_FOUND', message: 'the client ended', step: 'x', retryable: false };
const options: WalkOptions<never> = {
  input,
  outputs: {
    planDump: [{ clients: ['a', 'b'] }],
    closeGates: [{ a: '64', b: '128' }],
    drainToCuts: [
      { reached: true, waitingFor: null },
      { reached: false, waitingFor: 'spin' },
    ],
  },
  events: [{ type: 'job.cancel' }, { type: 'job.fail', failure }],
  invariants: dumpInvariants as never,
  limit: 20_000,
};
const happy: Record<string, Answer> = {
  planDump: () => ({ clients: ['a', 'b'] }),
  closeGates: () => ({ a: '64', b: '128' }),
  drainToCuts: () => ({ reached: true, waitingFor: null }),
  openGates: () => undefined,
  saveGpu: () => undefined,
  disconnectAgents: () => undefined,
  dumpCpu: () => undefined,
  commitImage: () => undefined,
  endTree: () => undefined,
  settle: () => undefined,
  thawTree: () => undefined,
  reattachAgents: () => undefined,
  discardImage: () => undefined,
};

describe('dump machine', () => {
  for (const leaveRunning of [false, true]) {
    it(`holds its invariants in every state, leaveRunning ${leaveRunning}`, () => {
      const result = walk(dumpMachine, { ...options, input: { ...input, leaveRunning } });
      expect(result.violations).toEqual([]);
      expect(result.states).toBeGreaterThan(100);
      const unreachable = stateNames(dumpMachine).filter((name) => !result.reached.has(name));
      expect(unreachable).toEqual(leaveRunning ? ['endingTree'] : []);
    });
  }

  it('holds its invariants in long random runs', () => {
    randomRuns(dumpMachine, options);
  });

  it.each([
    ['planDump', input.limits.planMs],
    ['closeGates', input.limits.gateMs],
    ['drainToCuts', input.limits.drainMs + input.limits.marginMs],
    ['saveGpu', input.limits.saveMs],
    ['disconnectAgents', input.limits.disconnectMs + input.limits.marginMs],
    ['dumpCpu', input.limits.cpuDumpMs],
    ['commitImage', input.limits.commitMs],
  ])('takes everything back when %s never answers', async (silent, deadlineMs) => {
    const { [silent]: _, ...others } = happy;
    const { actor, clock } = start(bind(dumpMachine, others), input);
    await rest(actor);
    clock.increment(deadlineMs - 1);
    await rest(actor);
    expect(actor.getSnapshot().status).toBe('active');
    clock.increment(1);
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('failed');
    expect(actor.getSnapshot().context).toMatchObject({
      failure: { code: 'TIMEOUT' },
      unrepaired: [],
      gates: 'open',
      image: 'absent',
    });
  });

  it.each([
    ['settle', input.limits.settleMs],
    ['thawTree', input.limits.thawMs],
    ['reattachAgents', input.limits.reattachMs],
    ['openGates', input.limits.gateMs],
    ['discardImage', input.limits.discardMs],
  ])('goes on with the way back when %s never answers', async (silent, deadlineMs) => {
    const { [silent]: _, ...others } = happy;
    const commitImage = () => Promise.reject(new PhosError('STORAGE', 'no space left'));
    const { actor, clock } = start(bind(dumpMachine, { ...others, commitImage }), input);
    await rest(actor);
    clock.increment(deadlineMs);
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('failed');
    const context = actor.getSnapshot().context;
    expect(context.failure).toMatchObject({ code: 'STORAGE', step: 'commit' });
    expect(context.unrepaired).toHaveLength(1);
    expect(context.unrepaired[0]).toMatchObject({ code: 'TIMEOUT' });
  });

  it('tries later cuts, and gives up after the last one', async () => {
    let cuts = 0;
    const answers = {
      ...happy,
      drainToCuts: () => {
        cuts += 1;
        return { reached: false, waitingFor: 'kernel spin' };
      },
    };
    const { actor, clock, emitted } = start(bind(dumpMachine, answers), input);
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('backingOff');
    clock.increment(input.limits.backoffMs);
    await rest(actor);
    expect(cuts).toBe(2);
    expect(actor.getSnapshot().context.failure).toMatchObject({ code: 'TIMEOUT', step: 'drain' });
    expect(actor.getSnapshot().context.failure.message).toContain('kernel spin');
    expect(emitted).toEqual([{ type: 'job.ended', jobId: input.jobId, outcome: 'failed' }]);
  });

  it('ends the tree after the commit', async () => {
    const { actor, emitted } = start(bind(dumpMachine, happy), input);
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('committed');
    expect(actor.getSnapshot().context).toMatchObject({ tree: 'ended', image: 'committed' });
    expect(emitted).toEqual([{ type: 'job.ended', jobId: input.jobId, outcome: 'done' }]);
  });

  it('lets the tree go on when it was asked to', async () => {
    const { actor } = start(bind(dumpMachine, happy), { ...input, leaveRunning: true });
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('committed');
    expect(actor.getSnapshot().context).toMatchObject({
      tree: 'running',
      agents: 'attached',
      gates: 'open',
      image: 'committed',
    });
  });

  it('ends cancelled, with everything as it was', async () => {
    const { saveGpu: _, ...others } = happy;
    const { actor } = start(bind(dumpMachine, others), input);
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('saving');
    actor.send({ type: 'job.cancel' });
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('failed');
    expect(actor.getSnapshot().context).toMatchObject({
      failure: { code: 'CANCELLED', step: 'save' },
      image: 'absent',
      gates: 'open',
    });
  });

  it('comes back from its persisted snapshot', async () => {
    const { commitImage: _, ...others } = happy;
    const { actor } = start(bind(dumpMachine, others), input);
    await rest(actor);
    const kept = JSON.parse(JSON.stringify(actor.getPersistedSnapshot()));
    const again = createActor(bind(dumpMachine, happy), { input, snapshot: kept } as never);
    again.start();
    await rest(again as never);
    expect(again.getSnapshot().value).toBe('committed');
  });

  it('would be caught saving before the cut is reached', () => {
    const deaf = dumpMachine.provide({ actions: { noteDrained: () => undefined } });
    expect(walk(deaf, options).violations.map((v) => v.invariant)).toContain(
      'the gpu side is saved only behind closed gates at a reached cut',
    );
  });

  it('would be caught leaving the tree frozen', () => {
    const broken = dumpMachine.provide({ guards: { isFrozen: () => false } });
    const names = walk(broken, options).violations.map((v) => v.invariant);
    expect(names).toContain('a failed dump leaves the program running and no image');
  });

  it('refuses to run on a port that was forgotten', async () => {
    const { actor } = start(dumpMachine, input);
    await rest(actor);
    expect(actor.getSnapshot().context.failure.message).toContain('planDump is not provided');
  });
});
