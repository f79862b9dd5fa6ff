// SPDX-License-Identifier: Apache-2.0
// What dead jobs left: temporary siblings of images, and nothing else.
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { storageError } from './files.ts';
import { noDemands } from './keys.ts';
import { isAbandoned } from './partial-owner.ts';
import { listImages } from './store.ts';

export interface CleanedFolder {
  readonly removed: readonly string[];
  /** Still being written. */
  readonly kept: readonly string[];
}

/**
 * Removes the temporary siblings in a folder that nobody writes any more.
 *
 * @param dryRun only tells
 * @throws PhosError NOT_FOUND, PERMISSION
 */
export async function cleanFolder(directory: string, dryRun: boolean): Promise<CleanedFolder> {
  const removed: string[] = [];
  const kept: string[] = [];
  for (const name of (await listImages(directory, noDemands)).partials) {
    const path = join(directory, name);
    if (!(await isAbandoned(path))) {
      kept.push(path);
      continue;
    }
    removed.push(path);
    if (dryRun) continue;
    try {
      await rm(path, { recursive: true });
    } catch (thrown) {
      throw storageError(thrown, `removing ${path}`);
    }
  }
  return { removed, kept };
}
