// SPDX-License-Identifier: Apache-2.0
// Floating-point values as exact fractions of integers, and their rounding into any format: what
// the expected values of the vectors are computed with. Nothing here uses the machine's floats.

export interface Format {
  readonly bits: number;
  readonly exponent: number; // bits of the exponent
  readonly mantissa: number; // bits of the mantissa that are stored
}

export const formats: Readonly<Record<string, Format>> = {
  f16: { bits: 16, exponent: 5, mantissa: 10 },
  bf16: { bits: 16, exponent: 8, mantissa: 7 },
  f32: { bits: 32, exponent: 8, mantissa: 23 },
  f64: { bits: 64, exponent: 11, mantissa: 52 },
};

export type Rounding = 'rn' | 'rz' | 'rm' | 'rp' | 'rna';

/** sign * numerator / denominator * 2^exponent, or something that is no number. */
export interface Value {
  readonly kind: 'nan' | 'infinite' | 'finite';
  readonly negative: boolean;
  readonly numerator: bigint;
  readonly denominator: bigint;
  readonly exponent: number;
}

export const nan: Value = {
  kind: 'nan',
  negative: false,
  numerator: 0n,
  denominator: 1n,
  exponent: 0,
};

export function infinite(negative: boolean): Value {
  return { ...nan, kind: 'infinite', negative };
}

export function finite(numerator: bigint, exponent = 0, denominator = 1n): Value {
  const negative = numerator < 0n;
  const magnitude = negative ? -numerator : numerator;
  return { kind: 'finite', negative, numerator: magnitude, denominator, exponent };
}

export function zero(negative: boolean): Value {
  return { ...finite(0n), negative };
}

export const isZero = (v: Value): boolean => v.kind === 'finite' && v.numerator === 0n;

export function decode(bits: bigint, format: Format): Value {
  const { exponent: e, mantissa: m } = format;
  const negative = ((bits >> BigInt(format.bits - 1)) & 1n) === 1n;
  const fraction = bits & ((1n << BigInt(m)) - 1n);
  const stored = Number((bits >> BigInt(m)) & ((1n << BigInt(e)) - 1n));
  const bias = 2 ** (e - 1) - 1;
  if (stored === 2 ** e - 1) return fraction === 0n ? infinite(negative) : nan;
  const numerator = stored === 0 ? fraction : fraction | (1n << BigInt(m));
  const exponent = (stored === 0 ? 1 : stored) - bias - m;
  return { kind: 'finite', negative, numerator, denominator: 1n, exponent };
}

export function isSubnormal(bits: bigint, format: Format): boolean {
  const v = decode(bits, format);
  return v.kind === 'finite' && v.numerator !== 0n && v.numerator >> BigInt(format.mantissa) === 0n;
}

/** floor(n / d * 2^shift) and whether something is left. */
function scaled(n: bigint, d: bigint, shift: number): { whole: bigint; rest: bigint; by: bigint } {
  const top = shift >= 0 ? n << BigInt(shift) : n;
  const by = shift >= 0 ? d : d << BigInt(-shift);
  return { whole: top / by, rest: top % by, by };
}

function roundsUp(
  rounding: Rounding,
  negative: boolean,
  odd: boolean,
  rest: bigint,
  by: bigint,
): boolean {
  if (rest === 0n || rounding === 'rz') return false;
  if (rounding === 'rm') return negative;
  if (rounding === 'rp') return !negative;
  const twice = rest * 2n;
  return twice > by || (twice === by && (rounding === 'rna' || odd));
}

/** The nearest whole multiple of 2^unit. @returns a count of units */
export function toUnits(v: Value, unit: number, rounding: Rounding): bigint {
  const { whole, rest, by } = scaled(v.numerator, v.denominator, v.exponent - unit);
  return roundsUp(rounding, v.negative, (whole & 1n) === 1n, rest, by) ? whole + 1n : whole;
}

/** floor(log2 |v|) of what is not zero. */
function magnitude(v: Value): number {
  let e = v.numerator.toString(2).length - v.denominator.toString(2).length + v.exponent;
  while (scaled(v.numerator, v.denominator, v.exponent - e).whole === 0n) e -= 1;
  while (scaled(v.numerator, v.denominator, v.exponent - e).whole > 1n) e += 1;
  return e;
}

/** The bits of a value in a format; NaN in the one form that PTX arithmetic gives. */
export function encode(v: Value, format: Format, rounding: Rounding): bigint {
  const { exponent: e, mantissa: m } = format;
  const m1 = 1n << BigInt(m);
  const sign = v.negative ? 1n << BigInt(format.bits - 1) : 0n;
  const topExponent = BigInt(2 ** e - 1) << BigInt(m);
  if (v.kind === 'nan') return topExponent | (m1 - 1n);
  if (v.kind === 'infinite') return sign | topExponent;
  if (v.numerator === 0n) return sign;
  const bias = 2 ** (e - 1) - 1;
  const least = 1 - bias;
  const own = Math.max(magnitude(v), least);
  const units = toUnits(v, own - m, rounding);
  // A carry out of the mantissa moves into the exponent by itself.
  const bits = (BigInt(own + bias - 1) << BigInt(m)) + units;
  if (bits < topExponent) return sign | bits;
  const stays =
    rounding === 'rz' || (rounding === 'rm' && !v.negative) || (rounding === 'rp' && v.negative);
  return sign | (stays ? topExponent - 1n : topExponent);
}

function common(a: Value, b: Value): [bigint, bigint, number] {
  const exponent = Math.min(a.exponent, b.exponent);
  const whole = (v: Value): bigint => {
    const n = v.numerator << BigInt(v.exponent - exponent);
    return v.negative ? -n : n;
  };
  return [whole(a), whole(b), exponent];
}

/** a + b of values without a denominator; an exact zero is negative only when rounding down. */
export function add(a: Value, b: Value, rounding: Rounding): Value {
  if (a.kind === 'nan' || b.kind === 'nan') return nan;
  if (a.kind === 'infinite' || b.kind === 'infinite') {
    if (a.kind === b.kind) return a.negative === b.negative ? a : nan;
    return a.kind === 'infinite' ? a : b;
  }
  const [x, y, exponent] = common(a, b);
  if (x + y !== 0n) return finite(x + y, exponent);
  return zero(a.negative === b.negative ? a.negative : rounding === 'rm');
}

export function negate(v: Value): Value {
  return v.kind === 'nan' ? v : { ...v, negative: !v.negative };
}

export function multiply(a: Value, b: Value): Value {
  if (a.kind === 'nan' || b.kind === 'nan') return nan;
  const negative = a.negative !== b.negative;
  if (a.kind === 'infinite' || b.kind === 'infinite')
    return isZero(a) || isZero(b) ? nan : infinite(negative);
  const product = finite(a.numerator * b.numerator, a.exponent + b.exponent);
  return { ...product, negative };
}

export function divide(a: Value, b: Value): Value {
  if (a.kind === 'nan' || b.kind === 'nan') return nan;
  const negative = a.negative !== b.negative;
  if (a.kind === 'infinite') return b.kind === 'infinite' ? nan : infinite(negative);
  if (b.kind === 'infinite') return zero(negative);
  if (isZero(b)) return isZero(a) ? nan : infinite(negative);
  return { ...finite(a.numerator, a.exponent - b.exponent, b.numerator), negative };
}

/** A value whose rounding into at most 60 bits is that of the root, in every direction. */
export function squareRoot(v: Value): Value {
  if (v.kind === 'nan' || isZero(v)) return v;
  if (v.negative) return nan;
  if (v.kind === 'infinite') return v;
  let n = v.numerator << 200n;
  let exponent = v.exponent - 200;
  if (exponent % 2 !== 0) {
    n <<= 1n;
    exponent -= 1;
  }
  let root = 1n << BigInt(Math.ceil(n.toString(2).length / 2));
  for (;;) {
    const next = (root + n / root) / 2n;
    if (next >= root) break;
    root = next;
  }
  // A bit far below the last that counts says that something is left.
  return finite(root * 4n + (root * root === n ? 0n : 1n), exponent / 2 - 2);
}

/** As a comparison would: -1, 0, 1, or null where one is NaN. */
export function order(a: Value, b: Value): number | null {
  if (a.kind === 'nan' || b.kind === 'nan') return null;
  const rank = (v: Value): number => (v.kind === 'infinite' ? (v.negative ? -1 : 1) : 0);
  if (rank(a) !== rank(b)) return Math.sign(rank(a) - rank(b));
  if (a.kind === 'infinite') return 0;
  const [x, y] = common(a, b);
  return x < y ? -1 : x > y ? 1 : 0;
}
