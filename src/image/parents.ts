// SPDX-License-Identifier: Apache-2.0
// Images that others are built on: finding them, and proving that each is the very one that was
// there at the dump.
import { realpath } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { PhosError } from '../errors/phos-error.ts';
import type { ImageManifest, ManifestParent } from '../model/image-manifest.ts';
import { limits } from '../model/limits.ts';
import { storageError } from './files.ts';
import { readGpuIndex } from './gpu-index.ts';
import type { Trust } from './keys.ts';
import { invalid, readManifest } from './manifest.ts';

/** Absolute path of a parent that the image names. */
export async function folderOfParent(directory: string, parent: ManifestParent): Promise<string> {
  return resolve(dirname(await resolved(directory)), parent.directory);
}

async function resolved(directory: string): Promise<string> {
  try {
    return await realpath(directory);
  } catch (thrown) {
    throw storageError(thrown, `opening the image ${directory}`);
  }
}

/**
 * Whether all images that this one needs are there and are those it was written on.
 *
 * @param key of an encrypted chain
 * @throws PhosError IMAGE_INVALID naming the parent, PERMISSION
 */
export async function checkParents(
  directory: string,
  manifest: ImageManifest,
  key: Buffer | null,
): Promise<void> {
  for (const parent of manifest.parents) {
    const folder = await folderOfParent(directory, parent);
    const found = await readParent(directory, folder, key);
    if (found.checksum === parent.checksum) continue;
    throw invalid(directory, `its parent ${folder} is not the image that it was written on`);
  }
}

async function readParent(
  directory: string,
  folder: string,
  key: Buffer | null,
): Promise<ImageManifest> {
  try {
    return await readManifest(folder, { key, trusted: [], requireSignature: false });
  } catch (thrown) {
    if (thrown instanceof PhosError && thrown.code === 'PERMISSION') throw thrown;
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw invalid(directory, `its parent ${folder} cannot be read (${why})`);
  }
}

/** What a new image takes from the one that it is written on. */
export interface ParentPlan {
  readonly chain: string;
  readonly depth: number;
  /** gpu-K folder of the client in the parent, or null when it was not there. */
  readonly folderOf: (clientId: string) => string | null;
}

/**
 * Looks whether an image may be written on top of another.
 *
 * @param trust the parent must satisfy it
 * @throws PhosError NOT_FOUND, IMAGE_INVALID, PERMISSION; CONFLICT when its chain is full
 */
export async function planParent(parent: string, trust: Trust): Promise<ParentPlan> {
  const manifest = await readManifest(parent, trust);
  await checkParents(parent, manifest, trust.key);
  if (manifest.depth >= limits.maxChainDepth) {
    throw new PhosError(
      'CONFLICT',
      `the chain of ${parent} has ${manifest.depth} images, which is the most; ` +
        'write on a compacted copy of it (phos image compact)',
      { details: { parent, depth: manifest.depth } },
    );
  }
  const folders = new Map(
    manifest.clients.map((client) => [client.clientId, join(parent, client.directory)]),
  );
  return {
    chain: manifest.chain,
    depth: manifest.depth + 1,
    folderOf: (clientId) => folders.get(clientId) ?? null,
  };
}

/**
 * The images that the gpu-K folders of a new one refer to.
 *
 * @param partial the temporary sibling, complete but for its manifest
 */
export async function parentsOf(
  partial: string,
  folders: readonly string[],
  key: Buffer | null,
): Promise<ManifestParent[]> {
  const base = dirname(await resolved(partial));
  const found = new Map<string, ManifestParent>();
  for (const folder of folders) {
    const index = await readGpuIndex(join(partial, folder), key);
    for (const source of index.sources.slice(1)) {
      const image = dirname(source.directory);
      if (found.has(image)) continue;
      const { checksum } = await readManifest(image, {
        key,
        trusted: [],
        requireSignature: false,
      });
      found.set(image, { directory: relative(base, image), checksum });
    }
  }
  return [...found.values()];
}

/**
 * Whether the chunks of a folder come from this image and its parents only, and whether each
 * carries a SHA-256, without which a signature of the manifest says nothing about them.
 *
 * @throws PhosError IMAGE_INVALID
 */
export async function checkFolder(
  directory: string,
  folder: string,
  manifest: ImageManifest,
  trust: Trust,
): Promise<void> {
  const index = await readGpuIndex(join(directory, folder), trust.key);
  const known = new Set<string>();
  for (const parent of manifest.parents) known.add(await folderOfParent(directory, parent));
  for (const source of index.sources.slice(1)) {
    if (known.has(dirname(source.directory))) continue;
    throw invalid(directory, `${folder} refers to ${source.directory}, which is not its parent`);
  }
  if (!trust.requireSignature) return;
  if (index.chunks.some((chunk) => !chunk.zero && chunk.content === null)) {
    throw invalid(directory, `it is signed, but chunks of ${folder} carry no SHA-256`);
  }
}
