// SPDX-License-Identifier: Apache-2.0
// Programs that use a device through phos: attach, ps, suspend and resume, and a phosd that dies.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { finish, isRunning, stepLines, TestPhos, until } from '../support/control.ts';

const MIB4 = 4 << 20;

describe('clients', () => {
  const phos = new TestPhos();
  beforeAll(async () => {
    await phos.json('start');
  });
  afterAll(() => phos.close());

  it('are shown, and leave nothing behind', async () => {
    const { command, pid, stopFile } = await phos.memorySteps();
    const { clients, runs } = await phos.ps();
    expect(clients).toHaveLength(1);
    expect(clients[0]).toMatchObject({ pid, state: 'running', deviceBytes: MIB4 });
    expect(clients[0]?.jobId).toBe(runs[0]?.jobId);
    const executorPid = clients[0]?.executorPid ?? 0;
    expect(isRunning(executorPid)).toBe(true);
    const last = await finish(command, stopFile);
    expect(command.lines().slice(0, -1)).toEqual(stepLines(1, last));
    await until('the end of its executor', () => !isRunning(executorPid));
    await until('the end of its client', async () => (await phos.ps()).clients.length === 0);
    await until('a full pool', async () => {
      const { devices } = await phos.json<{ devices: { warmExecutors: number }[] }>('status');
      return devices[0]?.warmExecutors === 1;
    });
  });

  it('explain what they hold', async () => {
    const { command, target } = await phos.memorySteps();
    const { clients, plan } = await phos.json<{
      clients: {
        objects: { bytes: number; unsaveable: string | null }[];
        suspend: { movesBytes: number };
      }[];
      plan: { clients: { mode: string; holdMs: number }[]; stallMs: number; stopMs: number };
    }>('explain', target);
    const sizes = clients[0]?.objects.map((one) => one.bytes).filter((bytes) => bytes > 0);
    expect(sizes).toEqual([1 << 20, 1 << 20, 1 << 20, 1 << 20]);
    expect(clients[0]?.suspend.movesBytes).toBe(MIB4);
    expect(clients[0]?.objects.every((one) => one.unsaveable === null)).toBe(true);
    expect(plan).toMatchObject({ deviceBytes: MIB4, refusal: null });
    expect(plan.clients).toHaveLength(1);
    expect(plan.stallMs).toBeGreaterThanOrEqual(plan.stopMs + (plan.clients[0]?.holdMs ?? 0));
    expect(
      await phos.json('explain', '--pid', target, '--max-stall', '1ms', '--pre-dump'),
    ).toMatchObject({ plan: { stopMs: 0, refusal: expect.stringContaining('--max-stall') } });
    expect(await phos.failure('explain', target, '--mode', 'fast')).toMatchObject({ exit: 2 });
    command.child.kill('SIGTERM');
    expect((await command.ended).code).toBe(143);
  });

  it('stand still while they are suspended, and go on where they were', async () => {
    const { command, target, stopFile } = await phos.memorySteps();
    const out = await phos.json<{ deviceBytes: number }>('suspend', target);
    expect(out.deviceBytes).toBe(MIB4);
    const standing = command.lines().length;
    expect((await phos.ps()).clients[0]?.state).toBe('suspended');
    expect(await phos.failure('suspend', target)).toMatchObject({ exit: 10, code: 'CONFLICT' });
    // One line may have been on its way; a program at its gate prints no other.
    expect(command.lines().length).toBeLessThanOrEqual(standing + 1);
    expect(await phos.json('resume', target)).toMatchObject({ deviceBytes: MIB4 });
    expect(await phos.failure('resume', target)).toMatchObject({ exit: 10, code: 'CONFLICT' });
    await command.untilLines(standing + 10);
    const last = await finish(command, stopFile);
    expect(command.lines().slice(0, -1)).toEqual(stepLines(1, last));
  });

  it('outlive phosd, which finds them again', async () => {
    const { command, pid, target, stopFile } = await phos.memorySteps();
    const [before] = (await phos.ps()).clients;
    await phos.crash();
    expect(await phos.failure('ps')).toMatchObject({ exit: 9, code: 'UNAVAILABLE' });
    await command.untilLines(command.lines().length + 20);
    await phos.json('start');
    const { clients, runs } = await phos.ps();
    const { clientId, executorId, executorPid, jobId } = before ?? {};
    expect(clients).toMatchObject([{ clientId, executorId, executorPid, jobId, pid }]);
    expect(runs).toMatchObject([{ pid }]);

    await phos.json('suspend', target);
    await phos.crash();
    await phos.json('start');
    expect((await phos.ps()).clients[0]?.state).toBe('suspended');
    await phos.json('resume', target);
    await command.untilLines(command.lines().length + 20);
    const last = await finish(command, stopFile);
    expect(command.lines().slice(0, -1)).toEqual(stepLines(1, last));
  });

  it('go on under --keep-clients, and end with --force', async () => {
    const { command, pid } = await phos.memorySteps();
    expect((await phos.run('stop', '--keep-clients')).code).toBe(0);
    await command.untilLines(command.lines().length + 20);
    await phos.json('start');
    expect((await phos.ps()).clients).toMatchObject([{ pid }]);
    expect((await phos.run('stop', '--force')).code).toBe(0);
    expect((await command.ended).code).toBe(137);
    expect(isRunning(pid)).toBe(false);
    await phos.json('start');
  });

  it('are not there by a wrong name', async () => {
    for (const target of ['999999999', String(process.pid), 'k00000000']) {
      expect(await phos.failure('suspend', target)).toMatchObject({ exit: 6, code: 'NOT_FOUND' });
    }
  });
});
