// SPDX-License-Identifier: Apache-2.0
// Every mode of a dump with a real process, while its kernels write the memory that is being saved:
// the program compares every byte of its device memory at each step, before and after a restore.
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { whyNoCheckpoint } from '../support/checkpointing.ts';
import { built, type Command, stepLines, TestPhos } from '../support/control.ts';

const why = await whyNoCheckpoint();
const MIB = 4;
/** Device memory of the program: three buffers, and one chunk for small allocations. */
const DEVICE_BYTES = (3 * MIB + 2) << 20;

interface Answer {
  readonly modes: readonly string[];
  readonly deviceBytes: number;
  readonly stallMs: number;
  readonly stopMs: number;
  readonly holdMs: number;
  readonly warnings: readonly string[];
  readonly stages: readonly { readonly stage: string; readonly bytes: number }[];
}

const bytesOf = ({ stages }: Answer, stage: string): number =>
  Number(stages.find((one) => one.stage === stage)?.bytes ?? 0);

describe.skipIf(why !== null)(`modes of a dump${why === null ? '' : ` (skipped: ${why})`}`, () => {
  const phos = new TestPhos();
  const holds = join(phos.folder, 'holds');
  // Both stand still for as long as a test says so.
  phos.env['PHOS_FAULT'] = 'save.copy:0:hold,snapshot.copy:0:hold';
  phos.env['PHOS_FAULT_HOLD'] = holds;
  let images = 0;
  let programs = 0;

  beforeAll(async () => {
    mkdirSync(holds);
    await phos.json('start');
  });
  afterAll(() => phos.close());

  const newImage = (): string => {
    images += 1;
    return join(phos.folder, `image-${images}`);
  };
  const hold = (point: string): void => writeFileSync(join(holds, point), '');
  const letGo = (point: string): void => rmSync(join(holds, point));

  async function start(how: 'plain' | 'hidden') {
    programs += 1;
    const stopFile = join(phos.folder, `stop-${programs}`);
    const command = phos.begin(
      'run',
      '--',
      built('test/subjects/writer'),
      String(MIB),
      how,
      '2000',
      stopFile,
    );
    await command.untilLines(3);
    const { runs } = await phos.ps();
    return { command, target: runs[0]?.jobId ?? '', stopFile };
  }

  const more = (command: Command, lines: number): Promise<void> =>
    command.untilLines(command.lines().length + lines);

  /** Lets the program end by itself. @returns its last step */
  async function finish(command: Command, stopFile: string): Promise<number> {
    writeFileSync(stopFile, '');
    const { code, stderr } = await command.ended;
    expect([code, stderr.replace(/^.*left (open|behind).*$/m, '').trim()]).toEqual([0, '']);
    rmSync(stopFile);
    expect(command.lines().at(-1)).toBe('whole');
    return command.lines().length - 1;
  }

  /** Restores an image of a program that went on: it repeats what came after the cut. */
  async function comesBack(image: string, stopFile: string): Promise<void> {
    const restored = phos.begin('restore', image, '-q');
    await restored.untilLines(5);
    const from = Number(restored.lines()[0]?.replace('step ', ''));
    expect(from).toBeGreaterThan(3);
    const count = await finish(restored, stopFile);
    expect(restored.lines().slice(0, -1)).toEqual(stepLines(from, from + count - 1));
  }

  /** A dump whose first byte is read only when the program has gone on for a while. */
  async function dumpBeside(command: Command, ...args: readonly string[]): Promise<Answer> {
    hold('save.copy');
    const dump = phos.begin(...args, '--json');
    await dump.untilSays('phos: open:');
    await more(command, 5);
    letGo('save.copy');
    const { code, stdout, stderr } = await dump.ended;
    expect([code, code === 0 ? '' : stdout + stderr]).toEqual([0, '']);
    return JSON.parse(stdout) as Answer;
  }

  it('snapshot: the image is of the cut, whatever the program writes meanwhile', async () => {
    const { command, target, stopFile } = await start('hidden');
    const image = newImage();
    const how = ['--dir', image, '--mode', 'snapshot', '--leave-running'];
    const dumped = await dumpBeside(command, 'dump', target, ...how);
    expect(dumped).toMatchObject({ modes: ['snapshot'], warnings: [] });
    expect(Number(dumped.deviceBytes)).toBe(DEVICE_BYTES);
    const last = await finish(command, stopFile);
    expect(command.lines().slice(0, -1)).toEqual(stepLines(1, last));
    await comesBack(image, stopFile);
  });

  it('cow: what the program is about to write is copied aside first', async () => {
    const { command, target, stopFile } = await start('plain');
    const image = newImage();
    const how = ['--dir', image, '--mode', 'cow', '--leave-running'];
    const dumped = await dumpBeside(command, 'dump', target, ...how);
    expect(dumped).toMatchObject({ modes: ['cow'], warnings: [] });
    await finish(command, stopFile);
    await comesBack(image, stopFile);
  });

  it('cow: a write that nothing foretold costs the cut; another one is taken', async () => {
    const { command, target, stopFile } = await start('hidden');
    const image = newImage();
    const how = ['--dir', image, '--mode', 'cow', '--leave-running'];
    const dumped = await dumpBeside(command, 'dump', target, ...how);
    expect(dumped.modes).toEqual(['stop']);
    expect(dumped.warnings.join()).toContain('stir_through');
    const last = await finish(command, stopFile);
    expect(command.lines().slice(0, -1)).toEqual(stepLines(1, last));
    await comesBack(image, stopFile);
  });

  it('auto: chooses, and on a device with room copies; the program may end with it', async () => {
    const { command, target, stopFile } = await start('hidden');
    const image = newImage();
    const dumped = await phos.json<Answer>('dump', target, '--dir', image, '-q');
    expect(dumped).toMatchObject({ modes: ['snapshot'], warnings: [] });
    expect((await command.ended).code).toBe(137);
    const restored = phos.begin('restore', image, '-q');
    await restored.untilLines(5);
    const last = await finish(restored, stopFile);
    const lines = [...command.lines(), ...restored.lines().slice(0, -1)];
    expect(lines).toEqual(stepLines(1, lines.length));
    expect(last).toBeGreaterThan(4);
  });

  it('a program that was held for longer than --max-stall runs on, without an image', async () => {
    const { command, target, stopFile } = await start('plain');
    const image = newImage();
    hold('snapshot.copy');
    const limit = ['--max-stall', '1500ms', '--mode', 'snapshot', '--json'];
    const dump = phos.begin('pre-dump', target, '--dir', image, ...limit);
    await dump.untilSays('phos: drain:');
    await passes(1_600);
    letGo('snapshot.copy');
    const { code, stdout } = await dump.ended;
    expect(code).toBe(10);
    expect(stdout).toContain('--max-stall');
    expect([existsSync(image), existsSync(`${image}.partial`)]).toEqual([false, false]);
    await more(command, 5);
    const last = await finish(command, stopFile);
    expect(command.lines().slice(0, -1)).toEqual(stepLines(1, last));
  });

  it('a pre-dump makes the dump smaller that builds on it', async () => {
    const { command, target, stopFile } = await start('plain');
    const [early, image] = [newImage(), newImage()];
    const pre = ['--dir', early, '--mode', 'cow'];
    const first = await dumpBeside(command, 'pre-dump', target, ...pre);
    expect([first.modes, first.stopMs]).toEqual([['cow'], 0]);
    expect(bytesOf(first, 'to host')).toBeGreaterThanOrEqual(DEVICE_BYTES);
    expect(bytesOf(first, 'stream')).toBeGreaterThan(3 * MIB * 0.9 * (1 << 20));
    expect(await phos.failure('restore', early)).toMatchObject({ code: 'IMAGE_INVALID' });
    const how = ['--dir', image, '--prev', early, '--mode', 'snapshot', '--leave-running'];
    const second = await dumpBeside(command, 'dump', target, ...how);
    // A third of the memory is never written again: it is neither moved nor stored.
    for (const stage of ['to host', 'stream']) {
      expect(bytesOf(first, stage) - bytesOf(second, stage)).toBeGreaterThanOrEqual(MIB << 20);
    }
    await finish(command, stopFile);
    expect((await phos.run('image', 'verify', image)).code).toBe(0);
    await comesBack(image, stopFile);
  });
});

/** Time itself is what this is about: the program must have been held for longer than it allows. */
function passes(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
