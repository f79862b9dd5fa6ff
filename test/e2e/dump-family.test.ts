// SPDX-License-Identifier: Apache-2.0
// Trees of processes: one dump covers all of them, and every line each of them prints on the way
// comes exactly once, through pipes, a terminal and a file.
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { whyNoCheckpoint } from '../support/checkpointing.ts';
import { until } from '../support/control.ts';
import { GpuBench, programs, ptx } from '../support/gpu-job.ts';

const missing = await whyNoCheckpoint();
const STEPS = 40;
const WORDS = 4096;

/** What a member prints in all: the device's total after each step. */
function wholeRun(name: string): string[] {
  let total = 0;
  return Array.from({ length: STEPS }, (_, step) => {
    total += (step + 1) * WORDS;
    return `${name} ${step} ${total}`;
  });
}

function linesOf(name: string, lines: readonly string[]): string[] {
  return lines.filter((line) => line.startsWith(`${name} `));
}

describe.skipIf(missing !== null)(
  `dump of families${missing ? ` (skipped: ${missing})` : ''}`,
  () => {
    let bench: GpuBench;
    let image: string;
    beforeEach(async () => {
      bench = await GpuBench.open();
      image = bench.path('image');
    });
    afterEach(() => bench.close());
    const family = (kind: string, gate: string) => [
      programs.family,
      ptx,
      String(STEPS),
      '5000',
      gate,
      kind,
    ];

    test.each([
      ['alone', 1],
      ['fork', 1],
      ['two', 2],
    ])('%s: %i client(s), every line once', async (kind, clients) => {
      const gate = bench.gate();
      const first = await bench.run(family(kind, gate.path));
      await first.said('stdout', 8 * clients);
      expect((await bench.list()).clients).toHaveLength(clients);
      await bench.dump(first.pid, image);
      expect((await first.ended).code).toBe(137);
      gate.open();
      const second = await bench.restore(image);
      expect((await second.ended).code).toBe(0);
      const lines = [...first.stdoutLines(), ...second.stdoutLines()];
      expect(linesOf('parent', lines)).toEqual(wholeRun('parent'));
      expect(linesOf('child', lines)).toEqual(kind === 'two' ? wholeRun('child') : []);
      expect(lines.at(-1)).toBe('done');
    });

    test('two clients go on after their dump', async () => {
      const gate = bench.gate();
      const first = await bench.run(family('two', gate.path));
      await first.said('stdout', 16);
      await bench.dump(first.pid, image, ['--leave-running']);
      gate.open();
      expect((await first.ended).code).toBe(0);
      for (const name of ['parent', 'child']) {
        expect(linesOf(name, first.stdoutLines())).toEqual(wholeRun(name));
      }
    });

    test('output that a shell sends to a file is there once', async () => {
      const gate = bench.gate();
      const file = bench.path('lines.txt');
      const command = `exec ${family('alone', gate.path).join(' ')} > ${file}`;
      const first = await bench.run(['/bin/sh', '-c', `echo ready; ${command}`]);
      await first.said('stdout', 1);
      await until('a client', async () => (await bench.list()).clients.length > 0);
      await bench.dump(first.pid, image);
      await first.ended;
      gate.open();
      const second = await bench.restore(image);
      expect((await second.ended).code).toBe(0);
      const lines = readFileSync(file, 'utf8').split('\n').filter(Boolean);
      expect(lines).toEqual([...wholeRun('parent'), 'done']);
    });
  },
);
