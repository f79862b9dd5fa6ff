// SPDX-License-Identifier: Apache-2.0
// One dump and one restore of a CPU-only job, in the words of the tests.
import {
  type CpuDumpRequest,
  dumpCpu,
  endTree,
  type FrozenDump,
  thawTree,
} from '../../src/host/cpu-checkpoint.ts';
import { restoreCpu } from '../../src/host/cpu-restore.ts';
import type { KeeperJob } from '../../src/host/keeper.ts';
import { type Bench, DEADLINE_MS, type Running } from './counter.ts';

export const dumpLimits = { freezeMs: 5_000, criuMs: 60_000, signal: null } as const;

export function dumpRequest(running: Running, leaveRunning = false): CpuDumpRequest {
  return {
    rootPid: running.started.pid,
    cgroup: running.cgroup,
    keeper: running.keeper,
    closing: [],
    leaveRunning,
    closeTcp: false,
  };
}

/** Dumps into DIR/NAME and ends the tree, as `phos dump` does. */
export async function dumpAndEnd(
  bench: Bench,
  running: Running,
  name: string,
): Promise<FrozenDump> {
  const dump = await dumpCpu(dumpRequest(running), bench.folder(name), dumpLimits);
  await endTree(running.cgroup, dump.tree, DEADLINE_MS);
  await running.keeper.exited;
  return dump;
}

/** Dumps into DIR/NAME and lets the tree go on. */
export async function dumpAndThaw(
  bench: Bench,
  running: Running,
  name: string,
): Promise<{ dump: FrozenDump; stoppedMs: number }> {
  const dump = await dumpCpu(dumpRequest(running, true), bench.folder(name), dumpLimits);
  return { dump, stoppedMs: await thawTree(running.cgroup, dump, DEADLINE_MS) };
}

export async function restoreFrom(
  bench: Bench,
  name: string,
  options: { readonly truncate?: boolean; readonly job?: Partial<KeeperJob> } = {},
): Promise<Running> {
  const job = bench.job(options.job);
  const started = await restoreCpu({
    directory: bench.folder(name),
    workDir: bench.folder(`${name}-work`),
    job,
    truncate: options.truncate ?? false,
    deadlineMs: DEADLINE_MS,
  });
  bench.track(started);
  return bench.follow(job, started);
}

/** The lines of a whole, uninterrupted run of test/subjects/counter.c. */
export function wholeCount(lines: number): string[] {
  return [...Array.from({ length: lines }, (_, step) => `line ${step}`), 'done'];
}
