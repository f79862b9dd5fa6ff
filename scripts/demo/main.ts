// SPDX-License-Identifier: Apache-2.0
// `npm run demo`: an unmodified CUDA program is checkpointed while it runs, killed, and restored;
// its result is compared with that of an uninterrupted run. Everything goes through the command
// line, in a phos of its own, and nothing is left running.

import { parseArgs } from 'node:util';
import { PrivatePhos } from '../lib/private-phos.ts';
import { checkpointAndRestore } from './checkpoint.ts';
import { type DemoSize, uninterrupted } from './program.ts';
import { suspendAndResume } from './suspend.ts';
import { command, heading, line, mib } from './tell.ts';

interface DoctorReport {
  readonly findings: readonly {
    readonly name: string;
    readonly verdict: 'ok' | 'warn' | 'fail';
    readonly found: string;
    readonly fix: string | null;
  }[];
}

interface StatusReport {
  readonly devices: readonly { readonly name: string; readonly totalBytes: number }[];
}

function sizeFromArguments(): DemoSize {
  const { values } = parseArgs({
    options: {
      steps: { type: 'string', default: '200' },
      mib: { type: 'string', default: '64' },
    },
  });
  const size = { steps: Number(values.steps), mib: Number(values.mib) };
  // Less is over before a command line can look at it.
  if (!(size.steps >= 100 && size.mib >= 32)) throw new Error('at least 100 steps and 32 MiB');
  return size;
}

/** What a dump needs besides what everything needs. */
const dumpNeeds = new Set(['criu', 'rights', 'cgroup2']);

/** Why there can be no dump here, with the cure; null when there can. */
async function obstacleToDump(phos: PrivatePhos): Promise<string | null> {
  const { stdout } = await phos.command(['doctor', '--json'], { timeoutMs: 60_000 }).ended;
  const { findings } = JSON.parse(stdout) as DoctorReport;
  const bad = findings.find(({ name, verdict }) => verdict !== 'ok' && dumpNeeds.has(name));
  return bad === undefined ? null : `${bad.name}: ${bad.found}\n    To mend it: ${bad.fix ?? ''}`;
}

async function main(): Promise<void> {
  const size = sizeFromArguments();
  const phos = new PrivatePhos();
  const stopOn = (signal: NodeJS.Signals): void => {
    void phos.close().finally(() => process.exit(signal === 'SIGINT' ? 130 : 143));
  };
  process.once('SIGINT', stopOn).once('SIGTERM', stopOn);
  process.stdout.write('phos: checkpoint and restore of an unmodified CUDA program\n');
  try {
    heading('Start the service');
    command('phos start');
    await phos.must(['start']);
    const { devices } = await phos.json<StatusReport>(['status']);
    for (const { name, totalBytes } of devices) line(`device ${name}, ${mib(totalBytes)}`);
    heading('Run the program without interruption');
    const expected = await uninterrupted(phos, size);
    const obstacle = await obstacleToDump(phos);
    const result =
      obstacle === null
        ? await checkpointAndRestore(phos, size)
        : await suspendAndResume(phos, size, obstacle);
    heading('Compare');
    line(`uninterrupted ${expected}`);
    line(`interrupted   ${result}`);
    if (result !== expected) throw new Error('the results differ');
    line('the results are the same');
  } finally {
    await phos.close();
  }
  process.stdout.write('\nDone; nothing is left running.\n');
}

try {
  await main();
} catch (error) {
  process.stderr.write(`demo: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
