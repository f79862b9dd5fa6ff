// SPDX-License-Identifier: Apache-2.0
import { createActor } from 'xstate';
import { describe, expect, it } from 'vitest';
import { dumpInvariants, dumpMachine } from '../../src/machines/dump.machine.ts';
import type { DumpContext, DumpInput } from '../../src/machines/dump-parts.ts';
import { leafState } from '../../src/machines/leaf-state.ts';
import { defaultJobLimits } from '../../src/machines/job-limits.ts';
import { PhosError } from '../../src/errors/phos-error.ts';
import { bind, rest, start, type Answer } from './run.ts';
import { randomRuns, stateNames, walk, type WalkOptions } from './walk.ts';

const input: DumpInput = {
  jobId: 'j00000001',
  rootPid: 42,
  directory: '/images/one',
  leaveRunning: false,
  gpuOnly: false,
  maxStallMs: null,
  limits: { ...defaultJobLimits, maxCuts: 2 },
};
const failure = { code: 'NOT_FOUND', message: 'the client ended', step: 'x', retryable: false };
const plan = { clients: ['a', 'b'], stallMs: 10, stopModeStallMs: 40 };
// Guards and invariants ask whether there was a failure, not which.
const essence = (context: DumpContext) => ({
  ...context,
  waitingFor: null,
  failure: context.failure !== null,
  unrepaired: context.unrepaired.length > 0,
});
const options: WalkOptions<never> = {
  input,
  outputs: {
    planDump: [plan],
    closeGates: [{ a: '64', b: '128' }],
    drainToCuts: [
      { reached: true, waitingFor: null },
      { reached: false, waitingFor: 'spin' },
    ],
    beginSave: [{ mayOpen: true }, { mayOpen: false }],
    finishSave: [{ missed: null }, { missed: 'scatter' }],
    openGates: [{ heldMs: 20 }, { heldMs: 80 }],
    reopenGates: [{ heldMs: 20 }],
  },
  events: [{ type: 'job.cancel' }, { type: 'job.fail', failure }],
  invariants: dumpInvariants as never,
  limit: 20_000,
  essence: essence as never,
};
const happy: Record<string, Answer> = {
  planDump: () => plan,
  closeGates: () => ({ a: '64', b: '128' }),
  drainToCuts: () => ({ reached: true, waitingFor: null }),
  openGates: () => ({ heldMs: 20 }),
  beginSave: () => ({ mayOpen: true }),
  finishSave: () => ({ missed: null }),
  abortSave: () => undefined,
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
  const opened = ['thawing', 'reattaching', 'opening'];
  const cpuSide = ['disconnecting', 'cpuDumping', 'thawing', 'reattaching'];
  it.each([
    ['ends the tree', {}, [...opened.slice(0, 2), 'holding', 'opening']],
    ['goes on', { leaveRunning: true }, ['endingTree']],
    ['goes on under a contract', { leaveRunning: true, maxStallMs: 50 }, ['endingTree']],
    [
      'is a pre-dump',
      { gpuOnly: true, maxStallMs: 50 },
      [...cpuSide, 'endingTree', 'rethawing', 'readmitting'],
    ],
  ])('holds its invariants in every state when it %s', (_, given, unreachable) => {
    const result = walk(dumpMachine, { ...options, input: { ...input, ...given } });
    expect(result.violations).toEqual([]);
    expect(result.states).toBeGreaterThan(100);
    const missed = stateNames(dumpMachine).filter((name) => !result.reached.has(name));
    expect(missed).toEqual(unreachable);
  });

  it('holds its invariants in long random runs', () => {
    randomRuns(dumpMachine, options);
    const contract = { ...input, leaveRunning: true, maxStallMs: 50 };
    randomRuns(dumpMachine, { ...options, input: contract });
  });

  it.each([
    ['planDump', input.limits.planMs],
    ['closeGates', input.limits.gateMs],
    ['drainToCuts', input.limits.drainMs + input.limits.marginMs],
    ['beginSave', input.limits.saveMs],
    ['finishSave', input.limits.saveMs],
    ['disconnectAgents', input.limits.disconnectMs + input.limits.marginMs],
    ['dumpCpu', input.limits.cpuDumpMs],
    ['commitImage', input.limits.commitMs],
    ['thawTree', input.limits.thawMs],
    ['reattachAgents', input.limits.reattachMs],
    ['openGates', input.limits.gateMs],
  ])('takes everything back when %s never answers', async (silent, deadlineMs) => {
    const { [silent]: _, ...others } = happy;
    // A program that goes on is let go before the commit; then the way back may stay as silent.
    const isLetGo = ['thawTree', 'reattachAgents', 'openGates'].includes(silent);
    const given = { ...input, leaveRunning: isLetGo };
    const { actor, clock } = start(bind(dumpMachine, others), given);
    await rest(actor);
    clock.increment(deadlineMs - 1);
    await rest(actor);
    expect(actor.getSnapshot().status).toBe('active');
    clock.increment(1);
    await rest(actor);
    if (isLetGo) {
      clock.increment(deadlineMs);
      await rest(actor);
    }
    expect(actor.getSnapshot().value).toBe('failed');
    expect(actor.getSnapshot().context).toMatchObject({
      failure: { code: 'TIMEOUT' },
      image: 'absent',
    });
    expect(actor.getSnapshot().context.unrepaired).toHaveLength(isLetGo ? 1 : 0);
  });

  it.each([
    ['settle', input.limits.settleMs],
    ['abortSave', input.limits.settleMs],
    ['thawTree', input.limits.thawMs],
    ['reattachAgents', input.limits.reattachMs],
    ['openGates', input.limits.gateMs],
    ['discardImage', input.limits.discardMs],
  ])('goes on with the way back when %s never answers', async (silent, deadlineMs) => {
    const { [silent]: _, ...others } = happy;
    const failing = silent === 'abortSave' ? 'finishSave' : 'commitImage';
    const full = () => Promise.reject(new PhosError('STORAGE', 'no space left'));
    const { actor, clock } = start(bind(dumpMachine, { ...others, [failing]: full }), input);
    await rest(actor);
    clock.increment(deadlineMs);
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('failed');
    const context = actor.getSnapshot().context;
    expect(context.failure).toMatchObject({ code: 'STORAGE' });
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
    const { finishSave: _, ...others } = happy;
    const { actor } = start(bind(dumpMachine, others), input);
    await rest(actor);
    expect(actor.getSnapshot().value).toEqual({ streaming: 'awaiting' });
    actor.send({ type: 'job.cancel' });
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('failed');
    expect(actor.getSnapshot().context).toMatchObject({
      failure: { code: 'CANCELLED', step: 'stream' },
      image: 'absent',
      save: 'none',
      gates: 'open',
    });
  });

  it('lets a program go on while its bytes still stream, and commits after the last', async () => {
    const { finishSave: _, ...others } = happy;
    const { actor } = start(bind(dumpMachine, others), { ...input, leaveRunning: true });
    await rest(actor);
    expect(leafState(actor.getSnapshot().value)).toBe('awaiting');
    expect(actor.getSnapshot().context).toMatchObject({
      tree: 'running',
      agents: 'attached',
      gates: 'open',
      image: 'partial',
    });
    actor.send({ type: 'xstate.done.actor.finishSave', output: { missed: null } });
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('committed');
  });

  it('keeps gates closed until the last byte when nothing was put aside', async () => {
    const { finishSave: _, ...others } = happy;
    const answers = { ...others, beginSave: () => ({ mayOpen: false }) };
    const { actor } = start(bind(dumpMachine, answers), { ...input, leaveRunning: true });
    await rest(actor);
    expect(leafState(actor.getSnapshot().value)).toBe('holding');
    expect(actor.getSnapshot().context.gates).toBe('closed');
    actor.send({ type: 'xstate.done.actor.finishSave', output: { missed: null } });
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('committed');
  });

  it('does a spoiled cut again in mode stop, once, then names the kernel', async () => {
    const asked: (string | null)[] = [];
    const saves = (misses: number) => ({
      ...happy,
      beginSave: ({ missed }: DumpContext) => {
        asked.push(missed);
        return { mayOpen: missed === null };
      },
      finishSave: () => ({ missed: asked.length <= misses ? 'scatter' : null }),
    });
    const given = { ...input, leaveRunning: true };
    const once = start(bind(dumpMachine, saves(1) as never), given).actor;
    await rest(once);
    expect(once.getSnapshot().value).toBe('committed');
    expect(asked.splice(0)).toEqual([null, 'scatter']);
    const twice = start(bind(dumpMachine, saves(2) as never), given).actor;
    await rest(twice);
    expect(twice.getSnapshot().value).toBe('failed');
    expect(asked).toEqual([null, 'scatter']);
    expect(twice.getSnapshot().context.failure.message).toContain('scatter');
    expect(twice.getSnapshot().context).toMatchObject({ image: 'absent', gates: 'open' });
  });

  it('does not do it again where mode stop would break the contract', async () => {
    const answers = { ...happy, finishSave: () => ({ missed: 'scatter' }) };
    const given = { ...input, leaveRunning: true, maxStallMs: plan.stopModeStallMs - 1 };
    const { actor } = start(bind(dumpMachine, answers), given);
    await rest(actor);
    expect(actor.getSnapshot().context.failure).toMatchObject({ code: 'CONFLICT' });
    expect(actor.getSnapshot().context.failure.message).toContain('--max-stall');
  });

  it('fails before the commit when the program was held for too long, and it runs on', async () => {
    const answers = { ...happy, openGates: () => ({ heldMs: 80 }) };
    const given = { ...input, leaveRunning: true, maxStallMs: 50 };
    const { actor } = start(bind(dumpMachine, answers), given);
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('failed');
    const { context } = actor.getSnapshot();
    expect(context.failure).toMatchObject({ code: 'CONFLICT', step: 'open' });
    expect(context.failure.message).toContain('80.0 ms');
    expect(context).toMatchObject({ tree: 'running', gates: 'open', image: 'absent' });
  });

  it('hears a cancel while a spoiled cut is taken back', async () => {
    const { abortSave: _, ...others } = happy;
    const answers = { ...others, finishSave: () => ({ missed: 'scatter' }) };
    const { actor } = start(bind(dumpMachine, answers), { ...input, leaveRunning: true });
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('abortingSave');
    actor.send({ type: 'job.cancel' });
    actor.send({ type: 'xstate.done.actor.abortSave', output: undefined });
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('failed');
    expect(actor.getSnapshot().context.failure).toMatchObject({ code: 'CANCELLED' });
  });

  it('saves the device alone for a pre-dump', async () => {
    const seen: string[] = [];
    const answers = Object.fromEntries(
      Object.entries(happy).map(([name, answer]) => [
        name,
        (context: never) => {
          seen.push(name);
          return answer(context);
        },
      ]),
    );
    const { actor } = start(bind(dumpMachine, answers), { ...input, gpuOnly: true });
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('committed');
    expect(seen).toEqual([
      'planDump',
      'closeGates',
      'drainToCuts',
      'beginSave',
      'finishSave',
      'openGates',
      'commitImage',
    ]);
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
      'the gpu side is held only behind closed gates at a reached cut',
    );
  });

  it('would be caught leaving the tree frozen', () => {
    const broken = dumpMachine.provide({ guards: { isFrozen: () => false } });
    const names = walk(broken, options).violations.map((v) => v.invariant);
    expect(names).toContain('a failed dump leaves the program running, no save and no image');
  });

  it('would be caught forgetting the saves of its executors', () => {
    const broken = dumpMachine.provide({ guards: { isSaving: () => false } });
    const names = walk(broken, options).violations.map((v) => v.invariant);
    expect(names).toContain('a failed dump leaves the program running, no save and no image');
  });

  it('would be caught committing after a broken contract', () => {
    const given = { ...options, input: { ...input, leaveRunning: true, maxStallMs: 50 } };
    const lax = dumpMachine.provide({ guards: { isOverrun: () => false } });
    const names = walk(lax, given).violations.map((v) => v.invariant);
    expect(names).toContain('a broken contract is never committed');
  });

  it('would be caught opening gates over memory that is not put aside', () => {
    const hasty = dumpMachine.provide({ guards: { mayOpen: () => true } });
    const given = { ...options, input: { ...input, leaveRunning: true } };
    const names = walk(hasty, given).violations.map((v) => v.invariant);
    expect(names).toContain('gates open only over what was put aside or is saved');
  });

  it('refuses to run on a port that was forgotten', async () => {
    const { actor } = start(dumpMachine, input);
    await rest(actor);
    expect(actor.getSnapshot().context.failure.message).toContain('planDump is not provided');
  });
});
