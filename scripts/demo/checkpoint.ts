// SPDX-License-Identifier: Apache-2.0
// The main job: dump while the program runs, let it run on, kill it, restore it.

import { join } from 'node:path';
import type { PrivatePhos } from '../lib/private-phos.ts';
import { StepCounter } from './counter.ts';
import { type JobReport, tellJob } from './job.ts';
import { type DemoSize, type Running, startProgram } from './program.ts';
import { command, heading, line, mib, seconds } from './tell.ts';

/** @returns the line that the restored program printed */
export async function checkpointAndRestore(phos: PrivatePhos, size: DemoSize): Promise<string> {
  const image = join(phos.folder, 'image');
  heading('Run it again, and dump it while it runs');
  const program = await startProgram(phos, size, Math.floor(size.steps / 5));
  const dumpedAt = await dump(phos, program, image);
  heading('Kill it');
  await kill(program, dumpedAt);
  heading('Restore it');
  command(`phos image verify ${image}`);
  await phos.must(['image', 'verify', image], 120_000);
  return await restore(phos, image, program.counter.latest);
}

async function dump(phos: PrivatePhos, program: Running, image: string): Promise<number> {
  const { counter, pid } = program;
  const since = performance.now();
  command(`phos dump ${pid} --dir ${image} --leave-running`);
  const job = await phos.json<JobReport>(
    ['dump', String(pid), '--dir', image, '--leave-running'],
    120_000,
  );
  const at = counter.latest;
  tellJob(job);
  line(`image ${mib(job.imageBytes)}, of it device ${mib(job.deviceBytes)}`);
  await counter.reached(at + 3, 60_000);
  const seen = seconds(counter.longestPause(since));
  line(`GPU stall ${seconds(job.stallMs)}, processes frozen ${seconds(job.stopMs)}`);
  line(`longest pause between two steps that the program saw: ${seen}`);
  return at;
}

async function kill(program: Running, dumpedAt: number): Promise<void> {
  // Some steps after the dump: they are lost with the program, and done again after the restore.
  await program.counter.reached(dumpedAt + 5, 60_000);
  command(`kill -9 ${program.pid}`);
  process.kill(program.pid, 'SIGKILL');
  const { code, stdout } = await program.ended;
  if (code !== 137 || stdout !== '') {
    throw new Error(`killed, \`phos run\` ended with ${code} and printed '${stdout.trim()}'`);
  }
  line(`dead at step ${program.counter.latest}; \`phos run\` ended with 137`);
}

async function restore(phos: PrivatePhos, image: string, diedAt: number): Promise<string> {
  const counter = new StepCounter();
  command(`phos restore ${image}`);
  const start = performance.now();
  const run = phos.command(['restore', image], {
    timeoutMs: 180_000,
    onErrorLine: counter.take,
  });
  const { code, stdout, stderr } = await run.ended;
  if (code !== 0) throw new Error(`phos restore ended with ${code}:\n${stderr.slice(-2000)}`);
  const first = counter.seen[0];
  if (first === undefined || first.step > diedAt) {
    throw new Error('the restored program did not go on where it was dumped');
  }
  line(`back after ${seconds(first.at - start)}, going on with step ${first.step}`);
  line(`ended with 0 after step ${counter.latest}`);
  return stdout.trim();
}
