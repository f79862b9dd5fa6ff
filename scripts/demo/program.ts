// SPDX-License-Identifier: Apache-2.0
// The demo's program under phos: how it is started, and what it shows while it runs.

import { join, relative } from 'node:path';
import { buildDir, directEnv, type PrivatePhos, type Started, start } from '../lib/private-phos.ts';
import { StepCounter, timesOf } from './counter.ts';
import { command, line, seconds } from './tell.ts';

export interface DemoSize {
  readonly steps: number;
  readonly mib: number;
}

/** How long a whole run may take; a demo that hangs must end and say so. */
const runTimeoutMs = 180_000;

export const programPath: string = join(buildDir, 'examples/steps/steps');

/** A path as one would type it in the tree. */
export function shown(path: string): string {
  return relative(process.cwd(), path);
}

function argumentsOf(size: DemoSize): string[] {
  return ['--steps', String(size.steps), '--mib', String(size.mib)];
}

export interface Running extends Started {
  readonly counter: StepCounter;
  readonly pid: number;
}

interface Listed {
  readonly clients: readonly { readonly pid: number; readonly command: string }[];
}

/** Starts the program under phos and waits until it has done some steps. */
export async function startProgram(
  phos: PrivatePhos,
  size: DemoSize,
  step: number,
): Promise<Running> {
  // It goes on while it is dumped, and must not be at its end before the dump is.
  const given = [...argumentsOf(size), '--pause-ms', '40'];
  const args = ['run', '--', programPath, ...given];
  command(`phos run -- ${shown(programPath)} ${given.join(' ')} &`);
  const counter = new StepCounter();
  const run = phos.command(args, { timeoutMs: runTimeoutMs, onErrorLine: counter.take });
  const early = endedTooSoon(run);
  // It always ends at last; that is an error only while somebody waits for a step.
  early.catch(() => {});
  await Promise.race([counter.reached(1, 60_000), early]);
  const { clients } = await phos.json<Listed>(['ps']);
  const pid = clients.find((client) => client.command.startsWith('steps'))?.pid;
  if (pid === undefined) throw new Error('`phos ps` does not list the program that runs');
  await Promise.race([counter.reached(step, 60_000), early]);
  line(`pid ${pid}, at step ${counter.latest}`);
  return { ...run, counter, pid };
}

async function endedTooSoon(run: Started): Promise<never> {
  const { code, stderr } = await run.ended;
  throw new Error(`the program ended with ${code} before its time:\n${stderr.slice(-2000)}`);
}

/** Runs the program to its end, directly on sim and under phos; gives the line it printed. */
export async function uninterrupted(phos: PrivatePhos, size: DemoSize): Promise<string> {
  const direct = await start([programPath, ...argumentsOf(size)], {
    timeoutMs: runTimeoutMs,
    env: directEnv,
  }).ended;
  const args = ['run', '--', programPath, ...argumentsOf(size)];
  command(`phos run -- ${shown(programPath)} ${argumentsOf(size).join(' ')}`);
  const { code, stdout, stderr } = await phos.command(args, { timeoutMs: runTimeoutMs }).ended;
  if (code !== 0 || direct.code !== 0) {
    throw new Error(`the program ended with ${code} (directly ${direct.code}):\n${stderr}`);
  }
  const [under, bare] = [timesOf(stderr).stepsS, timesOf(direct.stderr).stepsS];
  line(`${size.steps} steps in ${seconds(under * 1e3)}; directly on sim ${seconds(bare * 1e3)}`);
  line(`result ${stdout.trim()}`);
  if (stdout !== direct.stdout) throw new Error('directly on sim the result is another one');
  return stdout.trim();
}
