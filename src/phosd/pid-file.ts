// SPDX-License-Identifier: Apache-2.0
// One phosd for a runtime folder. phosd.pid holds pid and start time; a file whose process is gone
// is what a killed phosd left behind.
import { linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { PhosError } from '../errors/phos-error.ts';
import { isAlive } from '../host/proc.ts';
import { processStartTime } from '../native/native.ts';

/** @throws PhosError CONFLICT when another phosd serves this folder */
export function takePidFile(path: string): void {
  const own = `${path}.${process.pid}`;
  writeFileSync(own, `${process.pid} ${processStartTime(process.pid)}\n`, { mode: 0o644 });
  try {
    for (let attempt = 0; attempt < 3; attempt += 1) {
      if (linkOnce(own, path)) return;
      const holder = readPidFile(path);
      if (holder !== null && isAlive(holder)) {
        throw new PhosError(
          'CONFLICT',
          `phosd runs already as process ${holder.pid}; see phos status, or end it by phos stop`,
          { details: { pid: holder.pid } },
        );
      }
      rmSync(path, { force: true });
    }
    throw new PhosError('CONFLICT', `another phosd is starting in the folder of ${path}`);
  } finally {
    rmSync(own, { force: true });
  }
}

// link(2) fails when the name is taken, so of two that start at once one wins.
function linkOnce(own: string, path: string): boolean {
  try {
    linkSync(own, path);
    return true;
  } catch (thrown) {
    if ((thrown as { code?: unknown }).code === 'EEXIST') return false;
    throw thrown;
  }
}

export function readPidFile(path: string): { pid: number; startTime: bigint } | null {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (thrown) {
    if ((thrown as { code?: unknown }).code === 'ENOENT') return null;
    throw thrown;
  }
  const [, pid, startTime] = /^(\d+) (\d+)\n$/.exec(text) ?? [];
  return pid === undefined || startTime === undefined
    ? null
    : { pid: Number(pid), startTime: BigInt(startTime) };
}

export function dropPidFile(path: string): void {
  if (readPidFile(path)?.pid === process.pid) rmSync(path, { force: true });
}
