// SPDX-License-Identifier: Apache-2.0
// Without CRIU: the program's device memory is taken to the host in the middle of a run, and
// brought back.

import type { PrivatePhos } from '../lib/private-phos.ts';
import { type JobReport, tellJob } from './job.ts';
import { type DemoSize, startProgram } from './program.ts';
import { command, heading, line, seconds } from './tell.ts';

/** How long the program stays suspended. */
const restMs = 1000;

/** @returns the line that the program printed */
export async function suspendAndResume(
  phos: PrivatePhos,
  size: DemoSize,
  obstacle: string,
): Promise<string> {
  heading('No dump here: showing suspend and resume instead');
  line(obstacle);
  const { ended, counter, pid } = await startProgram(phos, size, Math.floor(size.steps / 3));
  const since = performance.now();
  command(`phos suspend ${pid}`);
  tellJob(await phos.json<JobReport>(['suspend', String(pid)], 120_000));
  const at = counter.latest;
  await new Promise((resolve) => setTimeout(resolve, restMs));
  if (counter.latest > at + 1) throw new Error('the program made steps while it was suspended');
  line(`stands still at step ${counter.latest}`);
  command(`phos resume ${pid}`);
  tellJob(await phos.json<JobReport>(['resume', String(pid)], 120_000));
  const { code, stdout, stderr } = await ended;
  if (code !== 0) throw new Error(`the program ended with ${code}:\n${stderr.slice(-2000)}`);
  line(`longest pause between two steps: ${seconds(counter.longestPause(since))}`);
  return stdout.trim();
}
