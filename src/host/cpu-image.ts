// SPDX-License-Identifier: Apache-2.0
// IMAGE/cpu: CRIU's images, and beside them what CRIU does not keep (process.json, stdin.pending).
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { PhosError } from '../errors/phos-error.ts';
import { codeOfErrno, errnoOf } from './wait.ts';

export const PROCESS_FILE = 'process.json';
export const PENDING_INPUT_FILE = 'stdin.pending';
const VERSION = 1;

const count = z.number().int().nonnegative();
const bytesText = z.string().regex(/^\d{1,20}$/);

export const cpuImageSchema = z.strictObject({
  version: z.literal(VERSION),
  criuVersion: z.string(),
  rootPid: count,
  /** Every pid of the tree; all must be free at the restore. */
  pids: z.array(count),
  /** The session's leader was not in the tree. */
  shellJob: z.boolean(),
  /** TCP connections were saved and come back closed. */
  closeTcp: z.boolean(),
  /** Keeper's ends that the tree held: CRIU's name and the stream that takes its place. */
  ends: z.array(
    z.strictObject({ name: z.string(), stdio: z.enum(['stdin', 'stdout', 'stderr', 'pty']) }),
  ),
  /** Settings of the terminal in hexadecimal; '' without one. */
  termios: z.string(),
  stdinEof: z.boolean(),
  /** There is a file with input that the program had not read. */
  pendingInput: z.boolean(),
  openFiles: z.array(
    z.strictObject({
      pid: count,
      fd: count,
      path: z.string(),
      offset: bytesText,
      bytes: bytesText,
      append: z.boolean(),
    }),
  ),
});
export type CpuImage = z.output<typeof cpuImageSchema>;
export const CPU_IMAGE_VERSION = VERSION;

/** Writes process.json and, when there is any, the pending input. @throws PhosError STORAGE, ... */
export function writeCpuImage(directory: string, image: CpuImage, pendingInput: Buffer): void {
  try {
    if (pendingInput.length > 0) {
      writeFileSync(join(directory, PENDING_INPUT_FILE), pendingInput, { mode: 0o600 });
    }
    const text = `${JSON.stringify(image, null, 2)}\n`;
    writeFileSync(join(directory, PROCESS_FILE), text, { mode: 0o600 });
  } catch (cause) {
    const errno = errnoOf(cause);
    throw new PhosError(
      codeOfErrno(errno),
      `writing the CPU side to ${directory} failed (${errno})`,
      {
        cause,
      },
    );
  }
}

/** Reads process.json. @throws PhosError IMAGE_INVALID when it is missing or out of form */
export function readCpuImage(directory: string): CpuImage {
  const path = join(directory, PROCESS_FILE);
  try {
    return cpuImageSchema.parse(JSON.parse(readFileSync(path, 'utf8')));
  } catch (cause) {
    throw new PhosError('IMAGE_INVALID', `${path} cannot be read; restore from another image`, {
      cause,
    });
  }
}

/** Bytes of every file in the folder. */
export function folderBytes(directory: string): bigint {
  return readdirSync(directory).reduce(
    (sum, name) => sum + statSync(join(directory, name), { bigint: true }).size,
    0n,
  );
}
