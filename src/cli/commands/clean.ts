// SPDX-License-Identifier: Apache-2.0
// clean: removes what dead jobs and dead processes left behind, and nothing else.
import { lstat, readdir, unlink } from 'node:fs/promises';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { cleanFolder } from '../../image/clean.ts';
import { PhosError } from '../../errors/phos-error.ts';
import { action, folders } from '../context.ts';
import type { Output } from '../output.ts';

/** A socket that is listened on answers at once; the kernel does it, not the process. */
const CONNECT_MS = 2_000;

export function addCleanCommand(program: Command): void {
  action(
    program
      .command('clean')
      .description('remove temporary image folders of dead jobs, and sockets nobody listens on')
      .argument('[folders...]', 'folders that hold images')
      .option('--dry-run', 'only tell what would go', false),
    clean,
  );
}

async function clean(
  output: Output,
  options: { readonly dryRun: boolean },
  given: readonly string[],
): Promise<void> {
  const removed: string[] = [];
  const kept: string[] = [];
  for (const folder of given) {
    const found = await cleanFolder(resolve(folder), options.dryRun);
    removed.push(...found.removed);
    kept.push(...found.kept);
  }
  for (const socket of await staleSockets(folders().runtimeDir)) {
    if (!options.dryRun) await unlink(socket);
    removed.push(socket);
  }
  const word = options.dryRun ? 'would remove' : 'removed';
  output.result(
    { removed, kept, dryRun: options.dryRun },
    [
      ...removed.map((path) => `${word} ${path}`),
      ...kept.map((path) => `${path} stays: it is being written`),
      ...(removed.length === 0 ? ['nothing to remove'] : []),
    ].join('\n'),
  );
}

async function staleSockets(runtimeDir: string): Promise<string[]> {
  const stale: string[] = [];
  for (const folder of [runtimeDir, join(runtimeDir, 'executors'), join(runtimeDir, 'keepers')]) {
    for (const name of await namesIn(folder)) {
      const path = join(folder, name);
      if (name.endsWith('.sock') && (await lstat(path)).isSocket() && (await isStale(path))) {
        stale.push(path);
      }
    }
  }
  return stale;
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (thrown) {
    if ((thrown as { code?: unknown }).code === 'ENOENT') return [];
    throw new PhosError('PERMISSION', `listing ${folder} failed; run as its owner`, {
      cause: thrown,
    });
  }
}

/** Only a refusal tells that nobody listens; sockets of another type answer otherwise. */
function isStale(path: string): Promise<boolean> {
  return new Promise((settle) => {
    const socket = connect(path);
    const end = (stale: boolean): void => {
      socket.destroy();
      settle(stale);
    };
    socket.setTimeout(CONNECT_MS, () => end(false));
    socket.once('connect', () => end(false));
    socket.once('error', (error: NodeJS.ErrnoException) => end(error.code === 'ECONNREFUSED'));
  });
}
