// SPDX-License-Identifier: Apache-2.0
// The benchmark on a GPU: runs scripts/gpu/run.mjs, which needs no more than Node and travels in
// packs, and keeps what it measured.

import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { packageRoot } from '../../src/model/locate.ts';
import { type GpuResult, gpuFileName, miss, readGpuResults } from '../lib/gpu-results.ts';

const DEADLINE_MS = 600_000;

/**
 * Measures; a result is kept in bench/results.
 *
 * @returns exit code: 77 without a GPU, 1 when a workload failed
 */
export function measureGpu(runs: number | null, say: (text: string) => void): number {
  const out = mkdtempSync(join(tmpdir(), 'phos-bench-'));
  try {
    const script = fileURLToPath(new URL('scripts/gpu/run.mjs', packageRoot));
    const counts = runs === null ? [] : ['--runs', `${runs}`];
    const { status, error } = spawnSync(
      process.execPath,
      [script, 'bench', '--out', out, ...counts],
      { stdio: ['ignore', 'inherit', 'inherit'], timeout: DEADLINE_MS },
    );
    if (error !== undefined) throw error;
    if (status !== 0) return status ?? 1;
    const record = JSON.parse(readFileSync(join(out, 'bench.json'), 'utf8')) as GpuResult;
    const { machine, date, rows } = record;
    const folder = new URL('bench/results/', packageRoot);
    mkdirSync(folder, { recursive: true });
    const name = gpuFileName(date);
    writeFileSync(new URL(name, folder), `${JSON.stringify({ machine, date, rows }, null, 2)}\n`);
    say(`kept as bench/results/${name}`);
    return 0;
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}

/** Judges the newest result: names each row that misses its goal. Exit code 1 when one does. */
export function checkGpu(print: (text: string) => void, from?: URL): number {
  const [newest] = readGpuResults(from);
  if (newest === undefined) {
    print('bench/results holds no result of the gpu scenario; run `npm run bench -- gpu`');
    return 1;
  }
  const misses = newest.result.rows.map(miss).filter((one) => one !== null);
  const held = newest.result.rows.filter((row) => row.goal !== null).length;
  for (const one of misses) print(`MISSED ${one}`);
  print(`${newest.name}: ${held - misses.length} of ${held} goals are met`);
  return misses.length > 0 || held === 0 ? 1 : 0;
}
