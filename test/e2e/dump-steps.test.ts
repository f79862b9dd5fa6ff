// SPDX-License-Identifier: Apache-2.0
// The main road: a CUDA program is dumped while it runs, ends, and is restored, and what it prints
// at last is what an uninterrupted run prints.
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  rmSync,
  symlinkSync,
} from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { buildDir } from '../../scripts/lib/private-phos.ts';
import { whyNoCheckpoint } from '../support/checkpointing.ts';
import { GpuBench, programs } from '../support/gpu-job.ts';
import { stepsDigest } from '../support/steps-reference.ts';

const missing = await whyNoCheckpoint();
const wanted = { steps: 50, mib: 2, rounds: 4, seed: 11 };
const digest = `${stepsDigest(wanted)}\n`;
const argv = [
  programs.steps,
  ...Object.entries(wanted).flatMap(([name, value]) => [`--${name}`, String(value)]),
  // Slow enough that the dump comes while it runs, whatever the machine.
  '--pause-ms',
  '400',
];

describe.skipIf(missing !== null)(
  `dump and restore${missing ? ` (skipped: ${missing})` : ''}`,
  () => {
    let bench: GpuBench;
    let image: string;
    const open = async (env: Readonly<Record<string, string>> = {}): Promise<void> => {
      bench = await GpuBench.open(env);
      image = bench.path('image');
    };
    beforeEach(() => {
      image = '';
    });
    afterEach(() => bench.close());

    test('ends with the same result, and the original is gone', async () => {
      await open();
      const first = await bench.run(argv);
      await first.said('stderr', 4);
      const report = await bench.dump(first.pid, image);
      expect(report.rootPid).toBe(first.pid);
      expect(Number(report.deviceBytes)).toBeGreaterThan(2 << 20);
      expect(report.stopMs).toBeGreaterThan(0);
      const ended = await first.ended;
      expect([ended.code, ended.stdout]).toEqual([137, '']);
      expect(ended.stderr).toContain('checkpointed');
      expect((await bench.list()).clients).toEqual([]);
      await bench.phos.must(['image', 'verify', image]);

      const second = await bench.restore(image);
      const result = await second.ended;
      expect([result.code, result.stdout]).toEqual([0, digest]);
      const steps = [...first.stderrLines(), ...second.stderrLines()].flatMap(
        (line) => /^step (\d+)\//.exec(line)?.[1] ?? [],
      );
      expect(steps).toEqual(Array.from({ length: wanted.steps }, (_, at) => String(at + 1)));
    });

    test('killed by SIGKILL after a dump, it comes back where it was dumped', async () => {
      await open();
      const first = await bench.run(argv);
      await first.said('stderr', 4);
      await bench.dump(first.pid, image, ['--leave-running']);
      process.kill(first.pid, 'SIGKILL');
      expect((await first.ended).code).toBe(137);
      const second = await bench.restore(image);
      expect(await second.ended).toMatchObject({ code: 0, stdout: digest });
    });

    test('phos is rebuilt between dump and restore', async () => {
      // A build folder of its own, in which only the client library is a copy that can be changed.
      bench = new GpuBench();
      image = bench.path('image');
      const own = bench.path('build');
      mkdirSync(join(own, 'lib'), { recursive: true });
      for (const name of readdirSync(buildDir)) {
        if (name !== 'lib') symlinkSync(join(buildDir, name), join(own, name));
      }
      symlinkSync(join(buildDir, 'lib/sim'), join(own, 'lib/sim'));
      cpSync(join(buildDir, 'lib/client'), join(own, 'lib/client'), {
        recursive: true,
        dereference: true,
      });
      const env = { PHOS_BUILD_DIR: own };
      await bench.startPhosd(env);
      const first = await bench.run(argv);
      await first.said('stderr', 4);
      await bench.dump(first.pid, image);
      await first.ended;
      await bench.phos.must(['stop']);
      for (const name of readdirSync(join(own, 'lib/client'))) {
        appendFileSync(join(own, 'lib/client', name), 'another build');
      }
      // Not even the copy that the program had mapped is there any more: the image carries it.
      rmSync(bench.path('state/lib'), { recursive: true });
      await bench.startPhosd(env);
      const second = await bench.restore(image);
      expect(await second.ended).toMatchObject({ code: 0, stdout: digest });
      expect(existsSync(bench.path('state/lib'))).toBe(true);
    });
  },
);
