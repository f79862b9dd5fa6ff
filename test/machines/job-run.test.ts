// SPDX-License-Identifier: Apache-2.0
import { describe, expect, it } from 'vitest';
import { createActor } from 'xstate';
import { PhosError } from '../../src/errors/phos-error.ts';
import { type RunInput, runInvariants, runMachine } from '../../src/machines/run.machine.ts';
import { brokenBy, itObeysTheLaws, type Laws } from './laws.ts';
import { type Answer, bind, rest, start } from './run.ts';

const input: RunInput = { keeperId: 'k00000001', found: false, startMs: 1_000, endMs: 2_000 };
const exited = { code: 3, signal: null };
const laws: Laws = {
  input,
  outputs: { findKeeper: [{ status: null }, { status: exited }] },
  events: [
    { type: 'program.exited', status: exited },
    { type: 'keeper.lost' },
    { type: 'run.end' },
  ],
  invariants: runInvariants,
  limit: 500,
  atLeast: 5,
  unreachable: ['finding'],
};
const happy: Record<string, Answer> = {
  startKeeper: () => undefined,
  findKeeper: () => ({ status: null }),
  endKeeper: () => undefined,
};

describe('run machine', () => {
  itObeysTheLaws(runMachine, laws, 'when started');
  itObeysTheLaws(
    runMachine,
    { ...laws, input: { ...input, found: true }, unreachable: ['starting'] },
    'when found',
  );

  it.each([
    ['startKeeper', false, input.startMs, 'ended'],
    ['findKeeper', true, input.startMs, 'lost'],
    ['endKeeper', false, input.endMs, 'ended'],
  ])('ends when %s never answers', async (silent, found, deadlineMs, last) => {
    const { [silent]: _, ...others } = happy;
    const { actor, clock } = start(bind(runMachine, others), { ...input, found });
    await rest(actor);
    actor.send({ type: 'program.exited', status: exited });
    clock.increment(deadlineMs);
    await rest(actor);
    expect(actor.getSnapshot().value).toBe(last);
    expect(actor.getSnapshot().context.failure).toMatchObject({ code: 'TIMEOUT' });
  });

  it('ends with the status of the program', async () => {
    const { actor } = start(bind(runMachine, happy), input);
    await rest(actor);
    actor.send({ type: 'program.exited', status: exited });
    await rest(actor);
    expect(actor.getSnapshot().value).toBe('ended');
    expect(actor.getSnapshot().context.status).toEqual(exited);
  });

  it('is lost with its keeper', async () => {
    const { actor } = start(bind(runMachine, happy), input);
    await rest(actor);
    actor.send({ type: 'keeper.lost' });
    expect(actor.getSnapshot().value).toBe('lost');
  });

  it('tells why nothing was started', async () => {
    const startKeeper = () => Promise.reject(new PhosError('NOT_FOUND', 'no such program'));
    const { actor } = start(bind(runMachine, { ...happy, startKeeper }), input);
    await rest(actor);
    expect(actor.getSnapshot().context.failure).toMatchObject({ code: 'NOT_FOUND' });
  });

  it('comes back from its persisted snapshot', async () => {
    const { actor } = start(bind(runMachine, happy), input);
    await rest(actor);
    const snapshot = JSON.parse(JSON.stringify(actor.getPersistedSnapshot()));
    const again = createActor(bind(runMachine, happy), { input, snapshot } as never);
    again.start();
    expect(again.getSnapshot().value).toBe('running');
  });

  it('would be caught leaving a keeper behind', () => {
    const broken = runMachine.provide({ actions: { noteGone: () => undefined } });
    expect(brokenBy(broken, laws)).toContain('no keeper is left alive behind an ended job');
  });
});
