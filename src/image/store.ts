// SPDX-License-Identifier: Apache-2.0
// Folders that hold images: what is in them, and which of it is needed no more.
import { readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { PhosError } from '../errors/phos-error.ts';
import { type ImageManifest, PARTIAL_SUFFIX } from '../model/image-manifest.ts';
import { storageError, syncPath } from './files.ts';
import type { Trust } from './keys.ts';
import { readManifest } from './manifest.ts';
import { checkParents, folderOfParent } from './parents.ts';
import { report } from './verify.ts';

export interface StoredImage {
  readonly name: string;
  readonly directory: string;
  readonly manifest: ImageManifest;
  readonly bytes: bigint;
  readonly deviceBytes: bigint;
  /** Absolute paths. */
  readonly parents: readonly string[];
  /** Why it cannot be used now; null when nothing was found. */
  readonly problem: string | null;
}

export interface Store {
  readonly images: readonly StoredImage[];
  /** What looks like an image and is none that can be read, with the reason. */
  readonly others: readonly { readonly name: string; readonly problem: string }[];
  /** Temporary siblings. */
  readonly partials: readonly string[];
}

/**
 * Every image in a folder, oldest first. Contents are not read.
 *
 * @throws PhosError NOT_FOUND, PERMISSION when the folder cannot be listed
 */
export async function listImages(directory: string, trust: Trust): Promise<Store> {
  let names: string[];
  try {
    const entries = await readdir(directory, { withFileTypes: true });
    names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  } catch (thrown) {
    throw storageError(thrown, `listing ${directory}`);
  }
  const images: StoredImage[] = [];
  const others: { name: string; problem: string }[] = [];
  for (const name of names.filter((one) => !one.endsWith(PARTIAL_SUFFIX)).sort()) {
    const path = join(directory, name);
    try {
      images.push(await look(path, await readManifest(path, trust), trust));
    } catch (thrown) {
      // A folder without a manifest is somebody else's.
      if (await hasManifest(path)) others.push({ name, problem: messageOf(thrown) });
    }
  }
  images.sort((a, b) => (a.manifest.created < b.manifest.created ? -1 : 1));
  return { images, others, partials: names.filter((one) => one.endsWith(PARTIAL_SUFFIX)) };
}

async function look(
  directory: string,
  manifest: ImageManifest,
  trust: Trust,
): Promise<StoredImage> {
  const { bytes, deviceBytes } = report(manifest);
  const parents: string[] = [];
  for (const parent of manifest.parents) parents.push(await folderOfParent(directory, parent));
  const problem = await checkParents(directory, manifest, trust.key).then(() => null, messageOf);
  return { name: basename(directory), directory, manifest, bytes, deviceBytes, parents, problem };
}

function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}

async function hasManifest(directory: string): Promise<boolean> {
  const info = await stat(join(directory, 'manifest.json')).catch(() => null);
  return info !== null;
}

export interface GcPlan {
  readonly keep: readonly StoredImage[];
  /** Older than what is kept, but chunks of kept images lie in them. */
  readonly needed: readonly StoredImage[];
  /** In the order in which they may go: none before an image that needs it. */
  readonly remove: readonly StoredImage[];
}

/**
 * What may go when the newest `keepEach` images of every chain are to stay.
 *
 * @throws PhosError IMAGE_INVALID when something in the folder cannot be read: it may need the rest
 */
export async function planGc(directory: string, keepEach: number, trust: Trust): Promise<GcPlan> {
  const { images, others } = await listImages(directory, trust);
  const strange = others[0];
  if (strange !== undefined) {
    throw new PhosError(
      'IMAGE_INVALID',
      `${join(directory, strange.name)} cannot be read, and it may need the others: ` +
        `${strange.problem}; remove it or give its key`,
    );
  }
  const chains = new Map<string, StoredImage[]>();
  for (const image of images) {
    const chain = chains.get(image.manifest.chain) ?? [];
    chains.set(image.manifest.chain, [...chain, image]);
  }
  const keep = [...chains.values()].flatMap((chain) => chain.slice(-keepEach));
  const wanted = new Set(keep.flatMap((image) => image.parents));
  const rest = images.filter((image) => !keep.includes(image));
  return {
    keep,
    needed: rest.filter((image) => wanted.has(image.directory)),
    // The newest first: an image is always newer than its parents.
    remove: rest.filter((image) => !wanted.has(image.directory)).toReversed(),
  };
}

/**
 * Removes an image. It loses its name first, so that a crash leaves a temporary sibling, which
 * `phos clean` removes, and never half an image.
 *
 * @throws PhosError PERMISSION, STORAGE, CONFLICT when a temporary sibling is there
 */
export async function removeImage(directory: string): Promise<void> {
  const partial = `${directory}${PARTIAL_SUFFIX}`;
  if ((await stat(partial).catch(() => null)) !== null) {
    throw new PhosError('CONFLICT', `${partial} is in the way; remove it with phos clean`);
  }
  try {
    await rename(directory, partial);
    await syncPath(dirname(directory));
    await rm(partial, { recursive: true });
  } catch (thrown) {
    throw storageError(thrown, `removing ${directory}`);
  }
}
