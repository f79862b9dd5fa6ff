// SPDX-License-Identifier: Apache-2.0
// Checkpoints in the middle of a training: what the program printed before the dump and after the
// restore must be, line for line, what one that was never interrupted prints.

import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Failure, kept, mustEnd } from '../lib/cases.mjs';
import { usedMemory } from '../lib/memory.mjs';
import { built, runNative, source } from '../lib/place.mjs';
import { until } from '../lib/processes.mjs';

const stepLine = /^step (\d+)\b/;
let tokens = 0;

/** @param {{name: string, command: string[], at: number, deadlineMs: number}} program */
function training(kind, steps, at, pauseMs) {
  const command = ['python3', source('test/gpu/trainer.py'), kind, `${steps}`, `${pauseMs}`];
  return { name: kind, command, at, deadlineMs: 100_000 };
}

function example(driver) {
  const [steps, mib] = driver === 'sim' ? [60, 4] : [200, 64];
  const command = [built('examples/steps/steps'), '--steps', `${steps}`, '--mib', `${mib}`];
  return { name: 'steps', command: [...command, '--pause-ms', '20'], at: 15, deadlineMs: 60_000 };
}

const stepLines = (text) => text.split('\n').filter((line) => stepLine.test(line));

/** Starts it under phos and waits for step `at`: what runs, and where it is. */
async function startUntil(phos, { command, at }, deadlineMs) {
  tokens += 1;
  const token = `--token=${process.pid}-${tokens}`;
  const isExample = !command[0].includes('python');
  // The example takes no argument of ours; its process is told apart by its pause.
  const argv = isExample ? [...command.slice(0, -1), `${20 + tokens}`] : [...command, token];
  let reached = -1;
  const job = phos.start(['run', '--', ...argv], {
    deadlineMs,
    onLine: (line) => {
      const found = stepLine.exec(line);
      if (found !== null) reached = Number(found[1]);
    },
  });
  let over = null;
  void job.ended.then((ended) => {
    over = ended;
  });
  await until(`step ${at}`, () => over !== null || reached >= at, deadlineMs);
  if (over !== null) throw new Failure('it ended before the checkpoint', { run: kept(over) });
  const { runs } = await phos.json(['ps']);
  const run = runs.find((one) => one.argv.join('\0') === argv.join('\0'));
  if (run === undefined) throw new Failure('phos ps does not list it', { runs });
  return { job, pid: run.pid };
}

function compare(native, lines, finalLine, details) {
  const wanted = stepLines(native.stderr);
  const first = wanted.findIndex((line, index) => line !== lines[index]);
  if (first !== -1 || wanted.length !== lines.length) {
    const at = first === -1 ? Math.min(wanted.length, lines.length) : first;
    const told = `'${lines[at] ?? 'nothing'}' instead of '${wanted[at] ?? 'nothing'}'`;
    throw new Failure(`line ${at} of ${wanted.length}: ${told}`, details);
  }
  if (native.stdout.trim() !== finalLine.trim()) {
    throw new Failure(`the end is ${finalLine.trim()}, not ${native.stdout.trim()}`, details);
  }
}

const times = ({ stallMs, stopMs, deviceBytes, imageBytes, stages }) => ({
  stallMs,
  stopMs,
  deviceBytes,
  imageBytes,
  stages,
});

function dumpAndRestore(program) {
  return {
    name: `dump, kill, restore: ${program.name}`,
    deadlineMs: program.deadlineMs,
    run: async ({ phos, deadlineMs, scratch }) => {
      const uninterrupted = runNative(phos, program.command, { deadlineMs });
      const image = join(scratch, `image-${program.name}`);
      const { job, pid } = await startUntil(phos, program, deadlineMs);
      const dump = await phos.json(['dump', `${pid}`, '--dir', image, '-q'], deadlineMs);
      const before = await job.ended;
      const after = await phos.run(['restore', image, '-q'], { deadlineMs });
      const native = mustEnd(await uninterrupted, 'without phos');
      const details = { dump: times(dump), before: kept(before), after: kept(after) };
      if (after.code !== 0) throw new Failure(`restore ended with ${after.code}`, details);
      const halves = [stepLines(before.stderr), stepLines(after.stderr)];
      compare(native, halves.flat(), before.stdout + after.stdout, details);
      if (existsSync(image)) rmSync(image, { recursive: true });
      return { dump: times(dump), lines: halves.map((half) => half.length) };
    },
  };
}

function suspendAndResume(program) {
  return {
    name: `suspend, resume: ${program.name}`,
    alone: true,
    deadlineMs: program.deadlineMs,
    run: async ({ phos, driver, deadlineMs }) => {
      const native = mustEnd(
        await runNative(phos, program.command, { deadlineMs }),
        'without phos',
      );
      const { job, pid } = await startUntil(phos, program, deadlineMs);
      const held = driver === 'cuda' ? usedMemory() : null;
      const out = await phos.json(['suspend', `${pid}`, '-q'], deadlineMs);
      const left = driver === 'cuda' ? usedMemory() : null;
      const { clients } = await phos.json(['ps']);
      const state = clients.find((one) => one.pid === pid)?.state;
      await phos.json(['resume', `${pid}`, '-q'], deadlineMs);
      const ended = await job.ended;
      const details = { suspend: times(out), held, left, state, run: kept(ended) };
      mustEnd(ended, 'under phos');
      compare(native, stepLines(ended.stderr), ended.stdout, details);
      if (state !== 'suspended') throw new Failure(`phos ps called it ${state}`, details);
      if (held !== null && held - left < Number(out.deviceBytes) * 0.9) {
        const given = ((held - left) / 2 ** 20).toFixed(0);
        throw new Failure(`nvidia-smi shows ${given} MiB given back`, details);
      }
      return { suspend: times(out), held_bytes: held, left_bytes: left };
    },
  };
}

export const checkpoint = {
  parallel: 3,
  budgetMs: 150_000,
  cases: ({ driver }) => {
    if (driver === 'sim') return [dumpAndRestore(example('sim')), suspendAndResume(example('sim'))];
    return [
      dumpAndRestore(training('gpt2-adamw', 120, 20, 10)),
      dumpAndRestore(training('gpt2-sgd', 120, 20, 10)),
      dumpAndRestore(training('mlp', 250, 60, 10)),
      dumpAndRestore(training('graph', 250, 60, 10)),
      dumpAndRestore(example('cuda')),
      suspendAndResume(training('gpt2-adamw', 100, 20, 10)),
    ];
  },
};
