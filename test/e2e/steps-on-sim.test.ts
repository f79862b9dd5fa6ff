// SPDX-License-Identifier: Apache-2.0
// The example directly on the simulated device: what it prints is what the arithmetic gives.

import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { buildDir, directEnv, start } from '../../scripts/lib/private-phos.ts';
import { stepsDigest } from '../support/steps-reference.ts';

const program = join(buildDir, 'examples/steps/steps');

async function run(args: readonly string[], env = directEnv) {
  return await start([program, ...args], { timeoutMs: 100_000, env }).ended;
}

describe('steps on sim', () => {
  test.each([
    { steps: 1, mib: 1, rounds: 4, seed: 1 },
    { steps: 45, mib: 1, rounds: 4, seed: 7 },
    { steps: 70, mib: 2, rounds: 9, seed: 0 },
  ])('prints the right line for $steps steps over $mib MiB', async (wanted) => {
    const args = Object.entries(wanted).flatMap(([name, value]) => [`--${name}`, String(value)]);
    const { code, stdout, stderr } = await run(args);
    expect(stderr).toContain(`step ${wanted.steps}/${wanted.steps} `);
    expect(stdout).toBe(`${stepsDigest(wanted)}\n`);
    expect(code).toBe(0);
  });

  test('any order of execution that CUDA allows gives the same', async () => {
    const wanted = { steps: 24, mib: 1, rounds: 4, seed: 3 };
    const args = ['--steps', '24', '--mib', '1', '--rounds', '4', '--seed', '3'];
    const env = { ...directEnv, PHOS_SIM_SEED: '5' };
    const { code, stdout } = await run(args, env);
    expect(stdout).toBe(`${stepsDigest(wanted)}\n`);
    expect(code).toBe(0);
  });

  test('wrong arguments end it with 2 and the usage', async () => {
    const { code, stderr } = await run(['--steps', 'many']);
    expect(code).toBe(2);
    expect(stderr).toContain('usage:');
  });
});
