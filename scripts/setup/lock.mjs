// SPDX-License-Identifier: Apache-2.0
// One set-up at a time in a tree. The kernel's file lock is held by a flock(1) child that ends
// when our end of its pipe closes, so a set-up that is killed never leaves a stale lock.

import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { root, SetupError, say } from './step.mjs';

const waitSeconds = 1200;

/**
 * Waits for the lock of this tree.
 *
 * @param {string} path the file that is locked
 * @returns {Promise<() => void>} gives the lock back
 */
export async function takeLock(path = join(root, 'build', '.setup.lock')) {
  mkdirSync(dirname(path), { recursive: true });
  const child = spawn('flock', ['-w', String(waitSeconds), path, 'sh', '-c', 'echo held; cat'], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  // Only waiting is worth a line.
  const notice = setTimeout(() => say('waiting for another set-up in this tree'), 1000);
  try {
    await new Promise((resolve, reject) => {
      child.once('error', (error) => {
        reject(new SetupError(`flock: ${error.message}`, 'install util-linux'));
      });
      child.once('exit', () => {
        reject(
          new SetupError(
            `another set-up has held ${path} for ${waitSeconds} s`,
            'look for a set-up that hangs, end it, and try again',
          ),
        );
      });
      child.stdout.once('data', resolve);
    });
  } finally {
    clearTimeout(notice);
  }
  child.unref();
  return () => child.stdin.end();
}
