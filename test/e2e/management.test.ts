// SPDX-License-Identifier: Apache-2.0
// The stand-in of NVML, as a program meets it: opened by name or by path, asked before and after
// CUDA is used. The program judges the answers itself.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { built, TestPhos } from '../support/control.ts';

describe('the management library', () => {
  const phos = new TestPhos();
  beforeAll(async () => {
    await phos.json('start');
  });
  afterAll(() => phos.close());

  it('tells a program of its device', async () => {
    const program = built('test/subjects/management');
    const { code, stdout, stderr } = await phos.run('run', '--', program);
    expect(stderr).toBe('');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^1 .+ GPU-[0-9a-f-]{36} \d+\.\d+\nok\n$/);
  });
});
