// SPDX-License-Identifier: Apache-2.0
// The machine a figure was measured on: a figure without it means nothing.

import { execFileSync } from 'node:child_process';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { packageRoot } from '../../src/model/locate.ts';

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memory_gib: number;
  readonly kernel: string;
  readonly node: string;
  readonly compiler: string;
  /** Commit of the tree, with '+' when it has changes that are not committed. */
  readonly commit: string;
}

export function thisMachine(): Machine {
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memory_gib: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.versions.node,
    compiler: firstLine(['c++', '--version']),
    commit: commit(),
  };
}

function commit(): string {
  const hash = firstLine(['git', 'rev-parse', '--short=12', 'HEAD']);
  const changes = firstLine(['git', 'status', '--porcelain', '--untracked-files=no']);
  return changes === 'unknown' ? hash : `${hash}+`;
}

function firstLine([program = '', ...args]: readonly string[]): string {
  const options = { cwd: packageRoot, encoding: 'utf8', timeout: 30_000 } as const;
  try {
    return execFileSync(program, args, options).split('\n')[0]?.trim() || 'unknown';
  } catch (error) {
    // A tool that is not there leaves a gap in the record, and nothing worse.
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'unknown';
    throw error;
  }
}
