// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- sim`: what it prints and keeps, and its part of docs/performance.md.

import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { packageRoot } from '../../src/model/locate.ts';
import { sim, type SimFigures, simGoals } from '../scenarios/sim.ts';
import { type Machine, thisMachine } from './machine.ts';

const folder = new URL('bench/results/', packageRoot);

export interface SimResult extends SimFigures {
  readonly scenario: 'sim';
  readonly measured: string;
  readonly machine: Machine;
}

interface Wanted {
  readonly runs: number;
  readonly json: boolean;
  readonly smoke: boolean;
  readonly save: boolean;
  readonly say: (text: string) => void;
}

/** Measures, prints, and with `save` keeps the result. */
export async function benchSim(wanted: Wanted): Promise<void> {
  const figures = await sim(wanted);
  const measured = new Date().toISOString();
  const result: SimResult = { scenario: 'sim', measured, machine: thisMachine(), ...figures };
  const lines = simRows(result).map(
    ([name, value, goal]) => `${name.padEnd(34)}${value} (${goal})`,
  );
  process.stdout.write(wanted.json ? `${JSON.stringify(result)}\n` : `${lines.join('\n')}\n`);
  if (!wanted.save) return;
  mkdirSync(folder, { recursive: true });
  const name = `sim-${measured.slice(0, 10)}.json`;
  writeFileSync(new URL(name, folder), `${JSON.stringify(result, null, 2)}\n`);
  wanted.say(`kept as bench/results/${name}`);
}

/** The latest result that is kept. */
export function newestSimResult(): SimResult | null {
  if (!existsSync(folder)) return null;
  const name = readdirSync(folder)
    .filter((one) => /^sim-\d{4}-\d{2}-\d{2}\.json$/.test(one))
    .toSorted()
    .at(-1);
  return name === undefined
    ? null
    : (JSON.parse(readFileSync(new URL(name, folder), 'utf8')) as SimResult);
}

type Row = readonly [name: string, value: string, goal: string];

function simRows(result: SimFigures): readonly Row[] {
  const goals = simGoals;
  return [
    ['tiled sgemm 256^3 by plain C++', `${result.sgemm256_ratio}`, `<= ${goals.sgemm256_ratio}`],
    [
      'shuffle reduction by plain C++',
      `${result.shuffle_reduction_ratio}`,
      `<= ${goals.shuffle_reduction_ratio}`,
    ],
    ['vector addition by plain C++', `${result.vectoradd_ratio}`, `<= ${goals.vectoradd_ratio}`],
    ['launch of 1 x 32 threads', `${result.launch_ns} ns`, `< ${goals.launch_ns} ns`],
    ['speed-up on two cores', `${result.two_core_speedup}`, `>= ${goals.two_core_speedup}`],
    [
      'load of a megabyte of PTX',
      `${result.module_load_ms_per_mb} ms`,
      `< ${goals.module_load_ms_per_mb} ms`,
    ],
  ];
}

/** Its section of docs/performance.md. */
export function simSection(result: SimResult): string[] {
  const { machine } = result;
  return [
    `## ${result.scenario}, ${result.measured.slice(0, 10)}`,
    '',
    `${machine.cpu}, ${machine.cores} cores, ${machine.memory_gib} GiB; Linux ${machine.kernel};`,
    `Node ${machine.node}; ${machine.compiler}; commit ${machine.commit}; ${result.runs} runs.`,
    '',
    '| what | sim | goal |',
    '|---|---|---|',
    ...simRows(result).map((row) => `| ${row.join(' | ')} |`),
    '',
  ];
}
