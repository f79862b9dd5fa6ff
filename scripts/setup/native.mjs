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
 * @param {'all' | 'product' | 'fuzzers'} target 'product' leaves the tests out
 * @returns {Promise<string>} the build folder, absolute
 */
export async function nativeBuild(preset, target) {
  const folder = join(root, folders[preset] ?? `build-${preset}`);
  if (!existsSync(join(folder, 'build.ninja'))) {
    await step(`native build (${preset}): configure`, ['cmake', '--preset', preset], {
      timeoutMs: 120_000,
      cure: 'read the message of cmake above',
    });
  }
  const jobs = String(availableParallelism());
  await step(
    `native build (${preset}, ${target})`,
    ['ninja', '-C', folder, '-j', jobs, '-k', '0', target],
    {
      timeoutMs: 1_800_000,
      quietMs: 1000,
      cure: `run \`ninja -C ${folder}\` and read the first error`,
    },
  );
  return folder;
}
