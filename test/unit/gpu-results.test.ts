// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import { gpuFileName, gpuSection, type GpuRow, miss } from '../../bench/lib/gpu-results.ts';
import { checkGpu } from '../../bench/scenarios/gpu.ts';
import { outsideSpread, resultOf } from '../../scripts/gpu/lib/compare.mjs';
import { Turns } from '../../scripts/gpu/lib/turns.mjs';

const row = (values: Partial<GpuRow>): GpuRow => ({
  name: 'copy',
  native: 10,
  phos: 10,
  unit: 'ms',
  ratio: 1,
  goal: { ratio: { most: 1 } },
  ...values,
});
const machine = { gpu: 'H', cpu: 'C', cores: 2, memory_gib: 3, kernel: '6', commit: 'abc' };

describe('rows of the GPU benchmark', () => {
  it('miss their goals by name', () => {
    expect(miss(row({}))).toBeNull();
    expect(miss(row({ ratio: 1.01 }))).toBe('copy: the ratio is 1.01x, the goal is at most 1x');
    const atLeast = { goal: { ratio: { least: 2 } } };
    expect(miss(row({ ...atLeast, ratio: 2 }))).toBeNull();
    expect(miss(row({ ...atLeast, ratio: 1.9 }))).toContain('at least 2x');
    expect(miss(row({ phos: 301, unit: 'ns', goal: { phos: { most: 300 } } }))).toContain('301 ns');
    expect(miss(row({ ratio: Number.NaN }))).not.toBeNull();
    expect(miss(row({ ratio: 99, goal: null }))).toBeNull();
  });

  it('are judged in the newest result only', () => {
    const folder = mkdtempSync(join(tmpdir(), 'phos-results-'));
    const from = pathToFileURL(`${folder}/`);
    const said: string[] = [];
    const judge = (): number => {
      said.length = 0;
      return checkGpu((text) => said.push(text), from);
    };
    const keep = (date: string, ratio: number): void => {
      const result = { machine, date, rows: [row({ ratio })] };
      writeFileSync(join(folder, gpuFileName(date)), JSON.stringify(result));
    };
    try {
      expect(judge()).toBe(1);
      keep('2026-01-02T03:04:05.678Z', 1.5);
      expect(judge()).toBe(1);
      expect(said[0]).toContain('MISSED copy');
      keep('2026-01-02T03:04:06.000Z', 0.9);
      expect(judge()).toBe(0);
      expect(said).toEqual(['gpu-20260102T030406Z.json: 1 of 1 goals are met']);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('become a table', () => {
    const page = gpuSection({ machine, date: '2026-01-02T00:00:00Z', rows: [row({ ratio: 2 })] });
    expect(page.join('\n')).toContain('| copy | 10 | 10 | ms | 2 | at most 1x | **no** |');
  });
});

describe('results of two runs', () => {
  it('are the last line, if that is an object', () => {
    expect(resultOf('said\n{"exact":1}\n')).toEqual({ exact: 1 });
    expect(resultOf('{"exact":1}\nafter\n')).toBeNull();
    expect(resultOf('7\n')).toBeNull();
  });

  it('agree within the spread of two others', () => {
    expect(outsideSpread([1, 2], [1.1, 2], [1.4, 2])).toBeNull();
    expect(outsideSpread([1, 2], [1.1, 2], [1.1, 2.1])).toContain('number 1');
    expect(outsideSpread([1], [1], [Number.NaN])).toContain('number 0');
    expect(outsideSpread([1], [1], [])).toContain('0 numbers');
  });
});

describe('turns', () => {
  it('begin when all are ready, and never overlap', async () => {
    const turns = new Turns(2);
    const seen: string[] = [];
    const measure = (name: string) =>
      turns.take(async () => {
        seen.push(`${name} begins`);
        await Promise.resolve();
        seen.push(`${name} ends`);
        if (name === 'b') throw new Error('b fails');
      });
    const all = Promise.allSettled([measure('a'), measure('b'), measure('c')]);
    turns.ready();
    await Promise.resolve();
    expect(seen).toEqual([]);
    turns.ready();
    await all;
    expect(seen).toEqual(['a begins', 'a ends', 'b begins', 'b ends', 'c begins', 'c ends']);
  });
});
