// SPDX-License-Identifier: Apache-2.0
// The parts of the soak and of the fuzz runner that decide by themselves.
import { expect, it } from 'vitest';
import { readFigures } from '../../../scripts/fuzz/figures.mjs';
import { durationMs, randomFrom } from '../../../scripts/soak/choices.ts';
import { findProcesses } from '../../../scripts/soak/processes.ts';

it('knows durations, and refuses what is none', () => {
  expect(['45s', '2m', '1h'].map(durationMs)).toEqual([45_000, 120_000, 3_600_000]);
  for (const text of ['', '5', '-2m', '2 m', '1d'])
    expect(() => durationMs(text)).toThrow(/is no duration/);
});

it('makes the same choices for the same seed, all of them', () => {
  const [one, same, other] = [randomFrom(7), randomFrom(7), randomFrom(8)];
  const draw = (random: (below: number) => number) => Array.from({ length: 64 }, () => random(4));
  const drawn = draw(one);
  expect(draw(same)).toEqual(drawn);
  expect(draw(other)).not.toEqual(drawn);
  expect(new Set(drawn)).toEqual(new Set([0, 1, 2, 3]));
});

it('finds nobody to kill where no phos runs', () => {
  expect(findProcesses('/nowhere/run', process.execPath)).toEqual([]);
});

it('reads what libFuzzer says of itself', () => {
  const output = [
    '#2 INITED cov: 12 ft: 13 corp: 1/1b exec/s: 0 rss: 30Mb',
    '#4096 pulse  cov: 345 ft: 678 corp: 90/1234b lim: 4096 exec/s: 2048 rss: 40Mb',
    'stat::number_of_executed_units: 5000',
  ].join('\n');
  expect(readFigures(output)).toMatchObject({ executions: 5000, coverage: 345, corpus: 90 });
  expect(readFigures('fuzz: replayed 4 inputs\nfuzz: 70 changed inputs, blindly')).toMatchObject({
    executions: 70,
    coverage: 0,
    line: 'replayed 4 inputs; 70 changed inputs, blindly',
  });
});
