// SPDX-License-Identifier: Apache-2.0
// Content-addressed copies of the client library. A program has the file mapped for its whole life,
// across dump and restore, so it must never change under it: each build gets a folder of its own
// name, and none is ever written again.
import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  cpSync,
  existsSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PhosError } from '../errors/phos-error.ts';
import { nativeUrl } from '../model/locate.ts';

/** The folder of the client library in this build. */
export function builtLibrary(): string {
  return fileURLToPath(nativeUrl('lib/client/', process.env['PHOS_BUILD_DIR'] ?? null)).replace(
    /\/$/,
    '',
  );
}

/**
 * Brings the client library into the state folder.
 *
 * @returns the folder STATE/lib/HASH that holds libcuda.so.1
 * @throws PhosError UNAVAILABLE when it was not built
 */
export function installLibrary(stateDir: string, from = builtLibrary()): string {
  if (!existsSync(join(from, 'libcuda.so.1'))) {
    throw new PhosError('UNAVAILABLE', `there is no client library in ${from}; run npm run setup`);
  }
  const target = join(stateDir, 'lib', hashOf(from));
  copyOnce(from, target);
  return target;
}

/** Puts the library of an image where its program has it mapped, if it is not there. */
export function installFromImage(imageLib: string, target: string, stateDir: string): void {
  if (existsSync(join(target, 'libcuda.so.1'))) return;
  // The image says where; it must not make phosd write anywhere else.
  const allowed = new RegExp(`^${escape(join(stateDir, 'lib'))}/[0-9a-f]{16,64}$`);
  if (!allowed.test(target)) {
    throw new PhosError(
      'NOT_FOUND',
      `the program has its client library in ${target}, which is gone and is not in ${stateDir}; ` +
        'set PHOS_STATE_DIR to where it was dumped',
    );
  }
  copyOnce(imageLib, target);
}

function escape(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}

function hashOf(folder: string): string {
  const hash = createHash('sha256');
  for (const entry of readdirSync(folder, { withFileTypes: true }).sort(byName)) {
    const path = join(folder, entry.name);
    const content = entry.isSymbolicLink() ? readlinkSync(path) : readFileSync(path);
    hash.update(`${entry.name}\0`).update(content);
  }
  return hash.digest('hex').slice(0, 32);
}

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name < b.name ? -1 : 1;
}

function copyOnce(from: string, target: string): void {
  if (existsSync(target)) return;
  const temporary = `${target}.${randomBytes(4).toString('hex')}`;
  try {
    cpSync(from, temporary, { recursive: true, verbatimSymlinks: true });
    chmodSync(temporary, 0o755);
    renameSync(temporary, target);
  } catch (cause) {
    rmSync(temporary, { recursive: true, force: true });
    // Another phosd of this user may have been faster.
    if (existsSync(target)) return;
    throw new PhosError('STORAGE', `copying the client library to ${target} failed`, { cause });
  }
}
