// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- checkpoint`: measured results in bench/results, and whether they meet goals.

import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { packageRoot } from '../../src/model/locate.ts';
import { checkpoint, type CheckpointFigures, missed } from '../scenarios/checkpoint.ts';
import { type Machine, thisMachine } from './machine.ts';

const folder = new URL('bench/results/', packageRoot);
const resultName = /^checkpoint-\d{8}T\d{6}Z\.json$/;

interface CheckpointResult extends CheckpointFigures {
  readonly scenario: 'checkpoint';
  readonly measured: string;
  readonly machine: Machine;
}

interface Wanted {
  readonly json: boolean;
  readonly smoke: boolean;
  readonly check: boolean;
  readonly save: boolean;
  readonly say: (text: string) => void;
}

/** Measures, or with `check` judges the newest kept result. @returns the exit code */
export async function benchCheckpoint(wanted: Wanted): Promise<number> {
  const result = wanted.check ? newest() : await measure(wanted);
  if (result === null) {
    wanted.say('nothing is kept yet; run it with --save first');
    return 1;
  }
  process.stdout.write(wanted.json ? `${JSON.stringify(result)}\n` : table(result));
  if (!wanted.check) return 0;
  const short = missed(result.rows);
  for (const row of short) wanted.say(`${row.name}: ${row.ratio}, goal ${row.goal}`);
  return short.length === 0 ? 0 : 1;
}

async function measure(wanted: Wanted): Promise<CheckpointResult> {
  const figures = await checkpoint(wanted);
  const measured = new Date().toISOString();
  const result = { scenario: 'checkpoint', measured, machine: thisMachine(), ...figures } as const;
  if (wanted.save) {
    mkdirSync(folder, { recursive: true });
    const name = `checkpoint-${measured.slice(0, 19).replaceAll(/[-:]/g, '')}Z.json`;
    writeFileSync(new URL(name, folder), `${JSON.stringify(result, null, 2)}\n`);
    wanted.say(`kept as bench/results/${name}`);
  }
  return result;
}

function newest(): CheckpointResult | null {
  if (!existsSync(folder)) return null;
  const name = readdirSync(folder)
    .filter((one) => resultName.test(one))
    .toSorted()
    .at(-1);
  if (name === undefined) return null;
  return JSON.parse(readFileSync(new URL(name, folder), 'utf8')) as CheckpointResult;
}

function table({ mib, modes, rows }: CheckpointResult): string {
  const lines = rows.map(({ name, phos, peer, unit, ratio, goal }) =>
    [
      name.padEnd(36),
      `${phos} ${unit}`.padStart(16),
      `${peer} ${unit}`.padStart(16),
      String(ratio).padStart(9),
      goal === null ? '' : String(goal).padStart(7),
    ].join(''),
  );
  const head = [
    'what'.padEnd(36),
    'phos'.padStart(16),
    'peer'.padStart(16),
    'ratio'.padStart(9),
    'goal'.padStart(7),
  ].join('');
  const how = Object.entries(modes).map(([verb, mode]) => `${verb} in mode ${mode}`);
  return `${mib} MiB, ${how.join(', ')}\n${[head, ...lines].join('\n')}\n`;
}
