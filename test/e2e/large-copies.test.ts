// SPDX-License-Identifier: Apache-2.0
// Copies that several threads of the client share: bench/native/device_costs.c judges every word
// of a sample that came back from the device, and ends with 1 where one is wrong.
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { built, TestPhos } from '../support/control.ts';

describe('copies of pageable memory', () => {
  const phos = new TestPhos();
  beforeAll(async () => {
    await phos.json('start');
  });
  afterAll(() => phos.close());

  it('come back as they went, however many pieces they are', async () => {
    for (const mib of ['1', '9', '24']) {
      const { code, stdout, stderr } = await phos.run(
        ...['run', '--', built('bench/device_costs'), mib, '1'],
      );
      expect(stderr).toBe('');
      expect(code).toBe(0);
      const costs = JSON.parse(stdout) as Record<string, number>;
      expect(costs['h2d_pageable_gbs']).toBeGreaterThan(0);
      expect(costs['d2h_pageable_gbs']).toBeGreaterThan(0);
    }
  });
});
