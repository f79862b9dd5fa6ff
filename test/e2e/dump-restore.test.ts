// SPDX-License-Identifier: Apache-2.0
// Dump and restore of a program with device memory, through the command line. The program judges
// its memory itself at every step; the test counts its lines.
import { existsSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { whyNoCheckpoint } from '../support/checkpointing.ts';
import { finish, stepLines, TestPhos } from '../support/control.ts';

const why = await whyNoCheckpoint();

interface DumpAnswer {
  readonly deviceBytes: number;
  readonly imageBytes: number;
  readonly stallMs: number;
  readonly stopMs: number;
  readonly warnings: readonly string[];
  readonly stages: readonly { readonly stage: string; readonly bytes: number }[];
}

describe.skipIf(why !== null)(`dump and restore${why === null ? '' : ` (skipped: ${why})`}`, () => {
  const phos = new TestPhos();
  let images = 0;
  const newImage = (): string => {
    images += 1;
    return join(phos.folder, `image-${images}`);
  };
  beforeAll(async () => {
    await phos.json('start');
  });
  afterAll(() => phos.close());

  it('bring a program back at the step where it was, and it never notices', async () => {
    const { command, target, stopFile } = await phos.memorySteps();
    const image = newImage();
    const dumped = await phos.json<DumpAnswer>('dump', target, '--dir', image, '-q');
    expect(dumped.deviceBytes).toBe(4 << 20);
    expect(dumped.warnings).toEqual([]);
    expect(dumped.stopMs).toBeGreaterThan(0);
    expect(dumped.stallMs).toBeGreaterThanOrEqual(dumped.stopMs);
    const saved = dumped.stages.find((one) => one.stage === 'stream');
    expect(saved?.bytes).toBeGreaterThan(0);
    const killed = await command.ended;
    expect(killed.code).toBe(137);
    expect(killed.stderr).toContain('checkpointed to');
    expect((await phos.run('image', 'verify', image)).code).toBe(0);

    const restored = phos.begin('restore', image, '-q');
    await restored.untilLines(20);
    const last = await finish(restored, stopFile);
    const lines = [...command.lines(), ...restored.lines().slice(0, -1)];
    expect(lines).toEqual(stepLines(1, last));
    rmSync(stopFile);

    // An image is not used up: the same again from the same step.
    const again = phos.begin('restore', image, '-q');
    await again.untilLines(5);
    expect(again.lines()[0]).toBe(restored.lines()[0]);
    await finish(again, stopFile);
  });

  it('leave a program running when asked to, which can be dumped again', async () => {
    const { command, target, stopFile } = await phos.memorySteps();
    const image = newImage();
    await phos.json('dump', target, '--dir', image, '--leave-running', '-q');
    await command.untilLines(command.lines().length + 10);
    expect((await phos.ps()).clients).toMatchObject([{ state: 'running' }]);
    await phos.json('dump', target, '--dir', newImage(), '--leave-running', '-q');
    expect(await phos.failure('restore', image)).toMatchObject({ exit: 10, code: 'CONFLICT' });
    const last = await finish(command, stopFile);
    expect(command.lines().slice(0, -1)).toEqual(stepLines(1, last));
  });

  it('refuse what would lose something, and lose nothing', async () => {
    const { command, target, stopFile } = await phos.memorySteps();
    const image = newImage();
    mkdirSync(image);
    writeFileSync(join(image, 'mine'), 'x');
    expect(await phos.failure('dump', target, '--dir', image)).toMatchObject({
      exit: 10,
      code: 'CONFLICT',
    });
    expect(await phos.failure('dump', '999999999', '--dir', newImage())).toMatchObject({ exit: 6 });
    expect(await phos.failure('dump', target, '--dir', join(image, 'no', 'such'))).toMatchObject({
      exit: 6,
      code: 'NOT_FOUND',
    });
    const one = newImage();
    const executorPid = (await phos.ps()).clients[0]?.executorPid ?? 0;
    expect(executorPid).toBeGreaterThan(1);
    const first = phos.begin('dump', target, '--dir', one, '--leave-running');
    await first.untilSays('plan:');
    // The first may not end before the second begins, so its executor stands still meanwhile.
    process.kill(executorPid, 'SIGSTOP');
    const second = await phos.failure('dump', target, '--dir', newImage()).finally(() => {
      process.kill(executorPid, 'SIGCONT');
    });
    expect([second.code, (await first.ended).code]).toEqual(['CONFLICT', 0]);
    expect(readFileSync(join(image, 'mine'), 'utf8')).toBe('x');
    const last = await finish(command, stopFile);
    expect(command.lines().slice(0, -1)).toEqual(stepLines(1, last));
  });

  it('can be cancelled, and everything is as it was', async () => {
    const { command, target, stopFile } = await phos.memorySteps();
    const image = newImage();
    const dump = phos.begin('dump', target, '--dir', image);
    await dump.untilSays('disconnect:');
    dump.child.kill('SIGINT');
    expect((await dump.ended).code).toBe(130);
    expect([existsSync(image), existsSync(`${image}.partial`)]).toEqual([false, false]);
    await command.untilLines(command.lines().length + 10);
    await phos.json('dump', target, '--dir', image, '--leave-running', '-q');
    const last = await finish(command, stopFile);
    expect(command.lines().slice(0, -1)).toEqual(stepLines(1, last));
  });

  it('survive a phosd that is killed in the middle', async () => {
    const { command, target, stopFile } = await phos.memorySteps();
    const image = newImage();
    const dump = phos.begin('dump', target, '--dir', image);
    await dump.untilSays('disconnect:');
    await phos.crash();
    expect((await dump.ended).code).toBe(9);
    await phos.json('start');
    await command.untilLines(command.lines().length + 10);
    expect(existsSync(image)).toBe(false);
    await phos.json('dump', target, '--dir', newImage(), '--leave-running', '-q');
    expect(existsSync(`${image}.partial`)).toBe(false);
    const last = await finish(command, stopFile);
    expect(command.lines().slice(0, -1)).toEqual(stepLines(1, last));
  });

  it('refuse a damaged image before anything is started', async () => {
    const { command, target } = await phos.memorySteps();
    const image = newImage();
    await phos.json('dump', target, '--dir', image, '-q');
    await command.ended;
    const chunks = join(image, 'gpu-0', 'chunks');
    const whole = readFileSync(chunks);
    truncateSync(chunks, whole.length - 1);
    expect(await phos.failure('restore', image)).toMatchObject({ exit: 7, code: 'IMAGE_INVALID' });
    writeFileSync(chunks, whole);
    const data = join(image, 'gpu-0', 'data-0');
    const bytes = readFileSync(data);
    bytes.writeUInt8(bytes.readUInt8(100) ^ 1, 100);
    writeFileSync(data, bytes);
    expect(await phos.failure('image', 'verify', image)).toMatchObject({ exit: 7 });
    expect(await phos.failure('restore', image)).toMatchObject({ exit: 7, code: 'IMAGE_INVALID' });
    expect((await phos.ps()).clients).toEqual([]);
  });
});
