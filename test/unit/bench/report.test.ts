// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { readResults, renderPerformance } from '../../../bench/lib/report.ts';
import { median, spread } from '../../../bench/lib/statistics.ts';
import { stepsFor } from '../../../bench/scenarios/remoting.ts';

test('the median is the middle, or the mean of the two middle ones', () => {
  expect(median([3, 1, 2])).toBe(2);
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(() => median([])).toThrow('no values');
});

test('the spread is half the distance between the quartiles', () => {
  expect(spread([1, 2, 3, 4, 5])).toBe(1);
  expect(spread([7])).toBe(0);
});

test('the example runs for at least two seconds, and never fewer steps than were tried', () => {
  expect(stepsFor(200, 1)).toBe(440);
  expect((stepsFor(200, 0.021) / 200) * 0.021).toBeGreaterThanOrEqual(2);
  expect(stepsFor(200, 30)).toBe(200);
});

test('docs/performance.md is what the kept results give', () => {
  const page = readFileSync(new URL('../../../docs/performance.md', import.meta.url), 'utf8');
  expect(page).toBe(renderPerformance(readResults()));
});
