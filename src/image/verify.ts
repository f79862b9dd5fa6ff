// SPDX-License-Identifier: Apache-2.0
// Whether an image is whole: every file that the manifest names is there, as long as it says, with
// the content it says. Chunks of device memory are checked by the addon against their index.
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { ImageManifest, ManifestFile } from '../model/image-manifest.ts';
import { verifyImage as verifyGpu } from '../native/native.ts';
import { sha256Of, storageError } from './files.ts';
import { noDemands, type Trust } from './keys.ts';
import { invalid, readJob, readManifest } from './manifest.ts';
import { checkFolder, checkParents } from './parents.ts';

/** Threads that read, each with a buffer of 8 MiB. */
const READ_LANES = 2;

export interface ImageReport {
  readonly manifest: ImageManifest;
  readonly files: number;
  /** Bytes on disk. */
  readonly bytes: bigint;
  readonly objects: number;
  readonly chunks: number;
  readonly deviceBytes: bigint;
}

export interface VerifyHooks {
  readonly onProgress: (doneBytes: bigint, totalBytes: bigint) => void;
  readonly signal: AbortSignal | null;
  /** What is demanded of the image; nothing when absent. */
  readonly trust?: Trust;
}

/** Everything that the manifest alone tells. */
export function report(manifest: ImageManifest): ImageReport {
  return {
    manifest,
    files: manifest.files.length,
    bytes: manifest.files.reduce((sum, file) => sum + BigInt(file.bytes), 0n),
    objects: manifest.clients.reduce((sum, client) => sum + client.objects, 0),
    chunks: manifest.clients.reduce((sum, client) => sum + client.chunks, 0),
    deviceBytes: manifest.clients.reduce((sum, client) => sum + BigInt(client.deviceBytes), 0n),
  };
}

/**
 * Reads manifest and job and looks at sizes and parents; contents are not read.
 *
 * @throws PhosError as readManifest
 */
export async function inspectImage(
  directory: string,
  trust: Trust = noDemands,
): Promise<ImageReport> {
  const manifest = await readManifest(directory, trust);
  await readJob(directory);
  for (const file of manifest.files) await checkSize(directory, file);
  await checkParents(directory, manifest, trust.key);
  return report(manifest);
}

/**
 * Reads the whole image, and of its parents what it needs.
 *
 * @throws PhosError IMAGE_INVALID naming the file, UNSUPPORTED for another version, PERMISSION when
 *   it is not trusted or its key is missing, STORAGE
 */
export async function verifyImage(directory: string, hooks: VerifyHooks): Promise<ImageReport> {
  const trust = hooks.trust ?? noDemands;
  const found = await inspectImage(directory, trust);
  const { manifest } = found;
  let doneBytes = 0n;
  const advance = (bytes: bigint) => {
    doneBytes += bytes;
    hooks.onProgress(doneBytes, found.bytes);
  };
  for (const file of manifest.files) {
    hooks.signal?.throwIfAborted();
    if (file.sha256 === null) continue;
    const actual = await hash(directory, file, (bytes) => advance(BigInt(bytes)));
    if (actual !== file.sha256) throw invalid(directory, `${file.name} was altered`);
  }
  for (const client of manifest.clients) {
    hooks.signal?.throwIfAborted();
    const before = doneBytes;
    await checkFolder(directory, client.directory, manifest, trust);
    const gpu = await verifyGpu(
      join(directory, client.directory),
      { lanes: READ_LANES, content: true, key: trust.key },
      (progress) => hooks.onProgress(before + progress.doneBytes, found.bytes),
    );
    doneBytes = before + gpu.readBytes;
    if (gpu.clientId !== client.clientId || gpu.cut.toString() !== client.cut) {
      throw invalid(directory, `${client.directory} is of another client or another cut`);
    }
  }
  hooks.onProgress(found.bytes, found.bytes);
  return found;
}

async function checkSize(directory: string, file: ManifestFile): Promise<void> {
  const path = join(directory, file.name);
  let bytes: bigint;
  try {
    bytes = (await stat(path, { bigint: true })).size;
  } catch (thrown) {
    if ((thrown as { code?: unknown }).code === 'ENOENT') {
      throw invalid(directory, `${file.name} is missing`);
    }
    throw storageError(thrown, `looking at ${path}`);
  }
  if (bytes !== BigInt(file.bytes)) {
    throw invalid(directory, `${file.name} has ${bytes} bytes instead of ${file.bytes}`);
  }
}

async function hash(
  directory: string,
  file: ManifestFile,
  onBytes: (bytes: number) => void,
): Promise<string> {
  try {
    return await sha256Of(join(directory, file.name), onBytes);
  } catch (thrown) {
    throw storageError(thrown, `reading ${file.name} of the image ${directory}`);
  }
}
