// SPDX-License-Identifier: Apache-2.0
// What floating-point instructions, comparisons and conversions give, with exact arithmetic, after
// the PTX ISA 9.0. null: PTX leaves the result open, or it is an approximation.

import { clamp, type IntegerType, integerType, mask, read } from './evaluate-integer.ts';
import {
  add,
  decode,
  divide,
  encode,
  finite,
  type Format,
  formats,
  isSubnormal,
  isZero,
  multiply,
  negate,
  order,
  type Rounding,
  squareRoot,
  toUnits,
  type Value,
} from './exact.ts';

type Sources = readonly bigint[];

const roundings: readonly Rounding[] = ['rn', 'rz', 'rm', 'rp', 'rna'];

function roundingOf(mods: readonly string[]): Rounding {
  return roundings.find((one) => mods.includes(one)) ?? 'rn';
}

function flushed(bits: bigint, format: Format, ftz: boolean): bigint {
  return ftz && isSubnormal(bits, format) ? bits & (1n << BigInt(format.bits - 1)) : bits;
}

/** Rounds, flushes and saturates a result. */
function finish(v: Value, format: Format, mods: readonly string[]): bigint | null {
  const ftz = mods.includes('ftz');
  if (v.kind === 'nan' && format.bits === 64) return null; // its payload is open
  let bits = encode(v, format, roundingOf(mods));
  if (ftz && smallest(bits, format) && !exactly(v, bits, format)) return null; // flushed or not?
  bits = flushed(bits, format, ftz);
  const negative = bits >> BigInt(format.bits - 1) === 1n;
  if (mods.includes('sat')) {
    const one = encode(finite(1n), format, 'rn');
    if (v.kind === 'nan' || negative) return 0n;
    return bits > one ? one : bits;
  }
  return mods.includes('relu') && negative && v.kind !== 'nan' ? 0n : bits;
}

function smallest(bits: bigint, format: Format): boolean {
  return (bits & mask(format.bits - 1)) === 1n << BigInt(format.mantissa);
}

function exactly(v: Value, bits: bigint, format: Format): boolean {
  return v.denominator === 1n && order(v, decode(bits, format)) === 0;
}

function chosen(
  a: bigint,
  b: bigint,
  format: Format,
  mods: readonly string[],
  most: boolean,
): bigint | null {
  const va = decode(a, format);
  const vb = decode(b, format);
  const nan = encode({ ...va, kind: 'nan' }, format, 'rn');
  const open = format.bits === 64 ? null : nan;
  if (va.kind === 'nan' && vb.kind === 'nan') return open;
  if (va.kind === 'nan' || vb.kind === 'nan')
    return mods.includes('NaN') ? open : va.kind === 'nan' ? b : a;
  const by = order(va, vb) ?? 0;
  // -0 is less than +0.
  const aIsLess = by < 0 || (by === 0 && va.negative && !vb.negative);
  return aIsLess === most ? b : a;
}

function leastOrMost(
  s: Sources,
  format: Format,
  mods: readonly string[],
  most: boolean,
): bigint | null {
  const values = s.map((bits) => flushed(bits, format, mods.includes('ftz')));
  const sign = 1n << BigInt(format.bits - 1);
  const absolute = mods.includes('abs');
  let result: bigint | null = (values[0] ?? 0n) & (absolute ? sign - 1n : mask(format.bits));
  for (const value of values.slice(1)) {
    const other = absolute ? value & (sign - 1n) : value;
    result = result === null ? null : chosen(result, other, format, mods, most);
  }
  if (mods.includes('xorsign') && result !== null) {
    if (decode(result, format).kind === 'nan') return null;
    const signs = ((values[0] ?? 0n) ^ (values[1] ?? 0n)) & sign;
    return result | signs;
  }
  return result;
}

/** One lane of an operation on values of one format. */
function lane(base: string, s: Sources, format: Format, mods: readonly string[]): bigint | null {
  const [a, b, c] = s.map((bits) => decode(flushed(bits, format, mods.includes('ftz')), format));
  const rounding = roundingOf(mods);
  const sign = 1n << BigInt(format.bits - 1);
  const raw = flushed(s[0] ?? 0n, format, mods.includes('ftz'));
  if (a === undefined || mods.includes('approx') || mods.includes('full')) return null;
  if (base === 'abs' || base === 'neg') {
    if (a.kind === 'nan') return null;
    return base === 'abs' ? raw & (sign - 1n) : raw ^ sign;
  }
  if (base === 'sqrt') return finish(squareRoot(a), format, mods);
  if (base === 'rcp') return finish(divide(finite(1n), a), format, mods);
  if (b === undefined) return null;
  if (base === 'min' || base === 'max') return leastOrMost(s, format, mods, base === 'max');
  if (base === 'copysign') return ((s[0] ?? 0n) & sign) | ((s[1] ?? 0n) & (sign - 1n));
  if (base === 'add') return finish(add(a, b, rounding), format, mods);
  if (base === 'sub') return finish(add(a, negate(b), rounding), format, mods);
  if (base === 'mul') return finish(multiply(a, b), format, mods);
  if (base === 'div') return finish(divide(a, b), format, mods);
  if ((base === 'fma' || base === 'mad') && c !== undefined)
    return finish(add(multiply(a, b), c, rounding), format, mods);
  return null;
}

/** add, fma and their like; pairs are computed half by half. */
export function evaluateFloat(base: string, mods: readonly string[], s: Sources): bigint | null {
  const types = mods.filter((m) => m in formats || m.endsWith('x2'));
  const type = types[0];
  if (types.length !== 1 || type === undefined) return null;
  const own = mods.filter((m) => m !== type);
  const format = formats[type.replace('x2', '')];
  if (format === undefined) return null;
  if (!type.endsWith('x2')) return lane(base, s, format, own);
  const part = (i: number): bigint | null =>
    lane(
      base,
      s.map((v) => (v >> BigInt(format.bits * i)) & mask(format.bits)),
      format,
      own,
    );
  const [low, high] = [part(0), part(1)];
  return low === null || high === null ? null : low | (high << BigInt(format.bits));
}

const tests: Readonly<Record<string, (o: number) => boolean>> = {
  eq: (o) => o === 0,
  ne: (o) => o !== 0,
  lt: (o) => o < 0,
  le: (o) => o <= 0,
  gt: (o) => o > 0,
  ge: (o) => o >= 0,
  lo: (o) => o < 0,
  ls: (o) => o <= 0,
  hi: (o) => o > 0,
  hs: (o) => o >= 0,
  equ: (o) => o === 0,
  neu: (o) => o !== 0,
  ltu: (o) => o < 0,
  leu: (o) => o <= 0,
  gtu: (o) => o > 0,
  geu: (o) => o >= 0,
};

/** What a comparison says of two values of a type. */
export function evaluateCompare(mods: readonly string[], a: bigint, b: bigint): boolean | null {
  const name = mods[0] ?? '';
  const type = mods.at(-1) ?? '';
  const integer = integerType(type);
  if (integer !== null) {
    const [x, y] = [read(a, integer), read(b, integer)];
    return tests[name]?.(x < y ? -1 : x > y ? 1 : 0) ?? null;
  }
  const format = formats[type];
  if (format === undefined) return null;
  const ftz = mods.includes('ftz');
  const by = order(
    decode(flushed(a, format, ftz), format),
    decode(flushed(b, format, ftz), format),
  );
  if (name === 'num') return by !== null;
  if (name === 'nan') return by === null;
  return by === null ? name.endsWith('u') && name !== 'lu' : (tests[name]?.(by) ?? null);
}

function toInteger(bits: bigint, from: Format, to: IntegerType, mods: readonly string[]): bigint {
  const v = decode(flushed(bits, from, mods.includes('ftz')), from);
  // NaN of singles and halves is 0, of doubles the value with only the highest bit set.
  if (v.kind === 'nan') return from.bits === 64 || to.bits === 64 ? -1n : 0n;
  if (v.kind === 'infinite') return clamp((v.negative ? -1n : 1n) << 80n, to);
  const rounding =
    (['rn', 'rz', 'rm', 'rp'] as const).find((one) => mods.includes(`${one}i`)) ?? 'rz';
  const units = toUnits(v, 0, rounding);
  return clamp(v.negative ? -units : units, to);
}

function integral(v: Value, mods: readonly string[]): Value {
  const rounding = (['rn', 'rz', 'rm', 'rp'] as const).find((one) => mods.includes(`${one}i`));
  if (rounding === undefined || v.kind !== 'finite' || isZero(v)) return v;
  const units = toUnits(v, 0, rounding);
  return { ...finite(units), negative: v.negative };
}

/** cvt of one value; packed forms and those of fewer than 16 bits are not covered. */
export function evaluateConvert(mods: readonly string[], source: bigint): bigint | null {
  const [to = '', from = ''] = mods.slice(-2);
  const [toInt, fromInt] = [integerType(to), integerType(from)];
  const [toFloat, fromFloat] = [formats[to], formats[from]];
  if (fromInt !== null && toInt !== null) {
    const value = read(source, fromInt);
    return mods.includes('sat') ? clamp(value, toInt) : read(value, toInt);
  }
  if (fromInt !== null && toFloat !== undefined) {
    const value = finite(read(source, fromInt));
    return finish(value, toFloat, mods);
  }
  if (fromFloat === undefined || mods.includes('satfinite')) return null;
  if (toInt !== null) {
    const v = decode(source, fromFloat);
    return v.kind === 'nan' && (fromFloat.bits === 64 || toInt.bits === 64 || toInt.bits < 32)
      ? null
      : toInteger(source, fromFloat, toInt, mods);
  }
  if (toFloat === undefined) return null;
  const ftz = mods.includes('ftz') && fromFloat.bits === 32;
  const v = integral(decode(flushed(source, fromFloat, ftz), fromFloat), mods);
  if (v.kind === 'nan' && !mods.includes('sat') && to === from) return null;
  const flush = mods.includes('ftz') && toFloat.bits === 32;
  return finish(v, toFloat, flush ? mods : mods.filter((m) => m !== 'ftz'));
}
