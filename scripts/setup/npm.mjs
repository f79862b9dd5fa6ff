// SPDX-License-Identifier: Apache-2.0
// npm packages, exactly as the lock file says.

import { statSync } from 'node:fs';
import { join } from 'node:path';
import { contentHash, isFresh, writeStamp } from './stamp.mjs';
import { root, say, step } from './step.mjs';

const stampPath = 'node_modules/.phos-stamp';

/** Installs the npm packages when they are missing or older than the lock file. */
export async function npmPackages() {
  const value = `${contentHash('package-lock.json')} ${process.versions.modules}`;
  if (isFresh(stampPath, value)) return;
  if (installedByHand()) {
    writeStamp(stampPath, value);
    return;
  }
  // Install scripts are not needed by any package used here, so none are run.
  await step('npm packages', ['npm', 'ci', '--ignore-scripts', '--no-audit', '--no-fund'], {
    timeoutMs: 600_000,
    cure: 'check that npm reaches its registry (`npm ping`), then run `npm ci`',
  });
  writeStamp(stampPath, value);
}

/** `npm install` leaves its own copy of the lock, which is newer than the lock it wrote. */
function installedByHand() {
  const installed = statSync(join(root, 'node_modules/.package-lock.json'), {
    throwIfNoEntry: false,
  });
  const wanted = statSync(join(root, 'package-lock.json'));
  const fresh = installed !== undefined && installed.mtimeMs >= wanted.mtimeMs - 2000;
  if (fresh) say('npm packages: installed by npm already');
  return fresh;
}
