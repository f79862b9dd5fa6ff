// SPDX-License-Identifier: Apache-2.0
// The files of the tree as the tidy tests see them: what git tracks or would track.

import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export const root: string = fileURLToPath(new URL('../..', import.meta.url));

export interface TreeFile {
  /** Path from the root, with forward slashes. */
  readonly path: string;
  readonly text: string;
  readonly lines: readonly string[];
}

const codeExtensions = new Set([
  '.ts',
  '.mjs',
  '.js',
  '.c',
  '.cc',
  '.h',
  '.cu',
  '.sh',
  '.py',
  '.proto',
  '.cmake',
]);
const textExtensions = new Set([
  ...codeExtensions,
  '.json',
  '.yaml',
  '.yml',
  '.md',
  '.txt',
  '.ptx',
  '.map',
  '',
]);

function list(): string[] {
  const args = ['ls-files', '-z', '--cached', '--others', '--exclude-standard'];
  const output = execFileSync('git', args, { cwd: root, encoding: 'utf8', timeout: 30_000 });
  // A file that was deleted and not committed yet is still listed.
  return output.split('\0').filter((path) => path !== '' && existsSync(join(root, path)));
}

function read(path: string): TreeFile {
  const text = readFileSync(join(root, path), 'utf8');
  return { path, text, lines: text.split('\n') };
}

/** Written by a program, or data recorded from elsewhere: held to no style. */
export function isGenerated(path: string): boolean {
  return (
    /(^|\/)(gen|fixtures|vectors|results|goldens)\//.test(path) ||
    path === 'package-lock.json' ||
    path === 'LICENSE' ||
    path === 'native/include/phos/cuda_abi.h' ||
    path === 'docs/api-coverage.md'
  );
}

/** Text files, generated ones included. */
export function textFiles(): TreeFile[] {
  return list()
    .filter((path) => textExtensions.has(extname(path)))
    .map((path) => read(path));
}

/** Code written by hand. */
export function handWritten(): TreeFile[] {
  return list()
    .filter((path) => isCode(path) && !isGenerated(path))
    .map((path) => read(path));
}

function isCode(path: string): boolean {
  return codeExtensions.has(extname(path)) || path.endsWith('CMakeLists.txt') || path === '.ci/run';
}
