// SPDX-License-Identifier: Apache-2.0
// Which processes of one phos may be killed, found in /proc: all of them have its runtime folder in
// their environment.
import { readdirSync, readFileSync } from 'node:fs';

export type Victim = 'phosd' | 'executor' | 'client' | 'criu';
export const victims: readonly Victim[] = ['phosd', 'executor', 'client', 'criu'];

export interface Found {
  readonly pid: number;
  readonly kind: Victim;
  /** Which client it is or serves; null for phosd, for a warm executor, and for CRIU. */
  readonly seed: string | null;
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch (thrown) {
    const { code } = thrown as NodeJS.ErrnoException;
    // It ended while we looked, or became another user's.
    if (code === 'ENOENT' || code === 'ESRCH' || code === 'EACCES') return '';
    throw thrown;
  }
}

/** @param runtimeDir PHOS_RUNTIME_DIR of the phos; @param program the clients' executable */
export function findProcesses(runtimeDir: string, program: string): Found[] {
  const found: Found[] = [];
  const seeds = new Map<number, string>();
  const executors: { readonly pid: number; readonly client: number }[] = [];
  for (const pid of readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)) {
    const argv = read(`/proc/${pid}/cmdline`).split('\0');
    const environment = read(`/proc/${pid}/environ`).split('\0');
    if (!environment.includes(`PHOS_RUNTIME_DIR=${runtimeDir}`)) continue;
    const line = argv.join(' ');
    const at = argv.indexOf('--seed');
    const executor = /^phos-executor \S+(?: client (\d+))?/.exec(line);
    if (argv[0] === program && at > 0) {
      seeds.set(pid, argv[at + 1] ?? '');
      found.push({ pid, kind: 'client', seed: argv[at + 1] ?? '' });
    } else if (executor !== null) {
      executors.push({ pid, client: Number(executor[1] ?? 0) });
    } else if (read(`/proc/${pid}/comm`).startsWith('criu')) {
      found.push({ pid, kind: 'criu', seed: null });
    } else if (/\/phosd\/main\.(js|ts)/.test(line)) {
      found.push({ pid, kind: 'phosd', seed: null });
    }
  }
  for (const { pid, client } of executors) {
    found.push({ pid, kind: 'executor', seed: seeds.get(client) ?? null });
  }
  return found;
}
