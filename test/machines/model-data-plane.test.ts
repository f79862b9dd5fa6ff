// SPDX-License-Identifier: Apache-2.0
// Ring, cut, copy-on-write and lazy restore in all interleavings; each rule is needed.
import { describe, expect, it } from 'vitest';
import { dataRules, exploreDataPlane } from '../../src/verify/data-plane.ts';

describe('data plane', () => {
  it('saves memory at the cut and brings it back, in every interleaving', () => {
    const seen = exploreDataPlane(null);
    expect(seen).toMatchObject({ broken: null, trace: [] });
    expect(seen.states).toBeGreaterThan(1000);
    expect(seen.ends).toBeGreaterThan(1);
  });

  it.each(dataRules)('needs that %s', (rule) => {
    const seen = exploreDataPlane(rule);
    expect(seen.broken).not.toBeNull();
    expect(seen.broken).not.toContain('bound');
    expect(seen.trace.length).toBeGreaterThan(2);
  });
});
