// SPDX-License-Identifier: Apache-2.0
// Files of an image on disk: listing, hashing, and making them durable.
import { createHash } from 'node:crypto';
import { constants, createReadStream } from 'node:fs';
import { open, readdir, stat } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { PhosError, type ErrorCode } from '../errors/phos-error.ts';
import { faultPoint } from '../native/native.ts';

/** Large enough that hashing waits for the disk and not for calls. */
const READ_BYTES = 1 << 20;

export interface FoundFile {
  /** Relative to the image, with forward slashes. */
  readonly name: string;
  readonly bytes: bigint;
}

/** Every regular file below a folder, sorted by name, and every folder in it. */
export async function listFiles(
  directory: string,
): Promise<{ readonly files: FoundFile[]; readonly folders: string[] }> {
  const files: FoundFile[] = [];
  const folders: string[] = [directory];
  for (const entry of await readdir(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isDirectory()) folders.push(path);
    if (!entry.isFile()) continue;
    const { size } = await stat(path, { bigint: true });
    files.push({ name: relative(directory, path), bytes: size });
  }
  return { files: files.sort((a, b) => (a.name < b.name ? -1 : 1)), folders };
}

/** SHA-256 of a file, read once from start to end. */
export async function sha256Of(path: string, onBytes: (bytes: number) => void): Promise<string> {
  const hash = createHash('sha256');
  for await (const part of createReadStream(path, { highWaterMark: READ_BYTES })) {
    hash.update(part as Buffer);
    onBytes((part as Buffer).length);
  }
  return hash.digest('hex');
}

/** Data extents are checked chunk by chunk: their index carries the checksums. */
export function isDataExtent(name: string): boolean {
  return /^gpu-\d+\/data-\d+$/.test(name);
}

/** Brings what was written to a file or folder onto the disk. */
export async function syncPath(path: string): Promise<void> {
  failHere('image.sync');
  const handle = await open(path, constants.O_RDONLY);
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Where tests make a write of the image fail: PHOS_FAULT, numbered together with native code. */
export function failHere(point: string): void {
  if (process.env['PHOS_FAULT'] === undefined) return;
  const errno = faultPoint(point);
  if (errno === 0) return;
  const code = Object.entries({ ENOSPC: 28, EIO: 5, EACCES: 13 }).find(([, n]) => n === errno);
  throw Object.assign(new Error(`${code?.[0] ?? errno} planted at ${point}`), {
    code: code?.[0] ?? 'EIO',
  });
}

const codes: Readonly<Record<string, ErrorCode>> = {
  ENOENT: 'NOT_FOUND',
  ENOTDIR: 'NOT_FOUND',
  EACCES: 'PERMISSION',
  EPERM: 'PERMISSION',
  EROFS: 'PERMISSION',
  EEXIST: 'CONFLICT',
  ENOTEMPTY: 'CONFLICT',
  ENOSPC: 'STORAGE',
  EDQUOT: 'STORAGE',
  EIO: 'STORAGE',
};
const cures: Readonly<Partial<Record<ErrorCode, string>>> = {
  NOT_FOUND: 'check the path',
  PERMISSION: 'choose a folder that you may write, or ask its owner',
  CONFLICT: 'choose another folder',
  STORAGE: 'free space or choose another disk',
};

/** A system error as the PhosError that says what was being done. */
export function storageError(thrown: unknown, doing: string): PhosError {
  if (thrown instanceof PhosError) return thrown;
  const errno = (thrown as { code?: unknown }).code;
  const code = (typeof errno === 'string' ? codes[errno] : undefined) ?? 'INTERNAL';
  const reason = thrown instanceof Error ? thrown.message : String(thrown);
  const cure = cures[code];
  return new PhosError(code, `${doing}: ${reason}${cure === undefined ? '' : `; ${cure}`}`, {
    cause: thrown,
  });
}
