// SPDX-License-Identifier: Apache-2.0
// Checks who imports whom (dependency-cruiser.config.mjs). A checker that looks at nothing finds
// nothing, so it also demands that every module of src/ was seen.

import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { cruise } from 'dependency-cruiser';
import extractTSConfig from 'dependency-cruiser/config-utl/extract-ts-config';
import configuration from '../dependency-cruiser.config.mjs';

/**
 * @param {string} base folder that holds src/ and autogen/
 * @returns {Promise<{ modules: number, violations: string[] }>}
 */
export async function checkLayers(base) {
  const folders = ['src', 'autogen'].filter((name) => existsSync(join(base, name)));
  const expected = folders.reduce((sum, name) => sum + countSources(join(base, name)), 0);
  if (expected === 0) return { modules: 0, violations: ['there are no modules to look at'] };
  const before = process.cwd();
  process.chdir(base);
  try {
    const tsConfig = existsSync('tsconfig.json') ? extractTSConfig('tsconfig.json') : undefined;
    const { output } = await cruise(
      folders,
      { ...configuration.options, validate: true, ruleSet: { forbidden: configuration.forbidden } },
      undefined,
      tsConfig === undefined ? {} : { tsConfig },
    );
    const ours = output.modules.filter((module) => /^(src|autogen)\//.test(module.source));
    const violations = output.summary.violations.map(
      ({ rule, from, to }) => `${rule.name}: ${from} -> ${to}`,
    );
    if (ours.length < expected) {
      violations.push(`only ${ours.length} of ${expected} modules were looked at`);
    }
    return { modules: ours.length, violations };
  } finally {
    process.chdir(before);
  }
}

function countSources(folder) {
  return readdirSync(folder, { recursive: true }).filter((name) => String(name).endsWith('.ts'))
    .length;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const { modules, violations } = await checkLayers(
    process.argv[2] ?? join(import.meta.dirname, '..'),
  );
  for (const violation of violations) process.stderr.write(`${violation}\n`);
  process.stderr.write(`layers: ${modules} modules, ${violations.length} violations\n`);
  process.exit(violations.length === 0 ? 0 : 1);
}
