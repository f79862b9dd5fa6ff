// SPDX-License-Identifier: Apache-2.0
// SPECIFICATION.md and the sources promise the same numbers.

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ERRORS, isErrorCode } from '../../src/gen/error-codes.ts';
import * as model from '../../src/model/limits.ts';
import { root } from './tree.ts';

interface Row {
  readonly what: string;
  readonly value: string;
  readonly where: string;
}

const text = readFileSync(join(root, 'SPECIFICATION.md'), 'utf8');
const rows: Row[] = [...text.matchAll(/^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$/gm)].map(
  ([, what = '', value = '', where = '']) => ({ what, value, where }),
);

/** The value of a constexpr of a header: integers, shifts, products, and names of the same file. */
function nativeConstant(path: string, name: string): number {
  const source = readFileSync(join(root, path), 'utf8');
  const body = new RegExp(`constexpr [\\w:]+ ${name}\\s*=\\s*([^;]+);`).exec(source)?.[1];
  if (body === undefined) throw new Error(`${path} has no constant ${name}`);
  return evaluate(body, (other) => nativeConstant(path, other));
}

function evaluate(expression: string, lookUp: (name: string) => number): number {
  const plain = expression
    .replace(/std::\w+\{([^}]*)\}/g, '($1)')
    .replace(/(0x[0-9a-fA-F]+|\d+)(?:[uU]?[lL]{0,2})\b/g, '$1')
    .replace(/'/g, '');
  const difference = plain.split(' - ');
  const factors = (part: string): number =>
    part.split(/\s*\*\s*/).reduce((product, factor) => product * quotient(factor), 1);
  const quotient = (part: string): number => {
    const [first = '', ...rest] = part.split(/\s*\/\s*/);
    return rest.reduce((value, divisor) => value / shift(divisor), shift(first));
  };
  const shift = (part: string): number => {
    const [base = '', by] = part.replace(/[()]/g, '').split(/\s*<<\s*/);
    return term(base.trim()) * 2 ** (by === undefined ? 0 : term(by.trim()));
  };
  const term = (part: string): number => (/^k[A-Z]/.test(part) ? lookUp(part) : Number(part));
  const [first = '', ...rest] = difference;
  return rest.reduce((value, part) => value - factors(part), factors(first));
}

function modelConstant(name: string): number {
  const value = name.split('.').reduce<unknown>((at, key) => {
    return (at as Readonly<Record<string, unknown>>)[key];
  }, model);
  if (typeof value !== 'number') throw new Error(`src/model/limits.ts has no number ${name}`);
  return value;
}

test('every number of the specification is that of its constant', () => {
  const constants = rows.filter(({ where }) => /^(src|native)\//.test(where));
  expect(constants.length).toBeGreaterThan(30);
  for (const { what, value, where } of constants) {
    const [path = '', name = ''] = where.split(' ');
    const actual = path.startsWith('native/') ? nativeConstant(path, name) : modelConstant(name);
    expect(actual, `${what} (${where})`).toBe(Number(value));
  }
});

test('the exit codes are those of the notation', () => {
  const listed = rows.filter(({ what }) => isErrorCode(what));
  const expected = Object.entries(ERRORS).map(([code, { exitCode, retryable }]) => ({
    what: code,
    value: String(exitCode),
    where: retryable ? 'yes' : 'no',
  }));
  expect(listed).toEqual(expected);
});

test('constant expressions are read as the compiler reads them', () => {
  const names = (name: string): number => (name === 'kBase' ? 8 : Number.NaN);
  expect(evaluate('4U << 20', names)).toBe(4194304);
  expect(evaluate('std::uint64_t{4} << 30', names)).toBe(4294967296);
  expect(evaluate('(1U << 20) - 1', names)).toBe(1048575);
  expect(evaluate('kBase / 4', names)).toBe(2);
  expect(evaluate('0x8000000000', names)).toBe(549755813888);
});
