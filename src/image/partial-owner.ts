// SPDX-License-Identifier: Apache-2.0
// Whose temporary sibling it is: a file in it names the process that writes, by pid and start time,
// so that what a dead job left can be told from what is being written.
import { readFileSync } from 'node:fs';
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { deadlines } from '../model/limits.ts';
import { storageError } from './files.ts';

/** Gone before the manifest is written: it is no part of an image. */
export const OWNER_NAME = '.owner';

/** Clock ticks since boot at which a process started, or null: field 22 of proc_pid_stat(5). */
function startTimeOf(pid: number): string | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // The second field is a name in parentheses, which may hold anything.
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch (thrown) {
    const code = (thrown as { code?: unknown }).code;
    if (code === 'ENOENT' || code === 'ESRCH') return null;
    throw storageError(thrown, `looking at process ${pid}`);
  }
}

export async function markOwner(partial: string): Promise<void> {
  const owner = { pid: process.pid, startTime: startTimeOf(process.pid) };
  await writeFile(join(partial, OWNER_NAME), JSON.stringify(owner), { mode: 0o600 });
}

export async function unmarkOwner(partial: string): Promise<void> {
  await rm(join(partial, OWNER_NAME), { force: true });
}

/**
 * Whether nobody writes there any more. A sibling without the mark is in the moment before its
 * manifest or after its first file: it is left alone until it has been still for a while.
 *
 * @throws PhosError PERMISSION when it is another user's
 */
export async function isAbandoned(partial: string): Promise<boolean> {
  let text: string;
  try {
    text = await readFile(join(partial, OWNER_NAME), 'utf8');
  } catch (thrown) {
    if ((thrown as { code?: unknown }).code !== 'ENOENT') {
      throw storageError(thrown, `looking whose ${partial} is`);
    }
    const { mtimeMs } = await stat(partial);
    return Date.now() - mtimeMs > deadlines.partialIdleMs;
  }
  const owner = /^\{"pid":(\d+),"startTime":"(\d+)"\}$/.exec(text);
  // Cut short by a crash while it was written.
  if (owner === null) return Date.now() - (await stat(partial)).mtimeMs > deadlines.partialIdleMs;
  return startTimeOf(Number(owner[1])) !== owner[2];
}
