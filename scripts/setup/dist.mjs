// SPDX-License-Identifier: Apache-2.0
// TypeScript to JavaScript in dist/, and the commands in build/bin. Types are checked by
// `npm run check`; here they are only removed, which takes a second or two.

import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fingerprint, isFresh, writeStamp } from './stamp.mjs';
import { root, step } from './step.mjs';

const stampPath = 'dist/.phos-stamp';
const inputs = ['src', 'autogen', 'tsconfig.json', 'tsconfig.build.json', 'package-lock.json'];

/** Compiles src/ and autogen/ when one of their files has changed. */
export async function distBuild() {
  writeCommands();
  const value = fingerprint(inputs, (name) => name.endsWith('.ts'));
  if (isFresh(stampPath, value)) return;
  const tsc = join(root, 'node_modules/typescript/bin/tsc');
  const command = [process.execPath, tsc, '-p', 'tsconfig.build.json', '--noCheck'];
  await step('TypeScript build', command, {
    timeoutMs: 180_000,
    cure: 'run `npm run typecheck` and read the first error',
  });
  removeOrphans('');
  writeStamp(stampPath, value);
}

/** A module that was deleted must not live on in dist/, where an import would still find it. */
function removeOrphans(folder) {
  for (const entry of readdirSync(join(root, 'dist', folder), { withFileTypes: true })) {
    const path = folder === '' ? entry.name : `${folder}/${entry.name}`;
    if (entry.isDirectory()) {
      removeOrphans(path);
    } else if (/\.js(\.map)?$/.test(entry.name)) {
      const source = path.replace(/\.js(\.map)?$/, '.ts');
      if (!existsSync(join(root, source))) rmSync(join(root, 'dist', path));
    }
  }
}

/** build/bin/phos and build/bin/phosd: what `npm link` would install, for use from the tree. */
function writeCommands() {
  const folder = join(root, 'build/bin');
  mkdirSync(folder, { recursive: true });
  for (const [name, module] of [
    ['phos', 'cli'],
    ['phosd', 'phosd'],
  ]) {
    const path = join(folder, name);
    if (existsSync(path)) continue;
    const text = [
      '#!/bin/sh',
      '# SPDX-License-Identifier: Apache-2.0',
      '# Written by scripts/setup/dist.mjs.',
      'here=$(dirname -- "$(readlink -f -- "$0")")',
      `exec node "$here/../../dist/src/${module}/main.js" "$@"`,
      '',
    ].join('\n');
    writeFileSync(path, text);
    chmodSync(path, 0o755);
  }
}
