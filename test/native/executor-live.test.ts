// SPDX-License-Identifier: Apache-2.0
// A real program over libphos.so and an executor started by hand: its output is that of the sim
// device alone, also when its GPU side is suspended, or saved, killed and loaded elsewhere while
// the program itself lives on.
import {
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { verifyImage } from '../../src/native/native.ts';
import {
  Bench,
  buildFile,
  DEADLINE_MS,
  type RunningExecutor,
} from '../support/executor-process.ts';
import { stepsDigest } from '../support/steps-reference.ts';
import { plainImage } from './support.ts';

/** Unit that data files are laid out in; their header takes the first. */
const PAGE_BYTES = 4096;
const work = { steps: 60, mib: 2, rounds: 4, seed: 7 };
const steps = buildFile('examples/steps/steps');
const args = Object.entries(work).flatMap(([name, value]) => [`--${name}`, String(value)]);
const slowly = [...args, '--pause-ms', '10'];

describe('a program over an executor', () => {
  let bench: Bench;
  let first: RunningExecutor;

  beforeEach(async () => {
    bench = new Bench();
    first = await bench.startExecutor('first');
    bench.aim(first);
  });
  afterEach(() => bench.dispose());

  /** Gate closed, cut read, drained to it. */
  async function cut(executor: RunningExecutor): Promise<bigint> {
    await executor.control.request('gate.close', {}, DEADLINE_MS);
    const { head } = await executor.control.request('ring.head', {}, DEADLINE_MS);
    const params = { cut: head, deadlineMs: 30_000 };
    const drained = await executor.control.request('drain.to', params, DEADLINE_MS);
    expect(drained).toEqual({ reached: true, position: head, waitingFor: null });
    return head;
  }
  async function expectSound(executor: RunningExecutor): Promise<void> {
    const status = await executor.control.request('status', {}, DEADLINE_MS);
    expect(status.lastDeferredError).toBeNull();
    expect(status.deferredErrors).toBe(0n);
    expect(status.contextError).toBe(0);
  }

  test('gives what the device alone gives', async () => {
    const program = bench.run(steps, args);
    const code = await program.ended;
    expect(program.stderr).toContain(`step ${work.steps}/${work.steps} `);
    expect(program.stdout).toBe(`${stepsDigest(work)}\n`);
    expect(code).toBe(0);
    const status = await first.control.request('status', {}, DEADLINE_MS);
    expect(status.deferredErrors).toBe(0n);
    expect(status.commands).toBeGreaterThan(BigInt(work.steps));
    expect(first.notices.map((notice) => notice.event)).toContain('client.attached');
  });

  test('goes on after suspend and resume', async () => {
    const program = bench.run(steps, slowly);
    await program.says('step 10/');
    await cut(first);
    const suspended = await first.control.request('suspend', {}, DEADLINE_MS);
    expect(suspended.deviceBytes).toBeGreaterThan(2n << 20n);
    const held = await first.control.request('status', {}, DEADLINE_MS);
    expect(held.state).toBe('suspended');
    expect(held.deviceBytesReserved).toBe(0n);
    await sleep(100);
    await first.control.request('resume', {}, DEADLINE_MS);
    await first.control.request('gate.open', {}, DEADLINE_MS);
    expect(await program.ended).toBe(0);
    expect(program.stdout).toBe(`${stepsDigest(work)}\n`);
    await expectSound(first);
  });

  test('goes on at another executor after save, kill and load', async () => {
    const directory = `${bench.paths.dir}/image`;
    mkdirSync(directory);
    const program = bench.run(steps, slowly);
    await program.says('step 10/');
    const position = await cut(first);
    const explained = await first.control.request('explain', {}, DEADLINE_MS);
    expect(explained.objects.filter((object) => object.unsaveable !== null)).toEqual([]);
    const save = { directory, parent: null };
    const saved = await first.control.request('save', save, DEADLINE_MS);
    expect(saved.cut).toBe(position);
    expect((await verifyImage(directory, plainImage, () => undefined)).chunks).toBe(saved.chunks);
    await first.control.request('agent.disconnect', { deadlineMs: 20_000 }, DEADLINE_MS);
    first.process.kill('SIGKILL');
    const second = await bench.startExecutor('second');
    if (bench.clientId === null) throw new Error('no client');
    await bench.assign(second, bench.clientId);
    const loaded = await second.control.request('load', { directory }, DEADLINE_MS);
    expect(loaded).toMatchObject({ cut: position, objects: saved.objects, chunks: saved.chunks });
    bench.aim(second);
    bench.reattach();
    while (!second.notices.some((notice) => notice.event === 'client.attached')) await sleep(10);
    await second.control.request('gate.open', {}, DEADLINE_MS);
    expect(await program.ended).toBe(0);
    expect(program.stderr).toContain(`step ${work.steps}/${work.steps} `);
    expect(program.stdout).toBe(`${stepsDigest(work)}\n`);
    await expectSound(second);
  });

  test.each(['snapshot', 'cow'] as const)('is saved in mode %s while it runs on', async (mode) => {
    const directory = `${bench.paths.dir}/image`;
    mkdirSync(directory);
    const program = bench.run(steps, slowly);
    await program.says('step 10/');
    const position = await cut(first);
    const begin = { directory, parent: null, mode, openGate: true, deadlineMs: DEADLINE_MS };
    const begun = await first.control.request('save.begin', begin, DEADLINE_MS);
    expect(begun).toMatchObject({ cut: position, mode, gateMayOpen: true, gateOpened: true });
    expect(begun.driverCalls).toBeLessThanOrEqual(200);
    await expect(first.control.request('save.begin', begin, DEADLINE_MS)).rejects.toMatchObject({
      code: 'CONFLICT',
    });
    const saved = await first.control.request('save.finish', {}, DEADLINE_MS);
    expect(saved).toMatchObject({ cut: position, mode, validationMissed: null });
    expect((await verifyImage(directory, plainImage, () => undefined)).cut).toBe(position);
    expect(await program.ended).toBe(0);
    expect(program.stdout).toBe(`${stepsDigest(work)}\n`);
    await expectSound(first);
  });

  test('a save that is given up leaves the program running', async () => {
    const directory = `${bench.paths.dir}/image`;
    mkdirSync(directory);
    const program = bench.run(steps, slowly);
    await program.says('step 10/');
    await cut(first);
    const begin = {
      directory,
      parent: null,
      mode: 'auto' as const,
      openGate: true,
      deadlineMs: DEADLINE_MS,
    };
    await first.control.request('save.begin', begin, DEADLINE_MS);
    await first.control.request('save.abort', {}, DEADLINE_MS);
    await expect(first.control.request('save.finish', {}, DEADLINE_MS)).rejects.toMatchObject({
      code: 'CONFLICT',
    });
    expect(await program.ended).toBe(0);
    expect(program.stdout).toBe(`${stepsDigest(work)}\n`);
    await expectSound(first);
  });

  test('a save that fails leaves the program running', async () => {
    await bench.dispose();
    bench = new Bench();
    first = await bench.startExecutor('first', { PHOS_FAULT: 'image.write:2:enospc' });
    bench.aim(first);
    const directory = `${bench.paths.dir}/image`;
    mkdirSync(directory);
    const program = bench.run(steps, slowly);
    await program.says('step 10/');
    await cut(first);
    const save = { directory, parent: null };
    await expect(first.control.request('save', save, DEADLINE_MS)).rejects.toMatchObject({
      code: 'STORAGE',
    });
    await first.control.request('gate.open', {}, DEADLINE_MS);
    expect(await program.ended).toBe(0);
    expect(program.stdout).toBe(`${stepsDigest(work)}\n`);
  });

  test('a truncated or altered image is refused and the executor says where', async () => {
    const directory = `${bench.paths.dir}/image`;
    mkdirSync(directory);
    const program = bench.run(steps, slowly);
    await program.says('step 5/');
    await cut(first);
    await first.control.request('save', { directory, parent: null }, DEADLINE_MS);
    const chunks = readFileSync(`${directory}/chunks`);
    truncateSync(`${directory}/chunks`, chunks.length - 1);
    const second = await bench.startExecutor('second');
    await expect(second.control.request('load', { directory }, DEADLINE_MS)).rejects.toMatchObject({
      code: 'IMAGE_INVALID',
      details: { file: `${directory}/chunks` },
    });
    writeFileSync(`${directory}/chunks`, chunks);
    // Which lane saved what is up to the lanes; a lane's first chunk lies behind its header's page.
    const lanes = readdirSync(directory).filter((name) => name.startsWith('data-'));
    const altered = lanes
      .map((name) => `${directory}/${name}`)
      .find((path) => statSync(path).size > PAGE_BYTES);
    if (altered === undefined) throw new Error('the image holds no chunk');
    const data = readFileSync(altered);
    data.writeUInt8(data.readUInt8(PAGE_BYTES) ^ 1, PAGE_BYTES);
    writeFileSync(altered, data);
    const third = await bench.startExecutor('third');
    await expect(third.control.request('load', { directory }, DEADLINE_MS)).rejects.toMatchObject({
      code: 'IMAGE_INVALID',
      details: { file: altered },
    });
  });

  test('a killed program frees the device, and its executor ends', async () => {
    const program = bench.run(steps, slowly);
    await program.says('step 5/');
    program.process.kill('SIGKILL');
    while (!first.notices.some((notice) => notice.event === 'client.lost')) await sleep(5);
    const status = await first.control.request('status', {}, DEADLINE_MS);
    expect(status.state).toBe('lost');
    await first.control.request('exit', {}, DEADLINE_MS);
    await first.control.closed;
  });
});
