// SPDX-License-Identifier: Apache-2.0
// Whether this machine can checkpoint processes at all. Tests that need it are skipped where it
// cannot, with the reason in their name, so that nobody takes a skipped run for a passed one.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createJobCgroup } from '../../src/host/cgroup.ts';
import { checkMayCheckpoint, checkMayDumpUsers, findCriu } from '../../src/host/criu.ts';

/** Null when dump and restore can be tested here, else why not. */
export async function whyNoCheckpoint(): Promise<string | null> {
  try {
    checkMayCheckpoint();
    await findCriu();
    const cgroup = createJobCgroup(`probe-${process.pid}`);
    await cgroup.remove(5_000);
    return null;
  } catch (thrown) {
    return thrown instanceof Error ? thrown.message : String(thrown);
  }
}

/** Whether programs of other users can be dumped: some containers take that from root. */
export function mayDumpOthers(): boolean {
  try {
    checkMayDumpUsers([65_534]);
    return true;
  } catch {
    // Only the answer counts; the error is tested in test/unit/host.
    return false;
  }
}

/** Null when a small disk of the test's own can be mounted, else why not. */
export function whyNoMount(): string | null {
  const folder = mkdtempSync(join(tmpdir(), 'phos-mount-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=4k', 'phos-test', folder], { stdio: 'pipe' });
    execFileSync('umount', [folder]);
    return null;
  } catch (thrown) {
    return `this machine lets nobody mount: ${String((thrown as Error).message).split('\n')[0]}`;
  } finally {
    rmdirSync(folder);
  }
}
