// SPDX-License-Identifier: Apache-2.0
// The machine that results belong to.

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import { source } from './place.mjs';

function say(command) {
  const [program, ...args] = command;
  try {
    return execFileSync(program, args, {
      encoding: 'utf8',
      timeout: 30_000,
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    // A tool that is missing, or does not work here, leaves a gap in the record and nothing worse.
    return null;
  }
}

function commit() {
  const packed = source('commit.txt');
  if (existsSync(packed)) return readFileSync(packed, 'utf8').trim();
  return say(['git', '-C', source('.'), 'rev-parse', '--short=12', 'HEAD']) ?? 'unknown';
}

/** Facts as bench/lib/machine.ts records them, and those of the GPU; null: not known. */
export function machine(driver) {
  const query = ['--query-gpu=name,driver_version,memory.total', '--format=csv,noheader'];
  const versions =
    'import json,importlib.metadata as m\n' +
    'def v(n):\n try: return m.version(n)\n except Exception: return None\n' +
    'print(json.dumps({n: v(n) for n in ["torch","transformers","triton","jax","cupy-cuda13x"]}))';
  const python = say(['python3', '-c', versions]);
  return {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memory_gib: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    node: process.versions.node,
    commit: commit(),
    driver,
    gpu: driver === 'cuda' ? say(['nvidia-smi', ...query]) : 'sim',
    python: python === null ? null : { version: say(['python3', '-V']), ...JSON.parse(python) },
  };
}
