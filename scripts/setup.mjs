// SPDX-License-Identifier: Apache-2.0
// Brings a clone to the point where everything runs: npm packages, system packages, CRIU, the
// native build and the TypeScript build. Plain JavaScript over Node built-ins, because it runs
// before anything is installed. Every npm script goes through it; it is quick when there is
// nothing to do, and may be run by several processes at once.

import process from 'node:process';
import { aptPackages, systemPackages, testPackages } from './setup/apt.mjs';
import { criu } from './setup/criu.mjs';
import { distBuild } from './setup/dist.mjs';
import { takeLock } from './setup/lock.mjs';
import { nativeBuild } from './setup/native.mjs';
import { npmPackages } from './setup/npm.mjs';
import { SetupError, say } from './setup/step.mjs';

/** Everything there is, in the order in which it is brought about. */
export const everything = ['npm', 'apt', 'criu', 'native', 'dist'];

/**
 * @param {string[]} needs some of `everything`; 'native:PRESET' is a build with its tests,
 *   'apt:test' what only tests need of the system
 */
export async function setup(needs) {
  checkNode();
  const release = await takeLock();
  try {
    if (needs.includes('npm')) await npmPackages();
    const packages = [
      ...(needs.includes('apt') ? systemPackages : []),
      ...(needs.includes('apt:test') ? testPackages : []),
    ];
    if (packages.length > 0) await aptPackages(packages);
    if (needs.includes('criu')) await criu();
    if (needs.includes('native')) await nativeBuild('default', 'product');
    for (const need of needs) {
      if (need.startsWith('native:')) await nativeBuild(need.slice('native:'.length), 'all');
    }
    if (needs.includes('dist')) await distBuild();
  } finally {
    release();
  }
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major < 20 || (major === 20 && minor < 19)) {
    throw new SetupError(`Node ${process.versions.node} is too old`, 'install Node 20.19 or newer');
  }
}

/**
 * Ends the process with a readable message instead of a stack trace.
 *
 * @param {unknown} error what a task threw
 */
export function fail(error) {
  const text = error instanceof SetupError ? error.message : error?.stack;
  say(text ?? String(error));
  process.exit(1);
}
