// SPDX-License-Identifier: Apache-2.0
// Who may do what. Root and phosd's own user act on everything; others on what is theirs.
import { readFileSync, realpathSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Peer } from '../control/server.ts';
import { PhosError } from '../errors/phos-error.ts';
import { readProcess } from '../host/proc.ts';

export function isTrusted(caller: Peer): boolean {
  return caller.uid === 0 || caller.uid === process.getuid?.();
}

export function mayActOn(caller: Peer, uid: number): boolean {
  return isTrusted(caller) || caller.uid === uid;
}

/** @throws PhosError PERMISSION */
export function requireTrusted(caller: Peer, doing: string): void {
  if (isTrusted(caller)) return;
  throw new PhosError('PERMISSION', `${doing} is for root and the owner of phosd`);
}

/**
 * The owner of a process, when the caller may act on it.
 *
 * @throws PhosError NOT_FOUND when there is no such process, PERMISSION when it is not the caller's
 */
export function ownerOfProcess(pid: number, caller: Peer): { uid: number; gid: number } {
  if (pid <= 0 || readProcess(pid) === null) {
    throw new PhosError('NOT_FOUND', `there is no process ${pid}; see phos ps`);
  }
  const { uid, gid } = statSync(`/proc/${pid}`);
  if (!mayActOn(caller, uid)) {
    throw new PhosError('PERMISSION', `process ${pid} belongs to user ${uid}`);
  }
  return { uid, gid };
}

/**
 * Images are written and read with the rights of phosd, so another user's must lie where that user
 * could put them himself: in a folder of his own, by its real path.
 *
 * @throws PhosError PERMISSION, NOT_FOUND
 */
export function requireOwnPlace(directory: string, caller: Peer): void {
  if (isTrusted(caller)) return;
  const parent = dirname(directory);
  let owner: number;
  try {
    if (realpathSync(parent) !== parent) {
      throw new PhosError('PERMISSION', `${parent} is reached through a link; name its real path`);
    }
    owner = statSync(parent).uid;
  } catch (cause) {
    if (cause instanceof PhosError) throw cause;
    throw new PhosError('NOT_FOUND', `${parent} cannot be looked at; check the path`, { cause });
  }
  if (owner === caller.uid) return;
  throw new PhosError('PERMISSION', `${parent} belongs to user ${owner}; use a folder of your own`);
}

/** Supplementary groups of a process, for the program that it starts. */
export function groupsOf(pid: number): number[] {
  const line = /^Groups:[ \t]*(.*)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '';
  return line.split(/\s+/).filter(Boolean).map(Number);
}
