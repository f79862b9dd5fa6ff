// SPDX-License-Identifier: Apache-2.0
// Ordinary programs as nvcc makes them, with a static and with a shared CUDA runtime, run
// unmodified: directly on the simulated device and under phos.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { buildDir, directEnv, PrivatePhos, start } from '../../scripts/lib/private-phos.ts';
import { stepsDigest } from '../support/steps-reference.ts';

const wanted = { steps: 24, mib: 1, rounds: 4, seed: 5 };
const args = ['--steps', '24', '--mib', '1', '--rounds', '4', '--seed', '5'];
const programOf = (kind: string): string => join(buildDir, `examples/steps/steps_runtime_${kind}`);

const built = existsSync(programOf('static'));
if (!built) {
  process.stderr.write('SKIPPED: no nvcc here, so programs of the CUDA runtime are not tested\n');
}

describe.runIf(built).each(['static', 'shared'])('a program with the %s CUDA runtime', (kind) => {
  let phos: PrivatePhos;

  beforeAll(async () => {
    phos = new PrivatePhos();
    await phos.must(['start']);
  });

  afterAll(async () => {
    await phos.close();
  });

  test('computes the right result on sim', async () => {
    const command = [programOf(kind), ...args];
    const { code, stdout, stderr } = await start(command, { timeoutMs: 60_000, env: directEnv })
      .ended;
    expect(stderr).not.toContain('cuda');
    expect(stdout).toBe(`${stepsDigest(wanted)}\n`);
    expect(code).toBe(0);
  });

  test('computes the same under phos', async () => {
    const command = ['run', '--', programOf(kind), ...args];
    const { code, stdout } = await phos.command(command, { timeoutMs: 100_000 }).ended;
    expect(stdout).toBe(`${stepsDigest(wanted)}\n`);
    expect(code).toBe(0);
  });
});
