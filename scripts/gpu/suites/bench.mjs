// SPDX-License-Identifier: Apache-2.0
// The figures: each workload with and without phos, turn by turn on one machine, medians.

import { Failure, kept, mustEnd } from '../lib/cases.mjs';
import { resultOf } from '../lib/compare.mjs';
import { built, runNative, runUnder, source } from '../lib/place.mjs';
import { Talker, Turns } from '../lib/turns.mjs';

/** Name, steps of one turn, unit, goal. A ratio is phos by native: `most` for times. */
const workloads = [
  { name: 'gpt2', title: 'GPT-2 train step, eager', steps: 8, most: 0.97 },
  { name: 'gpt2-compiled', title: 'GPT-2 train step, compiled', steps: 10, most: 1.02 },
  { name: 'resnet50', title: 'ResNet-50 train step', steps: 5, most: 1.01 },
  { name: 'llama', title: 'Llama generate', steps: 2, most: 0.9 },
  { name: 'graph', title: 'CUDA graph replay and read', steps: 200, most: 1.15 },
];

/** What device_costs tells; `least` for rates, `below` for what only phos is held to. */
const costs = [
  { key: 'issue_ns', title: 'null launch, issue', unit: 'ns', below: 300 },
  { key: 'drained_ns', title: 'null launch, drained', unit: 'ns', most: 1.05 },
  { key: 'launch_sync_ns', title: 'launch + sync', unit: 'ns', most: 1.15 },
  { key: 'read_ns', title: 'read of 4 bytes', unit: 'ns' },
  { key: 'h2d_pinned_gbs', title: 'H2D pinned', unit: 'GB/s', least: 0.98 },
  { key: 'd2h_pinned_gbs', title: 'D2H pinned', unit: 'GB/s', least: 0.98 },
  { key: 'h2d_pageable_gbs', title: 'H2D pageable', unit: 'GB/s', least: 2 },
  { key: 'd2h_pageable_gbs', title: 'D2H pageable', unit: 'GB/s', least: 2 },
  { key: 'startup_ms', title: 'process start to first kernel', unit: 'ms', most: 1 },
];

const TURNS = 5;

export function median(values) {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return (sorted[Math.floor(middle)] + sorted[Math.ceil(middle) - 1]) / 2;
}

const round = (value) => Number(value.toPrecision(5));

/** One row of the result. goal: what bench/lib/gpu-results.ts holds it to. */
function row({ title, unit = 'ms', most, least, below }, native, phos) {
  const goal =
    most !== undefined
      ? { ratio: { most } }
      : least !== undefined
        ? { ratio: { least } }
        : below !== undefined
          ? { phos: { most: below } }
          : null;
  const values = { native: round(native), phos: round(phos), ratio: round(phos / native) };
  return { name: title, ...values, unit, goal };
}

const told = ({ name, native, phos, unit, ratio }) =>
  `${name} ${native} native, ${phos} phos ${unit} (${ratio}x)`;

function training(workload, turns, rounds) {
  return {
    name: workload.title,
    deadlineMs: 240_000,
    run: async ({ phos, deadlineMs, scratch }) => {
      const command = ['python3', source('bench/gpu/timings.py'), workload.name];
      // Both find what the first of them compiled: this measures programs, not compilers.
      const env = { TORCHINDUCTOR_CACHE_DIR: `${scratch}/inductor`, PYTHONDONTWRITEBYTECODE: '1' };
      const sides = [
        new Talker(command, { ...phos.nativeEnv, ...env }),
        new Talker([...phos.program, 'run', '--', ...command], { ...phos.env, ...env }),
      ];
      try {
        try {
          await Promise.all(sides.map((side) => side.line((line) => line === 'ready', deadlineMs)));
        } finally {
          turns.ready();
        }
        const samples = await turns.take(() => alternate(sides, workload.steps, rounds));
        const [native, under] = samples.map((side) => median(side.map(({ ms }) => ms)));
        const rows = [row(workload, native, under)];
        return { rows, note: rows.map(told).join(', '), samples };
      } catch (error) {
        const [native, under] = sides.map((side) => side.stderr.slice(-1500));
        throw new Failure(error.message, { native, under });
      } finally {
        for (const side of sides) side.close();
      }
    },
  };
}

/** Who goes first alternates too. */
async function alternate(sides, steps, rounds) {
  const samples = [[], []];
  for (let turn = 0; turn < rounds; turn += 1) {
    for (const index of turn % 2 === 0 ? [0, 1] : [1, 0]) {
      samples[index].push(await sides[index].ask(`go ${steps}`, 60_000));
    }
  }
  return samples;
}

function deviceCosts(turns, rounds, args) {
  return {
    name: 'launches, copies, start-up',
    deadlineMs: 200_000,
    run: ({ phos }) =>
      turns.take(async () => {
        const command = [built('bench/device_costs'), ...args];
        const samples = [[], []];
        for (let turn = 0; turn < rounds; turn += 1) {
          for (const index of turn % 2 === 0 ? [0, 1] : [1, 0]) {
            const start = index === 0 ? runNative : runUnder;
            const run = mustEnd(await start(phos, command, { deadlineMs: 60_000 }), 'device_costs');
            const found = resultOf(run.stdout);
            if (found === null) throw new Failure('it told nothing', { run: kept(run) });
            samples[index].push(found);
          }
        }
        const of = (side, key) => median(samples[side].map((one) => one[key]));
        const rows = costs.map((cost) => row(cost, of(0, cost.key), of(1, cost.key)));
        return { rows, note: rows.map(told).join('; '), samples };
      }),
  };
}

export const bench = {
  parallel: workloads.length + 1,
  pool: 2,
  budgetMs: 200_000,
  cases: ({ driver, runs, only }) => {
    const sim = driver === 'sim';
    const wanted = sim ? [] : workloads.filter((one) => one.title.includes(only));
    const turns = new Turns(wanted.length);
    const rounds = runs > 0 ? runs : sim ? 1 : TURNS;
    const args = sim ? ['16', '4'] : [];
    const micro = deviceCosts(turns, Math.min(rounds, 3), args);
    return [...wanted.map((one) => training(one, turns, rounds)), micro];
  },
  summarise: (cases) => ({ rows: cases.flatMap((one) => one.rows ?? []) }),
};
