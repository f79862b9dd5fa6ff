// SPDX-License-Identifier: Apache-2.0
// Brings the CPU side of an image back: checks everything that can be checked, then lets a keeper
// run CRIU with new ends for what led out of the tree.
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { PhosError } from '../errors/phos-error.ts';
import { JobCgroup } from './cgroup.ts';
import { type CpuImage, PENDING_INPUT_FILE, readCpuImage } from './cpu-image.ts';
import {
  type Criu,
  checkMayCheckpoint,
  criuEnvironment,
  findCriu,
  RESTORE_LOG,
  RESTORE_PID,
  restoreArguments,
} from './criu.ts';
import { explainCriuLog } from './criu-log.ts';
import { type KeeperJob, restoreUnderKeeper, type StartedJob } from './keeper.ts';
import type { StdioEnd } from './leads-out.ts';
import { findGrown, refuseGrown, truncateGrown } from './open-files.ts';
import { readProcess } from './proc.ts';

const KEEPER_MARGIN_MS = 5_000;
const CLEAN_UP_MS = 10_000;

export interface CpuRestoreRequest {
  /** IMAGE/cpu. */
  readonly directory: string;
  /** Existing, writable folder for CRIU's log and pid file. */
  readonly workDir: string;
  /** What the new keeper is told; `pty` is replaced by what the image says. */
  readonly job: KeeperJob;
  /** Cut files back that have grown since the dump, instead of refusing. */
  readonly truncate: boolean;
  readonly deadlineMs: number;
}

export interface CpuRestorePlan {
  readonly criu: Criu;
  readonly image: CpuImage;
}

/**
 * Looks whether an image can be restored here and now; changes nothing.
 *
 * @throws PhosError IMAGE_INVALID, PERMISSION, UNAVAILABLE or UNSUPPORTED (CRIU), CONFLICT when a
 *   pid of the image is taken or a file has changed, NOT_FOUND when a file is gone
 */
export async function planCpuRestore(
  directory: string,
  options: { readonly truncate: boolean },
): Promise<CpuRestorePlan> {
  checkMayCheckpoint();
  const image = readCpuImage(directory);
  const criu = await findCriu();
  refuseTakenPids(image);
  if (options.truncate) findGrown(image.openFiles);
  else refuseGrown(image.openFiles);
  return { criu, image };
}

function refuseTakenPids(image: CpuImage): void {
  for (const pid of image.pids) {
    const holder = readProcess(pid);
    if (holder === null) continue;
    throw new PhosError(
      'CONFLICT',
      `pid ${pid}, which the image needs, belongs to ${holder.command}; ` +
        'end it (or wait until its parent has reaped it) and restore again',
      { details: { pid, command: holder.command, state: holder.state } },
    );
  }
}

/**
 * Restores the tree.
 *
 * @returns the root and its keeper, when the tree runs again in job.cgroup
 * @throws PhosError with nothing left running
 */
export async function restoreCpu(request: CpuRestoreRequest): Promise<StartedJob> {
  const { criu, image } = await planCpuRestore(request.directory, request);
  if (request.truncate) truncateGrown(findGrown(image.openFiles));
  const hasPty = image.ends.some((end) => end.stdio === 'pty');
  const nameOf = (stdio: StdioEnd) => image.ends.find((end) => end.stdio === stdio)?.name ?? null;
  rmSync(join(request.workDir, RESTORE_PID), { force: true });
  rmSync(join(request.workDir, RESTORE_LOG), { force: true });
  try {
    return await restoreUnderKeeper(
      {
        ...request.job,
        pty: hasPty ? (request.job.pty ?? { rows: 24, columns: 80 }) : null,
        criuArguments: restoreArguments(criu, {
          imagesDir: request.directory,
          workDir: request.workDir,
          shellJob: image.shellJob,
          closeTcp: image.closeTcp,
        }),
        criuEnvironment,
        pidFile: join(request.workDir, RESTORE_PID),
        inherit: {
          stdin: nameOf('stdin'),
          stdout: nameOf('stdout'),
          stderr: nameOf('stderr'),
          tty: nameOf('pty'),
        },
        stdinFile: image.pendingInput ? join(request.directory, PENDING_INPUT_FILE) : null,
        stdinEof: image.stdinEof,
        termios: hasPty ? image.termios : '',
        deadlineMs: request.deadlineMs,
      },
      request.deadlineMs + KEEPER_MARGIN_MS,
    );
  } catch (thrown) {
    await clearCgroup(request.job.cgroup);
    throw explained(thrown, request.workDir);
  }
}

/** A restore that failed half-way may have left processes: they are in the job's cgroup. */
async function clearCgroup(path: string | null): Promise<void> {
  if (path !== null) await new JobCgroup(path).kill(CLEAN_UP_MS);
}

/** CRIU's own reason in place of "exit status 1". */
function explained(thrown: unknown, workDir: string): unknown {
  const byCriu = thrown instanceof PhosError && thrown.message.startsWith('CRIU could not restore');
  return byCriu ? explainCriuLog(join(workDir, RESTORE_LOG), 'restore', thrown.message) : thrown;
}
