// SPDX-License-Identifier: Apache-2.0
// Waiting for what the kernel tells only when it is asked, always with a deadline.
import { setTimeout as sleep } from 'node:timers/promises';
import { PhosError } from '../errors/phos-error.ts';

/**
 * Asks `holds` until it is true.
 *
 * @param what completes "... within N ms": 'the tree was not frozen'
 * @throws PhosError TIMEOUT after `deadlineMs`
 */
export async function waitUntil(
  holds: () => boolean,
  deadlineMs: number,
  what: string,
): Promise<void> {
  const end = performance.now() + deadlineMs;
  // Short steps first: most of these waits are over within a millisecond or two.
  for (let stepMs = 1; ; stepMs = Math.min(stepMs * 1.5, 20)) {
    if (holds()) return;
    if (performance.now() >= end) {
      throw new PhosError('TIMEOUT', `${what} within ${deadlineMs} ms`, {
        details: { deadlineMs },
      });
    }
    await sleep(stepMs);
  }
}

/** The code of a Node system error, or null for anything else. */
export function errnoOf(thrown: unknown): string | null {
  const code = (thrown as { code?: unknown } | null)?.code;
  return typeof code === 'string' ? code : null;
}

/** The error code that fits a system error. */
export function codeOfErrno(
  errno: string | null,
): 'NOT_FOUND' | 'PERMISSION' | 'STORAGE' | 'INTERNAL' {
  switch (errno) {
    case 'ENOENT':
    case 'ENOTDIR':
    case 'ESRCH':
    case 'ENODEV':
      return 'NOT_FOUND';
    case 'EACCES':
    case 'EPERM':
      return 'PERMISSION';
    case 'ENOSPC':
    case 'EIO':
    case 'EDQUOT':
    case 'EROFS':
      return 'STORAGE';
    default:
      return 'INTERNAL';
  }
}
