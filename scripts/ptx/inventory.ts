// SPDX-License-Identifier: Apache-2.0
// node --import tsx scripts/ptx/inventory.ts: asks ptxas which forms of instructions exist on
// sm_86 and writes them to native/test/ptx/vectors/forms.txt. A native test then holds the
// engine to that list.

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expand, firstLine, moduleOf, readPatterns, vectors } from './forms.ts';

const timeoutMs = 120_000;

/** Those that ptxas assembles: what it blames is taken out until it is content. */
function accepted(folder: string, instructions: readonly string[]): string[] {
  let left = [...instructions];
  const file = join(folder, 'forms.ptx');
  while (left.length > 0) {
    writeFileSync(file, moduleOf(left));
    const args = ['-arch=sm_86', '-O0', '-o', '/dev/null', file];
    const { status, stderr, error } = spawnSync('ptxas', args, {
      encoding: 'utf8',
      timeout: timeoutMs,
    });
    if (error !== undefined) throw error;
    if (status === 0) return left;
    const blamed = new Set([...stderr.matchAll(/line (\d+);/g)].map((found) => Number(found[1])));
    const kept = left.filter((_, i) => !blamed.has(firstLine + i));
    if (kept.length === left.length)
      throw new Error(`ptxas blames no instruction:\n${stderr.slice(0, 2000)}`);
    left = kept;
  }
  return left;
}

function main(): void {
  execFileSync('ptxas', ['--version'], { timeout: timeoutMs });
  const folder = mkdtempSync(join(tmpdir(), 'phos-ptx-'));
  const lines = [
    '# SPDX-License-Identifier: Apache-2.0',
    '# Written by scripts/ptx/inventory.ts: what ptxas of CUDA 13.0 accepts for sm_86.',
  ];
  try {
    for (const [family, list] of readPatterns()) {
      const candidates = [...new Set(list.flatMap((pattern) => expand(pattern)))];
      const found: string[] = [];
      for (let at = 0; at < candidates.length; at += 400)
        found.push(...accepted(folder, candidates.slice(at, at + 400)));
      process.stderr.write(`${family}: ${found.length} of ${candidates.length}\n`);
      lines.push(`# ${family}`, ...found);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  writeFileSync(new URL('forms.txt', vectors), `${lines.join('\n')}\n`);
}

main();
