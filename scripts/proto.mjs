// SPDX-License-Identifier: Apache-2.0
// Generates src/gen/proto from proto/ with buf and protoc-gen-es, both npm packages. With --check
// nothing is written: lint, and an error when what is committed is not what would be generated.

import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { capture, root } from './setup/step.mjs';

const bin = join(root, 'node_modules', '.bin');
const committed = join(root, 'src/gen/proto');

async function buf(cwd, ...args) {
  const env = { PATH: `${bin}:${process.env.PATH ?? ''}` };
  const { code, output } = await capture([join(bin, 'buf'), ...args], {
    timeoutMs: 60_000,
    cwd,
    env,
  });
  if (code !== 0) throw new Error(`buf ${args.join(' ')} failed:\n${output}`);
}

function files(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true })
    .map(String)
    .filter((name) => name.endsWith('.ts'))
    .sort();
}

/** @returns {string[]} files that differ between two folders, or are in one of them only */
function differences(a, b) {
  const names = new Set([...files(a), ...files(b)]);
  return [...names].filter((name) => {
    const [left, right] = [join(a, name), join(b, name)];
    if (!existsSync(left) || !existsSync(right)) return true;
    return !readFileSync(left).equals(readFileSync(right));
  });
}

// buf writes beside its configuration, so it works on a copy laid out like the tree.
const work = mkdtempSync(join(tmpdir(), 'phos-proto-'));
try {
  cpSync(join(root, 'proto'), join(work, 'proto'), { recursive: true });
  await buf(join(work, 'proto'), 'lint');
  await buf(join(work, 'proto'), 'generate');
  const made = join(work, 'src/gen/proto');
  const stale = differences(made, committed);
  if (!process.argv.includes('--check')) {
    rmSync(committed, { recursive: true, force: true });
    cpSync(made, committed, { recursive: true });
    process.stderr.write(`proto: ${files(made).length} files, ${stale.length} changed\n`);
  } else if (stale.length > 0) {
    process.stderr.write(`proto: stale: ${stale.join(', ')}; run node scripts/proto.mjs\n`);
    process.exitCode = 1;
  }
} catch (error) {
  process.stderr.write(`proto: ${error.message}\n`);
  process.exitCode = 1;
} finally {
  rmSync(work, { recursive: true, force: true });
}
