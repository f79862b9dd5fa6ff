// SPDX-License-Identifier: Apache-2.0
// What dump and restore of CUDA programs refuse: the code, the exit code, the words, and that the
// program runs on to the right result with no image left behind.
import { execFileSync } from 'node:child_process';
import {
  appendFileSync,
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { PhosError } from '../../src/errors/phos-error.ts';
import { waitUntil } from '../../src/host/wait.ts';
import { verifyImage } from '../../src/image/verify.ts';
import { whyNoCheckpoint, whyNoMount } from '../support/checkpointing.ts';
import { GpuBench, type Job, programs, ptx, STEP_MS } from '../support/gpu-job.ts';

const missing = await whyNoCheckpoint();
const noMount = whyNoMount();
const STEPS = 20;
const lastLine = `parent ${STEPS - 1} ${(4096 * STEPS * (STEPS + 1)) / 2}`;

describe.skipIf(missing !== null)(`refusals${missing ? ` (skipped: ${missing})` : ''}`, () => {
  let bench: GpuBench;
  let image: string;
  let gate: { readonly path: string; readonly open: () => void };
  beforeEach(async () => {
    bench = await GpuBench.open();
    image = bench.path('image');
    gate = bench.gate();
  });
  afterEach(() => bench.close());

  async function program(): Promise<Job> {
    const job = await bench.run([programs.family, ptx, String(STEPS), '2000', gate.path, 'alone']);
    await job.said('stdout', 3);
    return job;
  }
  async function runsToTheEnd(job: Job): Promise<void> {
    gate.open();
    expect((await job.ended).code).toBe(0);
    expect(job.stdoutLines().at(-2)).toBe(lastLine);
  }
  const dump = (pid: number, dir = image, env = {}) =>
    bench.refused(['dump', String(pid), '--dir', dir], env);
  const nothingLeft = () =>
    readdirSync(bench.phos.folder).filter((name) => name.startsWith('image'));

  test('a phosd that is not there', async () => {
    await bench.phos.must(['stop']);
    expect(await dump(1)).toMatchObject({ code: 'UNAVAILABLE', exitCode: 9 });
    expect(await bench.refused(['restore', image])).toMatchObject({ exitCode: 9 });
    await bench.startPhosd();
  });

  test('a pid that is not there, one without CUDA, and a client that has died', async () => {
    expect(await dump(4_194_303)).toMatchObject({ code: 'NOT_FOUND', exitCode: 6 });
    expect(await dump(process.pid)).toMatchObject({ code: 'NOT_FOUND', exitCode: 6 });
    const job = await program();
    process.kill(job.pid, 'SIGKILL');
    await job.ended;
    expect(await dump(job.pid)).toMatchObject({ code: 'NOT_FOUND', exitCode: 6 });
    expect(nothingLeft()).toEqual([]);
  });

  test('a folder that is not empty, cannot be made, or that nobody may write', async () => {
    const job = await program();
    mkdirSync(image);
    writeFileSync(join(image, 'mine'), 'precious');
    expect(await dump(job.pid)).toMatchObject({ code: 'CONFLICT', exitCode: 10 });
    expect(readFileSync(join(image, 'mine'), 'utf8')).toBe('precious');
    expect(await dump(job.pid, join(image, 'no/such'))).toMatchObject({ code: 'NOT_FOUND' });
    // Not even root makes a folder here.
    const forbidden = await dump(job.pid, '/sys/kernel/phos-image');
    expect(forbidden).toMatchObject({ code: 'PERMISSION', exitCode: 4 });
    await runsToTheEnd(job);
  });

  test.skipIf(noMount !== null)(
    `a full disk, at every part of the image${noMount ? ` (skipped: ${noMount})` : ''}`,
    { timeout: 240_000 },
    async () => {
      const job = await program();
      await bench.dump(job.pid, image, ['--leave-running']);
      const disk = bench.path('disk');
      mkdirSync(disk);
      for (const { part, pages } of fullAt(image)) {
        const size = `size=${pages * 4}k`;
        execFileSync('mount', ['-t', 'tmpfs', '-o', size, 'phos-test', disk]);
        try {
          const refusal = await dump(job.pid, join(disk, 'image'));
          expect({ part, ...refusal }).toMatchObject({ part, code: 'STORAGE', exitCode: 13 });
          expect([part, readdirSync(disk)]).toEqual([part, []]);
        } finally {
          execFileSync('umount', [disk]);
        }
      }
      await runsToTheEnd(job);
    },
  );

  test('CRIU that is missing or too old', async () => {
    const old = bench.path('criu');
    writeFileSync(old, '#!/bin/sh\necho Version: 3.17.1\n');
    chmodSync(old, 0o755);
    for (const [path, code, exitCode] of [
      ['/nonexistent/criu', 'UNAVAILABLE', 9],
      [old, 'UNSUPPORTED', 3],
    ] as const) {
      await bench.phos.must(['stop']);
      await bench.startPhosd({ PHOS_CRIU: path });
      gate = bench.gate();
      const job = await program();
      expect(await dump(job.pid)).toMatchObject({ code, exitCode });
      expect(nothingLeft()).toEqual([]);
      await runsToTheEnd(job);
    }
  });

  test('an image that was altered, cut short, or is of another version', {
    timeout: 240_000,
  }, async () => {
    const job = await program();
    await bench.dump(job.pid, image);
    await job.ended;
    const restore = (folder: string) => bench.refused(['restore', folder]);
    const copy = (name: string): string => {
      execFileSync('cp', ['-a', image, bench.path(name)]);
      return bench.path(name);
    };
    for (const file of filesOf(image)) {
      const path = join(image, file);
      const at = Math.floor(statSync(path).size / 2);
      flipByte(path, at);
      const found = await verifyImage(image, { onProgress: () => undefined, signal: null }).then(
        () => 'nothing',
        (thrown: unknown) => (thrown as PhosError).code,
      );
      expect([file, found]).toEqual([file, expect.stringMatching(/IMAGE_INVALID|UNSUPPORTED/)]);
      flipByte(path, at);
    }
    for (const file of someFilesOf(image)) {
      const altered = copy('altered');
      flipByte(join(altered, file), Math.floor(statSync(join(altered, file)).size / 2));
      const refusal = await restore(altered);
      expect({ file, ...refusal }).toMatchObject({
        file,
        code: expect.stringMatching(/IMAGE_INVALID|UNSUPPORTED/),
      });
      execFileSync('rm', ['-r', altered]);
    }
    const short = copy('short');
    truncateSync(join(short, 'manifest.json'), 100);
    expect(await restore(short)).toMatchObject({ code: 'IMAGE_INVALID', exitCode: 7 });
    const other = copy('other');
    const manifest = readFileSync(join(other, 'manifest.json'), 'utf8');
    writeFileSync(
      join(other, 'manifest.json'),
      manifest.replace(/"version": ?\d+/, '"version": 99'),
    );
    expect(await restore(other)).toMatchObject({ code: 'UNSUPPORTED', exitCode: 3 });
    expect(await restore(bench.path('nowhere'))).toMatchObject({ code: 'NOT_FOUND', exitCode: 6 });
    gate.open();
    const back = await bench.restore(image);
    expect((await back.ended).code).toBe(0);
    expect(back.stdoutLines().at(-2)).toBe(lastLine);
  });

  test('the original still runs: its copy is a conflict', async () => {
    const job = await program();
    await bench.dump(job.pid, image, ['--leave-running']);
    const refusal = await bench.refused(['restore', image]);
    expect(refusal).toMatchObject({ code: 'CONFLICT', exitCode: 10 });
    await runsToTheEnd(job);
  });

  test('a file that has grown since the dump', async () => {
    const file = bench.path('lines.txt');
    const words = [programs.family, ptx, String(STEPS), '2000', gate.path, 'alone'].join(' ');
    const job = await bench.run(['/bin/sh', '-c', `exec ${words} >> ${file}`]);
    const written = () => existsSync(file) && readFileSync(file, 'utf8').split('\n').length >= 3;
    await waitUntil(written, STEP_MS, `${file} got no lines`);
    await bench.dump(job.pid, image);
    await job.ended;
    appendFileSync(file, 'from somebody else\n');
    const refusal = await bench.refused(['restore', image]);
    expect(refusal).toMatchObject({ code: 'CONFLICT', exitCode: 10 });
    expect(refusal.message).toContain(file);
    gate.open();
    const back = await bench.restore(image, ['--truncate']);
    expect((await back.ended).code).toBe(0);
    const lines = readFileSync(file, 'utf8').split('\n').filter(Boolean);
    expect([lines.length, lines.at(-2)]).toEqual([STEPS + 1, lastLine]);
  });
});

/** Every file of an image that has something in it. */
function filesOf(folder: string): string[] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  const files = names.filter((name) => {
    const found = lstatSync(join(folder, name));
    return found.isFile() && found.size > 0;
  });
  expect(files.length).toBeGreaterThan(15);
  return files.sort();
}

/**
 * Sizes of a disk, in pages, that is full while a part of such an image is written: at its
 * beginning and in its middle. The parts are written one after another.
 */
function fullAt(folder: string): { readonly part: string; readonly pages: number }[] {
  const pagesOf = (part: RegExp): number =>
    filesOf(folder)
      .filter((name) => part.test(name))
      .reduce((sum, name) => sum + Math.ceil(statSync(join(folder, name)).size / 4096), 0);
  let before = 0;
  return [/^gpu-0\//, /^cpu\//, /^lib\//].flatMap((part) => {
    const pages = pagesOf(part);
    expect([String(part), pages > 4]).toEqual([String(part), true]);
    const sizes = [before + 1, before + Math.ceil(pages / 2)];
    before += pages;
    return sizes.map((size) => ({ part: String(part), pages: size }));
  });
}

/** One file of each kind, for the whole way through the command line. */
function someFilesOf(folder: string): string[] {
  const kinds = [
    /^job\.json$/,
    /^cpu\/core-/,
    /^cpu\/process\.json$/,
    /^gpu-0\/objects$/,
    /^gpu-0\/data-/,
  ];
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
  const found = kinds.flatMap((kind) => names.find((name) => kind.test(name)) ?? []);
  expect(found).toHaveLength(kinds.length);
  return found;
}

function flipByte(path: string, at: number): void {
  const bytes = readFileSync(path);
  bytes[at] = (bytes[at] ?? 0) ^ 0x40;
  writeFileSync(path, bytes);
}
