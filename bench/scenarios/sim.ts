// SPDX-License-Identifier: Apache-2.0
// What kernels cost on the simulated device, beside the same work as plain C++ (g++ -O2) on one
// core: programs over the driver API, linked directly to the device.

import { join } from 'node:path';
import { buildDir, directEnv, start } from '../../scripts/lib/private-phos.ts';
import { median, spread } from '../lib/statistics.ts';

export interface SimOptions {
  readonly runs: number;
  /** One round of each: shows that it works, measures nothing. */
  readonly smoke: boolean;
  readonly say: (text: string) => void;
}

/** What one run of `sim_costs` prints: medians of its rounds. */
export interface SimCosts {
  readonly sgemm256_sim_ms: number;
  readonly sgemm256_plain_ms: number;
  readonly shuffle_reduction_sim_ms: number;
  readonly shuffle_reduction_plain_ms: number;
  readonly vectoradd_sim_ms: number;
  readonly vectoradd_plain_ms: number;
  readonly launch_ns: number;
  readonly launch_sync_ns: number;
  readonly module_load_ms_per_mb: number;
}

export interface SimFigures {
  /** Ratios are time on sim by time of plain C++. */
  readonly sgemm256_ratio: number;
  readonly sgemm256_ratio_spread: number;
  readonly shuffle_reduction_ratio: number;
  readonly shuffle_reduction_ratio_spread: number;
  readonly vectoradd_ratio: number;
  readonly vectoradd_ratio_spread: number;
  /** One block of 32 threads that do nothing, of 500 launches in a row and the wait for them. */
  readonly launch_ns: number;
  readonly launch_sync_ns: number;
  /** Time of the matrix product with one thread by its time with two. */
  readonly two_core_speedup: number;
  readonly module_load_ms_per_mb: number;
  readonly runs: number;
  readonly smoke: boolean;
  readonly samples: { readonly one: readonly SimCosts[]; readonly two: readonly SimCosts[] };
}

/** What the figures should be at most, the speed-up at least. */
export const simGoals = {
  sgemm256_ratio: 1.5,
  shuffle_reduction_ratio: 1.2,
  vectoradd_ratio: 6,
  launch_ns: 1000,
  two_core_speedup: 1.8,
  module_load_ms_per_mb: 60,
} as const;

const timeoutMs = 120_000;

async function costs(threads: number, smoke: boolean): Promise<SimCosts> {
  const command = [join(buildDir, 'bench/sim_costs'), join(buildDir, 'bench/kernels.ptx')];
  const env = { ...directEnv, PHOS_SIM_THREADS: String(threads) };
  const { code, stdout, stderr } = await start(smoke ? [...command, '--smoke'] : command, {
    timeoutMs,
    env,
  }).ended;
  if (code !== 0) throw new Error(`${command.join(' ')} ended with ${code}:\n${stderr}`);
  return JSON.parse(stdout) as SimCosts;
}

export async function sim({ runs, smoke, say }: SimOptions): Promise<SimFigures> {
  const one: SimCosts[] = [];
  const two: SimCosts[] = [];
  for (let run = 1; run <= runs; run += 1) {
    say(`run ${run} of ${runs}`);
    one.push(await costs(1, smoke));
    two.push(await costs(2, smoke));
  }
  const ratios = (kernel: 'sgemm256' | 'shuffle_reduction' | 'vectoradd'): readonly number[] =>
    one.map((costs) => costs[`${kernel}_sim_ms`] / costs[`${kernel}_plain_ms`]);
  const of = (pick: (costs: SimCosts) => number): number => round(median(one.map(pick)));
  const speedups = one.map((alone, i) => alone.sgemm256_sim_ms / (two[i]?.sgemm256_sim_ms ?? 1));
  return {
    sgemm256_ratio: round(median(ratios('sgemm256'))),
    sgemm256_ratio_spread: round(spread(ratios('sgemm256'))),
    shuffle_reduction_ratio: round(median(ratios('shuffle_reduction'))),
    shuffle_reduction_ratio_spread: round(spread(ratios('shuffle_reduction'))),
    vectoradd_ratio: round(median(ratios('vectoradd'))),
    vectoradd_ratio_spread: round(spread(ratios('vectoradd'))),
    launch_ns: of((costs) => costs.launch_ns),
    launch_sync_ns: of((costs) => costs.launch_sync_ns),
    two_core_speedup: round(median(speedups)),
    module_load_ms_per_mb: of((costs) => costs.module_load_ms_per_mb),
    runs,
    smoke,
    samples: { one, two },
  };
}

function round(value: number): number {
  return Math.round(value * 1e3) / 1e3;
}
