// SPDX-License-Identifier: Apache-2.0
// Random programs of allocations, copies, kernels, memsets, frees and module loads, dumped on their
// way, ended and restored, print byte for byte what an uninterrupted run prints.
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { directEnv, start } from '../../scripts/lib/private-phos.ts';
import { whyNoCheckpoint } from '../support/checkpointing.ts';
import { GpuBench, programs, ptx, RUN_MS } from '../support/gpu-job.ts';

const missing = await whyNoCheckpoint();
/** Programs tried; each takes a few seconds. PHOS_RANDOM_PROGRAMS asks for more. */
const runs = Number(process.env['PHOS_RANDOM_PROGRAMS'] ?? '4');
const OPERATIONS = 150;

const programOf = (seed: number, pauseUs: number, gate: string): string[] => [
  programs.random,
  ptx,
  String(seed),
  String(OPERATIONS),
  String(pauseUs),
  gate,
  'reload',
];

async function uninterrupted(seed: number, gate: string): Promise<string> {
  const { code, stdout, stderr } = await start(programOf(seed, 0, gate), {
    timeoutMs: RUN_MS,
    env: directEnv,
  }).ended;
  expect([code, code === 0 ? '' : stderr]).toEqual([0, '']);
  expect(stdout).toContain('readback');
  return stdout;
}

describe.skipIf(missing !== null)(
  `random programs${missing ? ` (skipped: ${missing})` : ''}`,
  () => {
    let bench: GpuBench;
    let images = 0;
    beforeAll(async () => {
      bench = await GpuBench.open();
    });
    afterAll(() => bench.close());

    const cases = fc.record({
      seed: fc.nat(0x7fff_ffff),
      dumpAfter: fc.integer({ min: 1, max: OPERATIONS - 1 }),
      leaveRunning: fc.boolean(),
    });

    test('a checkpoint in the middle changes nothing', { timeout: 600_000 }, async () => {
      await fc.assert(
        fc.asyncProperty(cases, async ({ seed, dumpAfter, leaveRunning }) => {
          const open = bench.gate();
          open.open();
          const expected = await uninterrupted(seed, open.path);
          const gate = bench.gate();
          images += 1;
          const image = bench.path(`image-${images}`);
          const first = await bench.run(programOf(seed, 2000, gate.path));
          await first.said('stderr', dumpAfter);
          await bench.dump(first.pid, image, leaveRunning ? ['--leave-running'] : []);
          gate.open();
          const end = leaveRunning ? { code: 0, stdout: expected } : { code: 137 };
          expect(await first.ended).toMatchObject(end);
          const second = await bench.restore(image);
          const { code, stdout, stderr } = await second.ended;
          expect([code, code === 0 ? '' : stderr, stdout]).toEqual([0, '', expected]);
        }),
        { numRuns: runs, endOnFailure: true },
      );
    });
  },
);
