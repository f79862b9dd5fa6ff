// SPDX-License-Identifier: Apache-2.0
// CRIU as a step of the set-up. Where it cannot be had, the set-up goes on and says so: all but
// dump and restore works without it, and `phos doctor` and the demo name the cure.

import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensureCriu } from '../lib/criu.mjs';
import { root, say } from './step.mjs';

/** Holds when CRIU could last not be had, so that an unreachable mirror is asked once an hour. */
const failurePath = join(root, 'build/criu-missing.txt');
const retryAfterMs = 3_600_000;

/** Brings CRIU to build/bin/criu, or says why not. */
export async function criu() {
  if (failedLately()) return;
  try {
    await ensureCriu(root, say);
    rmSync(failurePath, { force: true });
  } catch (error) {
    writeFileSync(failurePath, `${Date.now()}\n${error.message}\n`);
    say(error.message);
    say('going on without CRIU: dump and restore will be refused, suspend and resume work');
  }
}

function failedLately() {
  try {
    const when = Number.parseInt(readFileSync(failurePath, 'utf8'), 10);
    return Date.now() - when < retryAfterMs;
  } catch (error) {
    if (error.code === 'ENOENT') return false;
    throw error;
  }
}
