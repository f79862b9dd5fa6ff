// SPDX-License-Identifier: Apache-2.0
// The check of layers finds a violation that is planted, and fails when it looks at nothing.

import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { layers } from '../../dependency-cruiser.config.mjs';
import { root } from './tree.ts';

let folder = '';

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'phos-layers-'));
  symlinkSync(join(root, 'tsconfig.json'), join(folder, 'tsconfig.json'));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function plant(files: Readonly<Record<string, string>>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
}

function check(): { status: number | null; output: string } {
  const args = [join(root, 'scripts/layers.mjs'), folder];
  const { status, stderr } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    timeout: 60_000,
  });
  return { status, output: stderr };
}

test('a machine that reaches for Node or for the addon is found', () => {
  plant({
    'src/native/native.ts': 'export const addon = 1;\n',
    'src/machines/bad.machine.ts':
      "import { readFileSync } from 'node:fs';\nimport { addon } from '../native/native.ts';\n" +
      'export const both = [readFileSync, addon];\n',
  });
  const { status, output } = check();
  expect(status).toBe(1);
  expect(output).toContain('pure: src/machines/bad.machine.ts -> fs');
  expect(output).toContain('layer-machines: src/machines/bad.machine.ts -> src/native/native.ts');
});

test('a folder that is not in the table is found', () => {
  plant({
    'src/model/a.ts': 'export const a = 1;\n',
    'src/elsewhere/b.ts': "import { a } from '../model/a.ts';\nexport const b = a;\n",
  });
  const { status, output } = check();
  expect(status).toBe(1);
  expect(output).toContain('unknown-folder');
});

test('a tree in which nothing is found to look at fails', () => {
  mkdirSync(join(folder, 'src'));
  const { status, output } = check();
  expect(status).toBe(1);
  expect(output).toContain('there are no modules to look at');
});

test('a clean tree passes', () => {
  plant({
    'src/errors/e.ts': 'export const e = 1;\n',
    'src/model/m.ts': "import { e } from '../errors/e.ts';\nexport const m = e;\n",
  });
  expect(check()).toEqual({ status: 0, output: 'layers: 2 modules, 0 violations\n' });
});

test('ARCHITECTURE.md tells the same layers', () => {
  const text = readFileSync(join(root, 'ARCHITECTURE.md'), 'utf8');
  const told = [...text.matchAll(/^\| src\/(\w+) \| [^|]+ \| ([^|]+) \|$/gm)].map(
    ([, folder = '', allowed = '']) => {
      // Words in brackets explain; packages are named there too.
      const names = allowed.replace(/\([^)]*\)/g, '').match(/\w+/g) ?? [];
      return [folder, names.filter((name) => name !== 'nothing').toSorted()] as const;
    },
  );
  const held = Object.entries(layers).map(
    ([folder, allowed]) => [folder, [...allowed].toSorted()] as const,
  );
  expect(Object.fromEntries(told)).toEqual(Object.fromEntries(held));
});
