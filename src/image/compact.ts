// SPDX-License-Identifier: Apache-2.0
// A copy of an image that needs no other: the end of a chain that has become long.
import { cp, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { compactImage as compactFolder } from '../native/native.ts';
import { JOB_NAME } from '../model/image-manifest.ts';
import { checkTarget, commitImage, createPart, createPartial, discardPartial } from './commit.ts';
import { storageError } from './files.ts';
import type { Trust } from './keys.ts';
import { type ManifestKeys, readJob, readManifest } from './manifest.ts';
import { checkParents } from './parents.ts';

export interface CompactOptions {
  readonly trust: Trust;
  /** The key is that of `trust`: an encrypted image stays encrypted with the same one. */
  readonly signKey: ManifestKeys['signKey'];
  /** Level of zstd; 0: chunks are stored as they are. */
  readonly compress: number;
  readonly onProgress: (doneBytes: bigint, totalBytes: bigint) => void;
}

const LANES = 2;

/**
 * Writes `target` with the content of `directory`, standing alone.
 *
 * @returns bytes of the new image
 * @throws PhosError IMAGE_INVALID, PERMISSION, CONFLICT when something is at the target, STORAGE
 */
export async function compactImage(
  directory: string,
  target: string,
  options: CompactOptions,
): Promise<bigint> {
  const { trust, signKey, compress, onProgress } = options;
  const manifest = await readManifest(directory, trust);
  const job = await readJob(directory);
  await checkParents(directory, manifest, trust.key);
  await checkTarget(target);
  const { uid, gid } = await stat(directory);
  const partial = await createPartial(target, { uid, gid });
  try {
    for (const client of manifest.clients) {
      const folder = await createPart(partial, client.directory, { uid, gid });
      const share = { content: signKey !== null, share: false, donors: [] };
      await compactFolder(
        join(directory, client.directory),
        folder,
        { parent: null, lanes: LANES, compress, key: trust.key, ...share },
        (progress) => onProgress(progress.doneBytes, progress.totalBytes),
      );
    }
    const whole = manifest.files.map((file) => file.name.split('/')[0] ?? '');
    for (const name of new Set(whole)) {
      if (/^gpu-\d+$/.test(name) || name === JOB_NAME) continue;
      await copy(join(directory, name), join(partial, basename(name)));
    }
    const { checksum: _, signature: __, files: ___, ...rest } = manifest;
    return await commitImage({
      directory: target,
      manifest: { ...rest, created: new Date().toISOString(), depth: 0, parents: [] },
      job,
      signal: new AbortController().signal,
      onProgress,
      keys: { key: trust.key, signKey },
    });
  } catch (thrown) {
    await discardPartial(target);
    throw thrown;
  }
}

async function copy(from: string, to: string): Promise<void> {
  try {
    await cp(from, to, { recursive: true, verbatimSymlinks: true, preserveTimestamps: true });
  } catch (thrown) {
    throw storageError(thrown, `copying ${from}`);
  }
}
