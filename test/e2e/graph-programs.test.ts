// SPDX-License-Identifier: Apache-2.0
// Programs that capture graphs of random shapes and launch them, dumped between two launches, ended
// and restored, print byte for byte what an uninterrupted run prints.
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { directEnv, start } from '../../scripts/lib/private-phos.ts';
import { whyNoCheckpoint } from '../support/checkpointing.ts';
import { GpuBench, programs, ptx, RUN_MS, STEP_MS } from '../support/gpu-job.ts';

const missing = await whyNoCheckpoint();
/** Programs tried; each takes a few seconds. PHOS_RANDOM_PROGRAMS asks for more. */
const runs = Number(process.env['PHOS_RANDOM_PROGRAMS'] ?? '3');
const STEPS = 60;

const programOf = (seed: number, pauseUs: number, gate: string): string[] => [
  programs.graphs,
  ptx,
  String(seed),
  String(STEPS),
  String(pauseUs),
  gate,
];

describe.skipIf(missing !== null)(
  `programs with graphs${missing ? ` (skipped: ${missing})` : ''}`,
  () => {
    let bench: GpuBench;
    let images = 0;
    beforeAll(async () => {
      bench = await GpuBench.open();
    });
    afterAll(() => bench.close());

    async function uninterrupted(seed: number): Promise<string> {
      const open = bench.gate();
      open.open();
      const { code, stdout, stderr } = await start(programOf(seed, 0, open.path), {
        timeoutMs: RUN_MS,
        env: directEnv,
      }).ended;
      expect([code, code === 0 ? '' : stderr]).toEqual([0, '']);
      expect(stdout).toMatch(/^memory [0-9a-f]{16} total \d+\n$/);
      return stdout;
    }

    /** Waits until the client of a restored program is attached again. */
    const running = async (pid: number): Promise<void> => {
      const end = performance.now() + STEP_MS;
      const isRunning = async (): Promise<boolean> =>
        (await bench.list()).clients.some(
          (client) => client.pid === pid && client.state === 'running',
        );
      while (!(await isRunning())) {
        if (performance.now() > end) throw new Error(`client ${pid} did not attach again`);
      }
    };

    const cases = fc.record({
      seed: fc.nat(0x7fff_ffff),
      dumpAfter: fc.integer({ min: 10, max: STEPS - 1 }),
      twice: fc.boolean(),
    });

    test('a checkpoint between two launches changes nothing', { timeout: 600_000 }, async () => {
      await fc.assert(
        fc.asyncProperty(cases, async ({ seed, dumpAfter, twice }) => {
          const expected = await uninterrupted(seed);
          const gate = bench.gate();
          const newImage = (): string => bench.path(`image-${(images += 1)}`);
          const image = newImage();
          const first = await bench.run(programOf(seed, 3000, gate.path));
          await first.said('stderr', dumpAfter);
          await bench.dump(first.pid, image);
          expect(await first.ended).toMatchObject({ code: 137 });
          let last = await bench.restore(image);
          if (twice) {
            // What was captured again at a restore can be saved like what the program captured.
            const { pid } = last;
            await running(pid);
            const again = newImage();
            await bench.dump(last.pid, again);
            await last.ended;
            last = await bench.restore(again);
          }
          gate.open();
          const { code, stdout, stderr } = await last.ended;
          expect([code, code === 0 ? '' : stderr, stdout]).toEqual([0, '', expected]);
        }),
        { numRuns: runs, endOnFailure: true },
      );
    });
  },
);
