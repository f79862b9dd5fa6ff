// SPDX-License-Identifier: Apache-2.0
// `npm run bench -- SCENARIO [--json] [--runs N] [--smoke | --save]`: progress on stderr, the
// figures on stdout. --save keeps them in bench/results and writes docs/performance.md anew.
// `npm run bench -- gpu [--runs N]` measures on a GPU and keeps the result always; `--check`
// measures nothing, and tells which rows of the newest result miss their goal.

import { mkdirSync, writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { packageRoot } from '../src/model/locate.ts';
import { benchCheckpoint } from './lib/checkpoint-results.ts';
import { thisMachine } from './lib/machine.ts';
import { readResults, type Result, renderPerformance } from './lib/report.ts';
import { benchSim } from './lib/sim-results.ts';
import { checkGpu, measureGpu } from './scenarios/gpu.ts';
import { image, imageTable } from './scenarios/image.ts';
import { type RemotingFigures, remoting } from './scenarios/remoting.ts';

const usage =
  'usage: npm run bench -- remoting|checkpoint|gpu|image|sim|report ' +
  '[--json] [--runs N] [--smoke | --save] [--check]';

function say(text: string): void {
  process.stderr.write(`bench: ${text}\n`);
}

function table(figures: RemotingFigures): string {
  const rows: readonly (readonly [string, string])[] = [
    [
      'synchronous call, median',
      `${figures.sync_p50_ns} ns (direct ${figures.direct.sync_p50_ns})`,
    ],
    ['synchronous call, 99 %', `${figures.sync_p99_ns} ns (direct ${figures.direct.sync_p99_ns})`],
    ['asynchronous calls', `${(figures.async_calls_per_s / 1e6).toFixed(2)} million a second`],
    [
      'issue of a launch',
      `${figures.launch_issue_ns.toFixed(0)} ns ` +
        `(direct ${figures.direct.launch_issue_ns.toFixed(0)})`,
    ],
    ['local call', `${figures.local_call_ns.toFixed(1)} ns`],
    [
      'example, phos by direct',
      `${figures.program_ratio} (${figures.program_phos_s.toFixed(2)} s)`,
    ],
    ['start-up', `${figures.startup_phos_ms} ms (direct ${figures.startup_direct_ms} ms)`],
  ];
  return rows.map(([name, value]) => `${name.padEnd(28)}${value}\n`).join('');
}

function save(result: Result): void {
  const folder = new URL('bench/results/', packageRoot);
  mkdirSync(folder, { recursive: true });
  const name = `${result.scenario}-${result.measured.slice(0, 10)}.json`;
  writeFileSync(new URL(name, folder), `${JSON.stringify(result, null, 2)}\n`);
  say(`kept as bench/results/${name}`);
  report();
}

function report(): void {
  const page = new URL('docs/performance.md', packageRoot);
  mkdirSync(new URL('docs/', packageRoot), { recursive: true });
  writeFileSync(page, renderPerformance(readResults()));
  say('docs/performance.md is written');
}

function gpu(check: boolean, runs: string | null): number {
  if (check) return checkGpu((text) => process.stdout.write(`${text}\n`));
  const code = measureGpu(runs === null ? null : Number(runs), say);
  if (code === 0) report();
  return code;
}

async function main(): Promise<number> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      json: { type: 'boolean', default: false },
      smoke: { type: 'boolean', default: false },
      save: { type: 'boolean', default: false },
      check: { type: 'boolean', default: false },
      runs: { type: 'string' },
    },
  });
  const scenario = positionals[0];
  if (scenario === 'report') {
    report();
    return 0;
  }
  if (scenario === 'checkpoint') return benchCheckpoint({ ...values, say });
  if (scenario === 'gpu') return gpu(values.check, values.runs ?? null);
  const runs = Number(values.runs ?? (values.smoke ? 1 : 5));
  if (scenario === 'image' && Number.isInteger(runs) && runs >= 1) {
    const found = await image({ runs, smoke: values.smoke, say });
    const kept = { scenario, measured: new Date().toISOString(), machine: thisMachine(), ...found };
    process.stdout.write(values.json ? `${JSON.stringify(kept)}\n` : imageTable(found));
    return 0;
  }
  const wrong = values.smoke && values.save;
  if (scenario === 'sim' && Number.isInteger(runs) && runs >= 1 && !wrong) {
    await benchSim({ ...values, runs, say });
    if (values.save) report();
    return 0;
  }
  if (wrong || scenario !== 'remoting' || !Number.isInteger(runs) || runs < 1) {
    process.stderr.write(`${usage}\n`);
    return 2;
  }
  if (values.smoke) say('a smoke test: it shows that all of it works; its figures are noise');
  const figures = await remoting({ runs, smoke: values.smoke, say });
  const result: Result = {
    scenario,
    measured: new Date().toISOString(),
    machine: thisMachine(),
    ...figures,
  };
  process.stdout.write(values.json ? `${JSON.stringify(result)}\n` : table(figures));
  if (values.save) save(result);
  return 0;
}

process.exitCode = await main();
