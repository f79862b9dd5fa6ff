// SPDX-License-Identifier: Apache-2.0
// What a phos that has stopped must not leave behind. Processes are looked for by PrivatePhos.
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { cgroup2Mounts } from '../../src/host/cgroup.ts';

/**
 * @param folder of a PrivatePhos
 * @param jobs ids whose cgroups must be gone
 * @returns one sentence for each thing that is left
 */
export function leftovers(folder: string, jobs: Iterable<string>): string[] {
  const found: string[] = [];
  for (const name of ['executors', 'keepers', 'reattach']) {
    const path = join(folder, 'run', name);
    const names = existsSync(path) ? readdirSync(path) : [];
    if (names.length > 0) found.push(`left in ${name}: ${names.join(', ')}`);
  }
  for (const mount of cgroup2Mounts()) {
    for (const id of jobs) {
      const path = join(mount, 'phos-jobs', id);
      if (existsSync(path)) found.push(`the cgroup of job ${id} was left behind`);
    }
  }
  return found;
}
