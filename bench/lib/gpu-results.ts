// SPDX-License-Identifier: Apache-2.0
// Results of the benchmark on a GPU (scripts/gpu/run.mjs bench): read, judged, and told as a page.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { packageRoot } from '../../src/model/locate.ts';

/** A bound on one figure of a row. */
interface Bound {
  readonly most?: number;
  readonly least?: number;
}

export interface GpuRow {
  readonly name: string;
  readonly native: number;
  readonly phos: number;
  readonly unit: string;
  /** phos by native. */
  readonly ratio: number;
  /** Null: told, not held to anything. */
  readonly goal: { readonly ratio?: Bound; readonly phos?: Bound } | null;
}

interface GpuMachine {
  readonly gpu: string | null;
  readonly cpu: string;
  readonly cores: number;
  readonly memory_gib: number;
  readonly kernel: string;
  readonly commit: string;
}

export interface GpuResult {
  /** Facts as scripts/gpu/lib/machine.mjs gives them. */
  readonly machine: GpuMachine;
  readonly date: string;
  readonly rows: readonly GpuRow[];
}

export const gpuResultName = /^gpu-\d{8}T\d{6}Z\.json$/;

/** `gpu-YYYYMMDDTHHMMSSZ.json` for an ISO date. */
export function gpuFileName(date: string): string {
  return `gpu-${date.slice(0, 19).replaceAll(/[-:]/g, '')}Z.json`;
}

const folder = new URL('bench/results/', packageRoot);

/** Kept results, the newest first; their names are their times. */
export function readGpuResults(from: URL = folder): { name: string; result: GpuResult }[] {
  if (!existsSync(from)) return [];
  return readdirSync(from)
    .filter((name) => gpuResultName.test(name))
    .toSorted()
    .toReversed()
    .map((name) => ({
      name,
      result: JSON.parse(readFileSync(new URL(name, from), 'utf8')) as GpuResult,
    }));
}

/** Why a row misses its goal; null when it does not. */
export function miss({ name, ratio, phos, unit, goal }: GpuRow): string | null {
  const checks = [
    { what: 'the ratio', value: ratio, bound: goal?.ratio, unit: 'x' },
    { what: 'phos', value: phos, bound: goal?.phos, unit: ` ${unit}` },
  ];
  for (const { what, value, bound, unit: suffix } of checks) {
    if (bound === undefined) continue;
    const { most = Number.POSITIVE_INFINITY, least = Number.NEGATIVE_INFINITY } = bound;
    // A figure that is not a number is a miss too.
    if (value <= most && value >= least) continue;
    return `${name}: ${what} is ${value}${suffix}, the goal is ${goalText(goal)}`;
  }
  return null;
}

function goalText(goal: GpuRow['goal']): string {
  const of = (bound: Bound | undefined, suffix: string): string[] => [
    ...(bound?.most === undefined ? [] : [`at most ${bound.most}${suffix}`]),
    ...(bound?.least === undefined ? [] : [`at least ${bound.least}${suffix}`]),
  ];
  return [...of(goal?.ratio, 'x'), ...of(goal?.phos, '')].join(', ');
}

export function gpuSection({ machine, date, rows }: GpuResult): string[] {
  const { gpu, cpu, cores, memory_gib, kernel, commit } = machine;
  return [
    `## On a GPU, ${date.slice(0, 10)}`,
    '',
    `${gpu ?? 'unknown GPU'}; ${cpu}, ${cores} cores, ${memory_gib} GiB; Linux ${kernel}; commit`,
    `${commit}. With and without phos turn by turn, medians.`,
    '',
    '| what | native | phos | unit | ratio | goal | met |',
    '|---|---|---|---|---|---|---|',
    ...rows.map((row) => {
      const met = row.goal === null ? '' : miss(row) === null ? 'yes' : '**no**';
      const figures = `${row.native} | ${row.phos} | ${row.unit} | ${row.ratio}`;
      return `| ${row.name} | ${figures} | ${goalText(row.goal)} | ${met} |`;
    }),
    '',
  ];
}
