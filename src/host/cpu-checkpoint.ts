// SPDX-License-Identifier: Apache-2.0
// The CPU side of a job: its processes as CRIU dumps and restores them.
//
// A dump stops the tree with its cgroup's freezer, has the keeper take what is in the pipes (so it
// is delivered exactly once: CRIU does not put it back into an inherited pipe), and runs CRIU. The
// tree is left frozen, for the caller to end or to thaw once the image is committed. Whatever fails
// here thaws it, and the program goes on.
import { PhosError } from '../errors/phos-error.ts';
import { JobCgroup } from './cgroup.ts';
import { CPU_IMAGE_VERSION, type CpuImage, folderBytes, writeCpuImage } from './cpu-image.ts';
import {
  type Criu,
  checkMayCheckpoint,
  checkMayDumpUsers,
  findCriu,
  makeImagesDir,
  runDump,
} from './criu.ts';
import { readFds } from './fds.ts';
import type { KeeperConnection, KeeperStatus } from './keeper-connection.ts';
import { findLeadsOut, type KeeperEnd, refuseLeaks } from './leads-out.ts';
import { type OpenFile, openForWriting } from './open-files.ts';
import { isAlive, type ProcessFacts, readTracer, readTree, readUid, waitReaped } from './proc.ts';
import { errnoOf, waitUntil } from './wait.ts';

const KEEPER_DEADLINE_MS = 10_000;

export interface CpuDumpRequest {
  readonly rootPid: number;
  /** The job's cgroup. The tree is moved into it if it is not there. */
  readonly cgroup: JobCgroup;
  /** The job's keeper; null for a program that phos did not start. */
  readonly keeper: KeeperConnection | null;
  /** Pids whose sockets to the tree are closed before the dump: the tree's executors. */
  readonly closing: readonly number[];
  /** The program goes on after the dump. */
  readonly leaveRunning: boolean;
  /** TCP connections come back closed instead of refusing the dump. */
  readonly closeTcp: boolean;
}

/** What a dump would cover. Nothing was touched to learn it. */
export interface CpuPlan {
  readonly criu: Criu;
  readonly tree: readonly ProcessFacts[];
  readonly ends: readonly KeeperEnd[];
  readonly openFiles: readonly OpenFile[];
}

/**
 * Looks whether a tree can be dumped.
 *
 * @throws PhosError NOT_FOUND (no such process), PERMISSION, UNAVAILABLE or UNSUPPORTED (CRIU),
 *   UNSUPPORTED naming every descriptor that leads out of the tree
 */
export async function planCpuDump(request: CpuDumpRequest): Promise<CpuPlan> {
  checkMayCheckpoint();
  const tree = readTree(request.rootPid);
  checkMayDumpUsers(tree.flatMap((row) => readUid(row.pid) ?? []));
  const criu = await findCriu();
  const status = (await request.keeper?.status(KEEPER_DEADLINE_MS)) ?? null;
  return { criu, tree, ...inspect(tree, request, status, request.closing) };
}

function inspect(
  tree: readonly ProcessFacts[],
  request: CpuDumpRequest,
  status: KeeperStatus | null,
  closing: readonly number[],
): { ends: readonly KeeperEnd[]; openFiles: readonly OpenFile[] } {
  const fds = tree.flatMap((row) => readFds(row.pid));
  const { ends, leaks } = findLeadsOut(fds, {
    stdio: status?.stdio ?? null,
    closing: new Set(closing),
    closeTcp: request.closeTcp,
  });
  refuseLeaks(leaks);
  return { ends, openFiles: openForWriting(fds) };
}

/** A tree that is stopped, with its CPU side saved. */
export interface FrozenDump {
  readonly image: CpuImage;
  readonly tree: readonly ProcessFacts[];
  readonly bytes: bigint;
  /** performance.now() of the moment the freezer was asked: the process stop began. */
  readonly stoppedAt: number;
  readonly freezeMs: number;
  readonly criuMs: number;
  readonly leaveRunning: boolean;
  /** Pids that were stopped (SIGSTOP) before the dump and stay so. */
  readonly stoppedBefore: ReadonlySet<number>;
}

export interface CpuDumpLimits {
  readonly freezeMs: number;
  readonly criuMs: number;
  readonly signal: AbortSignal | null;
}

/**
 * Freezes the tree and saves it into `directory` (made if missing, else empty).
 *
 * @returns with the tree frozen: endTree() or thawTree() is next
 * @throws PhosError with the tree running again as if nothing had been
 */
export async function dumpCpu(
  request: CpuDumpRequest,
  directory: string,
  limits: CpuDumpLimits,
): Promise<FrozenDump> {
  checkMayCheckpoint();
  const criu = await findCriu();
  makeImagesDir(directory);
  gather(request);
  const stoppedAt = performance.now();
  await request.cgroup.freeze(limits.freezeMs);
  const frozenAt = performance.now();
  const stoppedBefore = stoppedStates(readTree(request.rootPid));
  try {
    const saved = await saveFrozen(request, directory, limits, criu);
    const { leaveRunning } = request;
    return { ...saved, leaveRunning, stoppedAt, stoppedBefore, freezeMs: frozenAt - stoppedAt };
  } catch (thrown) {
    if (!request.leaveRunning) cancelStop(request.cgroup, stoppedBefore);
    await request.cgroup.thaw(limits.freezeMs);
    throw thrown;
  }
}

async function saveFrozen(
  request: CpuDumpRequest,
  directory: string,
  limits: CpuDumpLimits,
  criu: Criu,
): Promise<Pick<FrozenDump, 'image' | 'tree' | 'bytes' | 'criuMs'>> {
  const { keeper } = request;
  // The tree as it is now that nothing in it moves; the plan was made while it ran.
  const tree = readTree(request.rootPid);
  const status = (await keeper?.status(KEEPER_DEADLINE_MS)) ?? null;
  const { ends, openFiles } = inspect(tree, request, status, []);
  await keeper?.flush(KEEPER_DEADLINE_MS);
  const pendingInput = (await keeper?.pendingInput(KEEPER_DEADLINE_MS)) ?? Buffer.alloc(0);
  const root = tree[0];
  const shellJob = root?.session !== root?.pid;
  const criuStart = performance.now();
  await runDump(criu, {
    rootPid: request.rootPid,
    imagesDir: directory,
    freezeCgroup: request.cgroup.path,
    externalTtys: ends.filter((end) => end.stdio === 'pty').map((end) => end.name),
    leaveRunning: request.leaveRunning,
    shellJob,
    closeTcp: request.closeTcp,
    deadlineMs: limits.criuMs,
    signal: limits.signal,
  });
  const criuMs = performance.now() - criuStart;
  // CRIU thaws the tree to work on it and freezes it again; that is worth not taking on trust.
  await request.cgroup.freeze(limits.freezeMs);
  const image: CpuImage = {
    version: CPU_IMAGE_VERSION,
    criuVersion: criu.version,
    rootPid: request.rootPid,
    pids: tree.map((row) => row.pid),
    shellJob,
    closeTcp: request.closeTcp,
    ends: [...ends],
    termios: status?.termios ?? '',
    stdinEof: status?.stdinEof ?? false,
    pendingInput: pendingInput.length > 0,
    openFiles: [...openFiles],
  };
  writeCpuImage(directory, image, pendingInput);
  return { image, tree, bytes: folderBytes(directory), criuMs };
}

/** Brings every process of the tree into the job's cgroup, children made meanwhile included. */
function gather(request: CpuDumpRequest): void {
  for (let round = 0; round < 16; round += 1) {
    const members = new Set(request.cgroup.members());
    const missing = readTree(request.rootPid).filter((row) => !members.has(row.pid));
    if (missing.length === 0) return;
    for (const row of missing) {
      try {
        request.cgroup.adopt([row.pid]);
      } catch (thrown) {
        // It may have ended since it was listed; anything else is a failure.
        if (isAlive(row)) throw thrown;
      }
    }
  }
  throw new PhosError(
    'CONFLICT',
    `process ${request.rootPid} makes new processes faster than they can be gathered; try again`,
  );
}

function stoppedStates(tree: readonly ProcessFacts[]): Set<number> {
  return new Set(tree.filter((row) => row.state === 'T').map((row) => row.pid));
}

/**
 * CRIU leaves a tree that is to end with a SIGSTOP waiting for it. If it is to go on after all, a
 * SIGCONT sent while it is still frozen takes that back before anyone can see it stop.
 */
function cancelStop(cgroup: JobCgroup, stoppedBefore: ReadonlySet<number>): void {
  for (const pid of cgroup.members()) {
    if (stoppedBefore.has(pid)) continue;
    try {
      process.kill(pid, 'SIGCONT');
    } catch (thrown) {
      if (errnoOf(thrown) !== 'ESRCH') throw thrown;
    }
  }
}

/** Lets a frozen tree go on. @returns how long it was stopped, in milliseconds */
export async function thawTree(
  cgroup: JobCgroup,
  dump: Pick<FrozenDump, 'stoppedAt' | 'stoppedBefore' | 'leaveRunning'>,
  deadlineMs: number,
): Promise<number> {
  if (!dump.leaveRunning) cancelStop(cgroup, dump.stoppedBefore);
  await cgroup.thaw(deadlineMs);
  return performance.now() - dump.stoppedAt;
}

/**
 * Lets a tree go on that was left frozen by a phosd that ended in the middle of a dump. Its CRIU
 * may still be at work, and is waited for: the tracer of the processes tells.
 *
 * @returns false when nothing was frozen or traced
 * @throws PhosError TIMEOUT when CRIU does not end
 */
export async function thawAbandoned(cgroup: JobCgroup, deadlineMs: number): Promise<boolean> {
  const isTraced = () => cgroup.members().some((pid) => readTracer(pid) !== 0);
  const wasTraced = isTraced();
  await waitUntil(() => !isTraced(), deadlineMs, 'the CRIU of an earlier phosd did not end');
  if (cgroup.members().length === 0 || !(wasTraced || cgroup.isFrozen())) return false;
  cancelStop(cgroup, new Set());
  await cgroup.thaw(deadlineMs);
  return true;
}

/**
 * Ends a tree and waits until it is reaped, so that its pids are free for a restore.
 *
 * @throws PhosError TIMEOUT naming who is left
 */
export async function endTree(
  cgroup: JobCgroup,
  tree: readonly ProcessFacts[],
  deadlineMs: number,
): Promise<void> {
  await cgroup.kill(deadlineMs);
  await waitReaped(tree, deadlineMs);
}
