// SPDX-License-Identifier: Apache-2.0
// Makes the folders of phosd and checks that nobody else could have put anything there.
import { chmodSync, lstatSync, mkdirSync } from 'node:fs';
import { PhosError } from '../errors/phos-error.ts';
import {
  longestSocketPath,
  type PhosFolders,
  type RuntimePaths,
  runtimePaths,
} from '../model/runtime-dir.ts';
import { MAX_SOCKET_PATH_BYTES } from '../model/limits.ts';

/** Root serves every user and tells them apart by their credentials; others serve themselves. */
export function servesOthers(): boolean {
  return process.getuid?.() === 0;
}

/** Modes of what others must reach: sockets, and folders on the way to them. */
export function modes(): { readonly folder: number; readonly socket: number } {
  return servesOthers() ? { folder: 0o711, socket: 0o666 } : { folder: 0o700, socket: 0o600 };
}

/**
 * Makes runtime, state and log folders.
 *
 * @throws PhosError PERMISSION when one belongs to somebody else or cannot be made, USAGE when the
 *   runtime folder is too deep for socket paths
 */
export function makeFolders(folders: PhosFolders): RuntimePaths {
  const paths = runtimePaths(folders.runtimeDir);
  if (Buffer.byteLength(longestSocketPath(paths)) > MAX_SOCKET_PATH_BYTES) {
    throw new PhosError(
      'USAGE',
      `the runtime folder ${paths.dir} is too deep: sockets in it would pass ` +
        `${MAX_SOCKET_PATH_BYTES} bytes; set PHOS_RUNTIME_DIR to a shorter path`,
    );
  }
  const { folder } = modes();
  for (const path of [paths.dir, paths.executorsDir, paths.keepersDir, paths.reattachDir]) {
    makeOwnFolder(path, folder);
  }
  // Programs of any user load the client library from the state folder.
  makeOwnFolder(folders.stateDir, servesOthers() ? 0o755 : 0o700);
  makeOwnFolder(`${folders.stateDir}/lib`, servesOthers() ? 0o755 : 0o700);
  makeOwnFolder(folders.logDir, servesOthers() ? 0o711 : 0o700);
  return paths;
}

function makeOwnFolder(path: string, mode: number): void {
  try {
    mkdirSync(path, { recursive: true, mode });
    const found = lstatSync(path);
    if (!found.isDirectory() || found.uid !== process.getuid?.()) {
      throw new PhosError(
        'PERMISSION',
        `${path} is not a folder of this user; remove it or set PHOS_RUNTIME_DIR`,
      );
    }
    // The umask may have taken bits away, or an older folder may be too open.
    chmodSync(path, mode);
  } catch (cause) {
    if (cause instanceof PhosError) throw cause;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new PhosError(
      'PERMISSION',
      `making ${path} failed: ${reason}; run as its owner, or set PHOS_RUNTIME_DIR, ` +
        'PHOS_STATE_DIR and PHOS_LOG_DIR',
      { cause },
    );
  }
}
