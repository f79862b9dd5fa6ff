// SPDX-License-Identifier: Apache-2.0
// Textures, mapped physical memory and explicit graphs come back at a restore.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildDir } from '../../scripts/lib/private-phos.ts';
import { whyNoCheckpoint } from '../support/checkpointing.ts';
import { GpuBench, RUN_MS } from '../support/gpu-job.ts';

const program = join(buildDir, 'test/subjects/cuda/objects');
const missing = existsSync(program) ? await whyNoCheckpoint() : 'no nvcc here';

describe.skipIf(missing !== null)(`objects${missing ? ` (skipped: ${missing})` : ''}`, () => {
  let bench: GpuBench;
  beforeAll(async () => {
    bench = await GpuBench.open();
  });
  afterAll(() => bench.close());

  test('all of them come back', { timeout: 3 * RUN_MS }, async () => {
    const gate = bench.gate();
    const first = await bench.run([program], { SUBJECT_GATE: gate.path });
    await first.said('stderr', 1);
    const image = bench.path('image');
    await bench.dump(first.pid, image);
    expect(await first.ended).toMatchObject({ code: 137 });
    const restored = await bench.restore(image);
    gate.open();
    const { code, stdout, stderr } = await restored.ended;
    expect([code, stdout, code === 0 ? '' : stderr]).toEqual([0, 'ok objects_in_the_middle\n', '']);
  });
});
