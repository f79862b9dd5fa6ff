// SPDX-License-Identifier: Apache-2.0
// Stamps: a step is skipped when what it reads has not changed since it last succeeded.

import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { root } from './step.mjs';

/**
 * Hash of names, sizes and times of files; contents are not read, so that it takes milliseconds.
 *
 * @param {string[]} paths files and folders under the root; a missing one counts as such
 * @param {(name: string) => boolean} wanted which files of the folders count
 */
export function fingerprint(paths, wanted = () => true) {
  const hash = createHash('sha256');
  const visit = (path) => {
    const info = statSync(join(root, path), { throwIfNoEntry: false });
    if (info === undefined) {
      hash.update(`${path} missing\n`);
    } else if (info.isDirectory()) {
      for (const name of readdirSync(join(root, path)).sort()) {
        if (name !== 'node_modules') visit(`${path}/${name}`);
      }
    } else if (paths.includes(path) || wanted(path)) {
      hash.update(`${path} ${info.size} ${info.mtimeMs}\n`);
    }
  };
  for (const path of paths) visit(path);
  return hash.digest('hex');
}

/** @param {string} path file under the root */
export function contentHash(path) {
  return createHash('sha256')
    .update(readFileSync(join(root, path)))
    .digest('hex');
}

/** @param {string} path stamp file under the root @param {string} value what it must hold */
export function isFresh(path, value) {
  try {
    return readFileSync(join(root, path), 'utf8') === value;
  } catch (error) {
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR') return false;
    throw error;
  }
}

/** @param {string} path stamp file under the root @param {string} value what it will hold */
export function writeStamp(path, value) {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), value);
}
