// SPDX-License-Identifier: Apache-2.0
// Files, functions and lines stay small. exceptions.json lists what is longer; its numbers may
// only go down, and an entry that is no longer needed must go.

import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { nativeFunctions, typeScriptFunctions } from './functions.ts';
import { handWritten } from './tree.ts';

const limits = { file: 400, function: 70, columns: 100 };

interface Exceptions {
  readonly lines: Readonly<Record<string, number>>;
  /** Key: path, colon, name of the function. */
  readonly functions: Readonly<Record<string, number>>;
}

const exceptions = JSON.parse(
  readFileSync(new URL('exceptions.json', import.meta.url), 'utf8'),
) as Exceptions;

/** What is over its limit or its exception, and which exceptions are too generous. */
function judge(
  sizes: ReadonlyMap<string, number>,
  limit: number,
  allowed: Readonly<Record<string, number>>,
): string[] {
  const findings: string[] = [];
  for (const [name, size] of sizes) {
    const bound = allowed[name] ?? limit;
    if (size > bound) findings.push(`${name}: ${size} lines, at most ${bound}`);
  }
  for (const [name, bound] of Object.entries(allowed)) {
    const size = sizes.get(name) ?? 0;
    if (size <= limit) findings.push(`${name}: its exception is not needed any more`);
    else if (size < bound) findings.push(`${name}: lower its exception to ${size}`);
  }
  return findings;
}

test('files have at most 400 lines', () => {
  const sizes = new Map(
    handWritten().map(({ path, text }) => [path, text.trimEnd().split('\n').length]),
  );
  expect(sizes.size).toBeGreaterThan(20);
  expect(judge(sizes, limits.file, exceptions.lines)).toEqual([]);
});

test('functions have at most 70 lines', () => {
  const sizes = new Map<string, number>();
  for (const { path, text } of handWritten()) {
    const isScript = /\.(ts|mjs|js)$/.test(path);
    if (!isScript && !/\.(c|cc|h|cu)$/.test(path)) continue;
    const found = isScript ? typeScriptFunctions(path, text) : nativeFunctions(text);
    for (const { name, lines } of found) {
      const key = `${path}:${name}`;
      sizes.set(key, Math.max(lines, sizes.get(key) ?? 0));
    }
  }
  expect(sizes.size).toBeGreaterThan(50);
  expect(judge(sizes, limits.function, exceptions.functions)).toEqual([]);
});

test('lines have at most 100 columns', () => {
  const findings = handWritten().flatMap(({ path, lines }) =>
    lines.flatMap((line, index) =>
      [...line].length > limits.columns ? [`${path}:${index + 1}`] : [],
    ),
  );
  expect(findings).toEqual([]);
});

test('the ratchet finds what is over, and exceptions that are too generous', () => {
  const sizes = new Map([
    ['over', 500],
    ['shrunk', 450],
    ['mended', 300],
    ['fine', 400],
  ]);
  expect(judge(sizes, 400, { shrunk: 480, mended: 420 })).toEqual([
    'over: 500 lines, at most 400',
    'shrunk: lower its exception to 450',
    'mended: its exception is not needed any more',
  ]);
});

test('functions are measured in TypeScript and in C++', () => {
  const script = 'function one() {\n  return () => {\n    return 1;\n  };\n}\n';
  expect(typeScriptFunctions('x.ts', script).map(({ lines }) => lines)).toEqual([5, 3]);
  const native = [
    'namespace a {',
    'struct s { int x = 0; };',
    'int f(int x) noexcept {',
    "  if (x == '{') { return 1; }  // {",
    '  return 0;',
    '}',
    's::s(int y)',
    '    : x(y) {',
    '}',
    '}',
  ].join('\n');
  expect(nativeFunctions(native)).toEqual([
    { name: 'f', line: 3, lines: 4 },
    { name: 's::s', line: 7, lines: 3 },
  ]);
});
