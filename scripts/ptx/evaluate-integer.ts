// SPDX-License-Identifier: Apache-2.0
// What integer and bit instructions compute, over bigint, after the PTX ISA 9.0.

export const mask = (bits: number): bigint => (1n << BigInt(bits)) - 1n;
export const signed = (value: bigint, bits: number): bigint => BigInt.asIntN(bits, value);

export interface IntegerType {
  readonly bits: number;
  readonly isSigned: boolean;
}

export function integerType(name: string): IntegerType | null {
  const found = /^([usb])(8|16|32|64)$/.exec(name);
  return found === null ? null : { bits: Number(found[2]), isSigned: found[1] === 's' };
}

export const read = (value: bigint, { bits, isSigned }: IntegerType): bigint =>
  isSigned ? signed(value, bits) : value & mask(bits);

export function clamp(value: bigint, { bits, isSigned }: IntegerType): bigint {
  const most = isSigned ? mask(bits - 1) : mask(bits);
  const least = isSigned ? -mask(bits - 1) - 1n : 0n;
  return value > most ? most : value < least ? least : value;
}

const abs = (v: bigint): bigint => (v < 0n ? -v : v);
const ones = (v: bigint): bigint => BigInt(v.toString(2).replaceAll('0', '').length);
const length = (v: bigint): number => (v === 0n ? 0 : v.toString(2).length);

type Sources = readonly bigint[];
type Evaluate = (s: Sources, mods: readonly string[], type: IntegerType) => bigint | null;

const at = (s: Sources, i: number): bigint => s[i] ?? 0n;

function twoSourced(f: (a: bigint, b: bigint) => bigint): Evaluate {
  return (s, mods, type) => {
    const result = f(read(at(s, 0), type), read(at(s, 1), type));
    return mods.includes('sat') ? clamp(result, type) : result;
  };
}

function product(s: Sources, mods: readonly string[], type: IntegerType): bigint {
  const whole = read(at(s, 0), type) * read(at(s, 1), type);
  if (mods.includes('hi')) return whole >> BigInt(type.bits);
  return mods.includes('wide') ? whole : whole & mask(type.bits);
}

function product24(s: Sources, mods: readonly string[], { isSigned }: IntegerType): bigint {
  const part: IntegerType = { bits: 24, isSigned };
  const whole = read(at(s, 0), part) * read(at(s, 1), part);
  return mods.includes('hi') ? whole >> 16n : whole & mask(32);
}

function added(
  multiply: (s: Sources, mods: readonly string[], t: IntegerType) => bigint,
): Evaluate {
  return (s, mods, type) => {
    const bits = mods.includes('wide') ? type.bits * 2 : type.bits;
    const half = mods.includes('wide')
      ? multiply(s, mods, type)
      : read(BigInt.asUintN(type.bits, multiply(s, mods, type)), type);
    const sum = half + read(at(s, 2), { ...type, bits });
    return mods.includes('sat') ? clamp(sum, type) : sum;
  };
}

function shiftRight(s: Sources, _: readonly string[], type: IntegerType): bigint {
  const by = at(s, 1) & mask(32);
  return read(at(s, 0), type) >> (by > BigInt(type.bits) ? BigInt(type.bits) : by);
}

function funnel(s: Sources, mods: readonly string[]): bigint {
  const whole = ((at(s, 1) & mask(32)) << 32n) | (at(s, 0) & mask(32));
  const by = mods.includes('wrap') ? at(s, 2) & 31n : at(s, 2) > 32n ? 32n : at(s, 2);
  return mods.includes('l') ? (whole << by) >> 32n : whole >> by;
}

function findBit(s: Sources, mods: readonly string[], type: IntegerType): bigint {
  const v = read(at(s, 0), type);
  const top = length(v < 0n ? ~v : v) - 1;
  if (top < 0) return mask(32);
  return BigInt(mods.includes('shiftamt') ? type.bits - 1 - top : top);
}

function extract(s: Sources, _: readonly string[], type: IntegerType): bigint {
  const a = at(s, 0) & mask(type.bits);
  const from = Number(at(s, 1) & 255n);
  const count = Number(at(s, 2) & 255n);
  const top = type.bits - 1;
  const signBit =
    !type.isSigned || count === 0 ? 0n : (a >> BigInt(Math.min(from + count - 1, top))) & 1n;
  let d = 0n;
  for (let i = 0; i <= top; i += 1) {
    const bit = i < count && from + i <= top ? (a >> BigInt(from + i)) & 1n : signBit;
    d |= bit << BigInt(i);
  }
  return d;
}

function insert(s: Sources, _: readonly string[], type: IntegerType): bigint {
  const from = Number(at(s, 2) & 255n);
  const count = Number(at(s, 3) & 255n);
  let f = at(s, 1) & mask(type.bits);
  for (let i = 0; i < count && from + i < type.bits; i += 1) {
    const to = 1n << BigInt(from + i);
    f = ((at(s, 0) >> BigInt(i)) & 1n) === 1n ? f | to : f & ~to;
  }
  return f;
}

function bitMask(s: Sources, mods: readonly string[]): bigint {
  const wrap = mods.includes('wrap');
  const a = at(s, 0);
  const b = at(s, 1);
  const from = wrap ? a & 31n : a > 32n ? 32n : a;
  const count = wrap ? b & 31n : b > 32n ? 32n : b;
  return (mask(Number(count)) << from) & mask(32);
}

function signExtend(s: Sources, mods: readonly string[], type: IntegerType): bigint {
  const bits = mods.includes('wrap') ? at(s, 1) & 31n : at(s, 1) > 32n ? 32n : at(s, 1);
  if (bits === 0n) return 0n;
  return read(at(s, 0), { bits: Number(bits), isSigned: type.isSigned });
}

function dot(s: Sources, mods: readonly string[]): bigint {
  const [ta, tb] = mods.filter((m) => integerType(m) !== null);
  const signs = [ta, tb].map((t) => t === 's32');
  const four = !mods.includes('lo') && !mods.includes('hi');
  const count = four ? 4 : 2;
  let sum = at(s, 2);
  for (let i = 0; i < count; i += 1) {
    const wide = four ? 8 : 16;
    const a = (at(s, 0) >> BigInt(wide * i)) & mask(wide);
    const b = (at(s, 1) >> BigInt(8 * (i + (mods.includes('hi') ? 2 : 0)))) & 255n;
    sum +=
      read(a, { bits: wide, isSigned: signs[0] ?? false }) *
      read(b, { bits: 8, isSigned: signs[1] ?? false });
  }
  return sum;
}

function permute(s: Sources, mods: readonly string[]): bigint | null {
  if (mods.length > 1) return null;
  const bytes = (at(s, 1) << 32n) | at(s, 0);
  let d = 0n;
  for (let i = 0n; i < 4n; i += 1n) {
    const pick = (at(s, 2) >> (4n * i)) & 15n;
    const byte = (bytes >> (8n * (pick & 7n))) & 255n;
    d |= (pick >= 8n ? (byte >= 128n ? 255n : 0n) : byte) << (8n * i);
  }
  return d;
}

/** By opcode. A result that is too wide is cut by the caller. */
export const integerOperations: Readonly<Record<string, Evaluate>> = {
  add: twoSourced((a, b) => a + b),
  sub: twoSourced((a, b) => a - b),
  mul: product,
  mad: added(product),
  mul24: product24,
  mad24: added(product24),
  sad: (s, _, t) => at(s, 2) + abs(read(at(s, 0), t) - read(at(s, 1), t)),
  div: (s, _, t) =>
    (at(s, 1) & mask(t.bits)) === 0n ? null : read(at(s, 0), t) / read(at(s, 1), t),
  rem: (s, _, t) =>
    (at(s, 1) & mask(t.bits)) === 0n ? null : read(at(s, 0), t) % read(at(s, 1), t),
  abs: (s, _, t) => abs(read(at(s, 0), t)),
  neg: (s, _, t) => -read(at(s, 0), t),
  min: (s, m, t) =>
    relu(
      m,
      at2(s, t, (a, b) => (a < b ? a : b)),
    ),
  max: (s, m, t) =>
    relu(
      m,
      at2(s, t, (a, b) => (a > b ? a : b)),
    ),
  popc: (s, _, t) => ones(at(s, 0) & mask(t.bits)),
  clz: (s, _, t) => BigInt(t.bits - length(at(s, 0) & mask(t.bits))),
  bfind: findBit,
  brev: (s, _, t) =>
    BigInt(`0b${[...at(s, 0).toString(2).padStart(t.bits, '0')].toReversed().join('')}`),
  bfe: extract,
  bfi: insert,
  bmsk: bitMask,
  szext: signExtend,
  dp4a: dot,
  dp2a: dot,
  and: (s) => at(s, 0) & at(s, 1),
  or: (s) => at(s, 0) | at(s, 1),
  xor: (s) => at(s, 0) ^ at(s, 1),
  not: (s) => ~at(s, 0),
  cnot: (s, _, t) => ((at(s, 0) & mask(t.bits)) === 0n ? 1n : 0n),
  shl: (s, _, t) => (at(s, 1) >= BigInt(t.bits) ? 0n : at(s, 0) << at(s, 1)),
  shr: shiftRight,
  shf: funnel,
  prmt: permute,
};

function relu(mods: readonly string[], v: bigint): bigint {
  return mods.includes('relu') && v < 0n ? 0n : v;
}
function at2(s: Sources, t: IntegerType, f: (a: bigint, b: bigint) => bigint): bigint {
  return f(read(at(s, 0), t), read(at(s, 1), t));
}
