// SPDX-License-Identifier: Apache-2.0
// From a folder to an image. Everything is written into a temporary sibling; when it is on the disk
// the manifest follows, and a rename makes it the image. Only then is success told. Whatever fails
// before leaves nothing in the image's place.
import { chown, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { PhosError } from '../errors/phos-error.ts';
import {
  type JobFile,
  JOB_NAME,
  MANIFEST_NAME,
  type ManifestFile,
  PARTIAL_SUFFIX,
} from '../model/image-manifest.ts';
import { failHere, isDataExtent, listFiles, sha256Of, storageError, syncPath } from './files.ts';
import { encodeManifest, type ManifestBody, type ManifestKeys, noKeys } from './manifest.ts';
import { markOwner, OWNER_NAME, unmarkOwner } from './partial-owner.ts';

/** The temporary sibling of an image. */
export function partialOf(directory: string): string {
  return `${directory}${PARTIAL_SUFFIX}`;
}

/**
 * Looks whether an image may be written there; changes nothing.
 *
 * @param directory absolute path of the image to be
 * @throws PhosError CONFLICT when something is there, NOT_FOUND without a parent, PERMISSION
 */
export async function checkTarget(directory: string): Promise<void> {
  await refuseOccupied(directory, 'is not empty');
  await refuseOccupied(partialOf(directory), 'is left from a dump that did not end');
  const parent = dirname(directory);
  try {
    if (!(await stat(parent)).isDirectory()) {
      throw new PhosError('NOT_FOUND', `${parent} is not a folder; choose another place`);
    }
  } catch (thrown) {
    throw storageError(thrown, `looking at ${parent}, where the image is to be`);
  }
}

async function refuseOccupied(directory: string, why: string): Promise<void> {
  let names: string[];
  try {
    names = await readdir(directory);
  } catch (thrown) {
    const code = (thrown as { code?: unknown }).code;
    if (code === 'ENOENT') return;
    if (code === 'ENOTDIR') {
      throw new PhosError('CONFLICT', `${directory} is not a folder; choose another place`);
    }
    throw storageError(thrown, `looking at ${directory}`);
  }
  if (names.length === 0) return;
  throw new PhosError(
    'CONFLICT',
    `${directory} ${why}; phos never empties a folder: remove it or choose another`,
    { details: { directory } },
  );
}

/** Makes the temporary sibling. @throws PhosError PERMISSION, STORAGE, CONFLICT */
export async function createPartial(
  directory: string,
  owner: { readonly uid: number; readonly gid: number },
): Promise<string> {
  const partial = partialOf(directory);
  try {
    failHere('image.create');
    await mkdir(partial, { mode: 0o700 });
    await markOwner(partial);
    if (process.getuid?.() === 0) await chown(partial, owner.uid, owner.gid);
  } catch (thrown) {
    throw storageError(thrown, `making ${partial}`);
  }
  return partial;
}

/** Makes a folder in the partial image for an executor, which runs as the client's user. */
export async function createPart(
  partial: string,
  name: string,
  owner: { readonly uid: number; readonly gid: number },
): Promise<string> {
  const path = join(partial, name);
  try {
    await mkdir(path, { mode: 0o700 });
    if (process.getuid?.() === 0) await chown(path, owner.uid, owner.gid);
  } catch (thrown) {
    throw storageError(thrown, `making ${path}`);
  }
  return path;
}

export async function discardPartial(directory: string): Promise<void> {
  try {
    await rm(partialOf(directory), { recursive: true, force: true });
  } catch (thrown) {
    throw storageError(thrown, `removing ${partialOf(directory)}`);
  }
}

/** Writes a file of its own and brings it onto the disk. */
async function writeDurably(path: string, text: string): Promise<void> {
  failHere('image.write');
  const handle = await open(path, 'wx', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

export type WithoutFiles = Omit<ManifestBody, 'files'>;

export interface CommitOptions {
  readonly directory: string;
  readonly manifest: WithoutFiles;
  readonly job: JobFile;
  readonly signal: AbortSignal;
  readonly onProgress: (doneBytes: bigint, totalBytes: bigint) => void;
  /** What the manifest is encrypted and signed with; neither when absent. */
  readonly keys?: ManifestKeys;
}

/**
 * Turns the temporary sibling into the image.
 *
 * @returns bytes of the whole image
 * @throws PhosError STORAGE, PERMISSION, CONFLICT: then there is no image
 */
export async function commitImage(options: CommitOptions): Promise<bigint> {
  const { directory, signal } = options;
  const partial = partialOf(directory);
  try {
    await writeDurably(join(partial, JOB_NAME), `${JSON.stringify(options.job, null, 2)}\n`);
    const files = await recordFiles(partial, options);
    signal.throwIfAborted();
    await unmarkOwner(partial);
    const text = encodeManifest({ ...options.manifest, files }, options.keys ?? noKeys);
    await writeDurably(join(partial, MANIFEST_NAME), text);
    await syncPath(partial);
    signal.throwIfAborted();
    await moveIntoPlace(partial, directory, signal);
    return files.reduce((sum, file) => sum + BigInt(file.bytes), BigInt(text.length));
  } catch (thrown) {
    throw storageError(thrown, `committing the image ${directory}`);
  }
}

/** Syncs and hashes every file; data extents are only synced. */
async function recordFiles(partial: string, options: CommitOptions): Promise<ManifestFile[]> {
  const { files: found, folders } = await listFiles(partial);
  const files = found.filter((file) => file.name !== OWNER_NAME);
  const hashed = files.filter((file) => !isDataExtent(file.name));
  const totalBytes = hashed.reduce((sum, file) => sum + file.bytes, 0n);
  let doneBytes = 0n;
  const records: ManifestFile[] = [];
  for (const file of files) {
    options.signal.throwIfAborted();
    const path = join(partial, file.name);
    await syncPath(path);
    const sha256 = isDataExtent(file.name)
      ? null
      : await sha256Of(path, (bytes) => {
          doneBytes += BigInt(bytes);
          options.onProgress(doneBytes, totalBytes);
        });
    records.push({ name: file.name, bytes: file.bytes.toString(), sha256 });
  }
  for (const folder of folders.reverse()) await syncPath(folder);
  return records;
}

async function moveIntoPlace(
  partial: string,
  directory: string,
  signal: AbortSignal,
): Promise<void> {
  failHere('image.rename');
  // Over an empty folder, or nothing; a folder that was filled meanwhile refuses (ENOTEMPTY).
  await rename(partial, directory);
  try {
    failHere('image.parent');
    await syncPath(dirname(directory));
    // A dump that gave up while the disk was slow has told that there is no image.
    signal.throwIfAborted();
  } catch (thrown) {
    // Not known to be durable, or not waited for: it goes back to where it is removed.
    await rename(directory, join(dirname(directory), basename(partial)));
    throw thrown;
  }
}
