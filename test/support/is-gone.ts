// SPDX-License-Identifier: Apache-2.0
// Whether a process has ended. One that nobody has reaped yet (Z) has: in a container whose first
// process reaps nothing it would stay for ever.
import { readFileSync } from 'node:fs';

export function isGone(pid: number): boolean {
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    // ESRCH: it ended between the opening of the file and the reading.
    if (code === 'ENOENT' || code === 'ESRCH') return true;
    throw thrown;
  }
  // The state follows the command, which is in parentheses and may hold any character.
  const state = stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
  return state === 'Z' || state === 'X';
}
