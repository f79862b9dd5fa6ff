// SPDX-License-Identifier: Apache-2.0
// node --import tsx scripts/ptx/vectors.ts: for every form of native/test/ptx/vectors/forms.txt
// whose result PTX defines, rows of operands and the expected result, computed with exact
// arithmetic. A native test runs them on the engine. The same forms give the same file.

import { readFileSync, writeFileSync } from 'node:fs';
import { evaluateCompare, evaluateConvert, evaluateFloat } from './evaluate-float.ts';
import { integerOperations, integerType, mask, read } from './evaluate-integer.ts';
import { vectors as folder } from './forms.ts';

const rowsOfForm = 12;

/** splitmix64, so that the file does not depend on the machine. */
let state = 20251125n;
function random(): bigint {
  state = BigInt.asUintN(64, state + 0x9e3779b97f4a7c15n);
  let z = state;
  z = BigInt.asUintN(64, (z ^ (z >> 30n)) * 0xbf58476d1ce4e5b9n);
  z = BigInt.asUintN(64, (z ^ (z >> 27n)) * 0x94d049bb133111ebn);
  return z ^ (z >> 31n);
}

const edges: Readonly<Record<number, readonly bigint[]>> = {
  16: [
    0n,
    1n,
    0x8000n,
    0x7fffn,
    0xffffn,
    0x3c00n,
    0xbc00n,
    0x7bffn,
    0x7c00n,
    0xfc00n,
    0x7e00n,
    0x0400n,
    0x03ffn,
    0x3f80n,
    0x7f80n,
    0x0080n,
    0x4248n,
  ],
  32: [
    0n,
    1n,
    2n,
    31n,
    32n,
    33n,
    0xffffffffn,
    0x7fffffffn,
    0x80000000n,
    0x3f800000n,
    0xbf800000n,
    0x7f7fffffn,
    0x7f800000n,
    0xff800000n,
    0x7fc00000n,
    0x00800000n,
    0x007fffffn,
    0x80000001n,
    0x4b000001n,
    0x4f000000n,
    0xcf000000n,
    0x3effffffn,
    0x3f000000n,
    0x40490fdbn,
  ],
  64: [
    0n,
    1n,
    63n,
    64n,
    mask(64),
    mask(63),
    1n << 63n,
    0x3ff0000000000000n,
    0xbff0000000000000n,
    0x7fefffffffffffffn,
    0x7ff0000000000000n,
    0xfff0000000000000n,
    0x0010000000000000n,
    0x000fffffffffffffn,
    0x41dfffffffc00000n,
    0x43e0000000000000n,
    0x36a0000000000000n,
    0x3690000000000001n,
    0x47efffffe0000000n,
    0x47effffff0000000n,
    0x3fe0000000000000n,
  ],
};

/** Mostly values near each other, so that sums and products do not only overflow. */
function operand(bits: number, isFloat: boolean): bigint {
  const pick = random() % 8n;
  const list = edges[bits] ?? [0n, 1n];
  if (pick < 3n) return list[Number(random() % BigInt(list.length))] ?? 0n;
  const value = random() & mask(bits);
  if (pick < 5n || !isFloat) return pick === 3n ? value & 0xffn : value;
  const [mantissa, middle, spread] =
    bits === 64 ? [52n, 1020n, 40n] : bits === 32 ? [23n, 122n, 14n] : [10n, 12n, 8n];
  const exponent = middle + ((value >> 3n) % spread);
  const keep = (1n << BigInt(bits - 1)) | mask(Number(mantissa));
  return (value & keep) | (exponent << mantissa);
}

interface Form {
  readonly text: string;
  readonly base: string;
  readonly mods: readonly string[];
  /** Of the sources; the result is the first operand. */
  readonly sources: readonly number[];
  readonly predicateResult: boolean;
}

const widths: Readonly<Record<string, number>> = { h: 16, r: 32, d: 64, p: 1 };

function parse(text: string): Form | null {
  const [opcode = '', ...rest] = text.split(' ');
  const operands = rest.join(' ').split(', ');
  if (!operands.every((one) => /^%[hrdp]\d+$/.test(one))) return null;
  const [base = '', ...mods] = opcode.split('.');
  const of = (one: string): number => widths[one[1] ?? ''] ?? 32;
  return {
    text,
    base,
    mods,
    sources: operands.slice(1).map(of),
    predicateResult: operands[0]?.[1] === 'p',
  };
}

function resultBits({ text }: Form): number {
  return widths[text.split(' ')[1]?.[1] ?? ''] ?? 32;
}

/** The expected value of the whole result register, or null. */
function evaluate(form: Form, s: readonly bigint[]): bigint | null {
  const { base, mods } = form;
  const last = mods.at(-1) ?? '';
  if (base === 'setp') {
    if (mods.some((m) => m === 'and' || m === 'or' || m === 'xor')) return null;
    const yes = evaluateCompare(mods, s[0] ?? 0n, s[1] ?? 0n);
    return yes === null ? null : yes ? 1n : 0n;
  }
  if (base === 'set') {
    if (mods.some((m) => m === 'and' || m === 'or' || m === 'xor')) return null;
    const yes = evaluateCompare(mods, s[0] ?? 0n, s[1] ?? 0n);
    const truth: Readonly<Record<string, bigint>> = {
      f32: 0x3f800000n,
      f16: 0x3c00n,
      bf16: 0x3f80n,
      u16: 0xffffn,
      s16: 0xffffn,
    };
    return yes === null ? null : yes ? (truth[mods.at(-2) ?? ''] ?? mask(32)) : 0n;
  }
  if (base === 'selp') return s[2] === 1n ? (s[0] ?? 0n) : (s[1] ?? 0n);
  if (base === 'slct' && last === 's32')
    return read(s[2] ?? 0n, { bits: 32, isSigned: true }) >= 0n ? (s[0] ?? 0n) : (s[1] ?? 0n);
  if (base === 'cvt') {
    if (mods.includes('pack')) return null;
    const value = evaluateConvert(mods, s[0] ?? 0n);
    const to = mods.at(-2) ?? '';
    // A result that is narrower than its register is extended by its sign.
    return value === null ? null : read(value, integerType(to) ?? { bits: 64, isSigned: false });
  }
  const float = evaluateFloat(base, mods, s);
  if (float !== null) return float;
  const type = mods.map((m) => integerType(m)).find((one) => one !== null);
  if (type === undefined || type === null) return null;
  if (mods.some((m) => m === 'cc' || m === 'pred' || /x2$|^f|^bf/.test(m))) return null;
  return integerOperations[base]?.(s, mods, type) ?? null;
}

function rowsOf(form: Form): string[] {
  const rows: string[] = [];
  const isFloat = form.mods.some((m) => /^b?f\d+(x2)?$/.test(m));
  const paired = form.mods.some((m) => m.endsWith('x2'));
  for (let tries = 0; rows.length < rowsOfForm && tries < rowsOfForm * 3; tries += 1) {
    const s = form.sources.map((bits) =>
      bits === 1
        ? random() & 1n
        : paired
          ? operand(bits / 2, true) | (operand(bits / 2, true) << BigInt(bits / 2))
          : operand(bits, isFloat),
    );
    const value = evaluate(form, s);
    if (value === null) continue;
    const expected = BigInt.asUintN(resultBits(form), value);
    rows.push([...s, expected].map((one) => one.toString(16)).join(' '));
  }
  return rows;
}

function main(): void {
  const forms = readFileSync(new URL('forms.txt', folder), 'utf8').split('\n');
  const refused = new Set(readFileSync(new URL('refused.txt', folder), 'utf8').split('\n'));
  const lines = ['# SPDX-License-Identifier: Apache-2.0', '# Written by scripts/ptx/vectors.ts.'];
  let count = 0;
  let covered = 0;
  for (const text of forms) {
    const form = text.startsWith('#') || refused.has(text) ? null : parse(text);
    if (form === null) continue;
    const rows = rowsOf(form);
    if (rows.length === 0) continue;
    lines.push(`@ ${form.text}`, ...rows);
    count += rows.length;
    covered += 1;
  }
  writeFileSync(new URL('results.txt', folder), `${lines.join('\n')}\n`);
  process.stderr.write(`${count} rows of ${covered} forms\n`);
}

main();
