// SPDX-License-Identifier: Apache-2.0
// The native build. Ninja knows best what is out of date, so it is always asked.

import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { root, step } from './step.mjs';

const folders = { default: 'build', asan: 'build-asan', tsan: 'build-tsan', fuzz: 'build-fuzz' };

/**
 * Configures and builds a preset of CMakePresets.json.
 *
 * @param {'default' | 'asan' | 'tsan' | 'fuzz'} preset
 * @param {string[]} targets of ninja: 'all', or 'product', which leaves the tests out
 * @returns {Promise<string>} the build folder, absolute
 */
export async function nativeBuild(preset, ...targets) {
  const folder = join(root, folders[preset] ?? `build-${preset}`);
  if (!existsSync(join(folder, 'build.ninja'))) {
    await step(`native build (${preset}): configure`, ['cmake', '--preset', preset], {
      timeoutMs: 120_000,
      cure: 'read the message of cmake above',
    });
  }
  const jobs = String(availableParallelism());
  await step(
    `native build (${preset}, ${targets.join(' ')})`,
    ['ninja', '-C', folder, '-j', jobs, '-k', '0', ...targets],
    {
      timeoutMs: 1_800_000,
      quietMs: 1000,
      cure: `run \`ninja -C ${folder}\` and read the first error`,
    },
  );
  return folder;
}
