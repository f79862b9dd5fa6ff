// SPDX-License-Identifier: Apache-2.0
// Files that the tree has open for writing. Their size and offset at the dump go into the image: a
// program that comes back over a file that has grown since would repeat or overwrite output.
import { statSync, truncateSync } from 'node:fs';
import { PhosError } from '../errors/phos-error.ts';
import { type FdFacts, isAppending, isWritable } from './fds.ts';
import { codeOfErrno, errnoOf } from './wait.ts';

/** As the manifest keeps it (cpu.openFiles); byte counts are decimal strings at rest. */
export interface OpenFile {
  readonly pid: number;
  readonly fd: number;
  readonly path: string;
  readonly offset: string;
  readonly bytes: string;
  readonly append: boolean;
}

const DELETED = ' (deleted)';

/** Regular files among these descriptors that are open for writing and still have a name. */
export function openForWriting(fds: readonly FdFacts[]): OpenFile[] {
  return fds
    .filter((fd) => fd.kind === 'file' && isWritable(fd))
    .filter((fd) => !fd.target.endsWith(DELETED) && !/^\/(proc|sys)\//.test(fd.target))
    .map((fd) => ({
      pid: fd.pid,
      fd: fd.fd,
      path: fd.target,
      offset: fd.offset.toString(),
      bytes: fd.bytes.toString(),
      append: isAppending(fd),
    }));
}

export interface GrownFile {
  readonly path: string;
  readonly recordedBytes: bigint;
  readonly bytes: bigint;
}

/**
 * Compares recorded files with what is on disk now; changes nothing.
 *
 * @returns files that have grown, which truncateGrown() may cut back
 * @throws PhosError NOT_FOUND for one that is gone, CONFLICT for one that has shrunk
 */
export function findGrown(files: readonly OpenFile[]): GrownFile[] {
  const grown = new Map<string, GrownFile>();
  for (const file of files) {
    const recordedBytes = BigInt(file.bytes);
    const bytes = sizeOf(file);
    const details = { path: file.path, recordedBytes: file.bytes, bytes: bytes.toString() };
    if (bytes < recordedBytes) {
      throw new PhosError(
        'CONFLICT',
        `${file.path} held ${recordedBytes} bytes at the dump and holds ${bytes} now; ` +
          'put back what was cut off it before restoring',
        { details },
      );
    }
    if (bytes > recordedBytes) grown.set(file.path, { path: file.path, recordedBytes, bytes });
  }
  return [...grown.values()];
}

/** @throws PhosError CONFLICT naming the first file that has grown */
export function refuseGrown(files: readonly OpenFile[]): void {
  const [first] = findGrown(files);
  if (first === undefined) return;
  throw new PhosError(
    'CONFLICT',
    `${first.path} has grown from ${first.recordedBytes} to ${first.bytes} bytes since the ` +
      'dump, and the program would write over or repeat what came after; use --truncate to ' +
      'cut it back, or move it away and put the old one in its place',
    { details: { path: first.path, recordedBytes: first.recordedBytes, bytes: first.bytes } },
  );
}

/** Cuts files back to what they held at the dump. @throws PhosError PERMISSION, STORAGE */
export function truncateGrown(grown: readonly GrownFile[]): void {
  for (const file of grown) {
    try {
      truncateSync(file.path, Number(file.recordedBytes));
    } catch (cause) {
      const errno = errnoOf(cause);
      throw new PhosError(
        codeOfErrno(errno),
        `${file.path} could not be cut back to ${file.recordedBytes} bytes (${errno})`,
        { cause },
      );
    }
  }
}

function sizeOf(file: OpenFile): bigint {
  try {
    return statSync(file.path, { bigint: true }).size;
  } catch (cause) {
    const errno = errnoOf(cause);
    throw new PhosError(
      codeOfErrno(errno),
      `${file.path}, which the program had open for writing, cannot be read (${errno}); ` +
        'put it back before restoring',
      { cause, details: { path: file.path } },
    );
  }
}
