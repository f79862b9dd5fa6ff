// SPDX-License-Identifier: Apache-2.0
// XXH3-128 with a seed, written from the published specification of the algorithm
// (https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md), so that images are read by
// something that shares no code with what wrote them. Short inputs use bigints; long ones run on
// 32-bit halves, at some hundred MB/s.

const MASK = (1n << 64n) - 1n;
const P32_1 = 0x9e3779b1n;
const P32_2 = 0x85ebca77n;
const P32_3 = 0xc2b2ae3dn;
const P64_1 = 0x9e3779b185ebca87n;
const P64_2 = 0xc2b2ae3d27d4eb4fn;
const P64_3 = 0x165667b19e3779f9n;
const P64_4 = 0x85ebca77c2b2ae63n;
const P64_5 = 0x27d4eb2f165667c5n;

const SECRET_BYTES = 192;
const STRIPE_BYTES = 64;
const BLOCK_STRIPES = (SECRET_BYTES - STRIPE_BYTES) / 8;
const BLOCK_BYTES = BLOCK_STRIPES * STRIPE_BYTES;

/** The default secret, as 24 little-endian words. */
const secret = Buffer.from(
  'b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f' +
    'cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c' +
    '3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8' +
    'a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364' +
    'eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e' +
    '2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e',
  'hex',
);

/** 128 bits as two words. */
interface Pair {
  readonly low: bigint;
  readonly high: bigint;
}

const word = (data: Buffer, at: number): bigint => data.readBigUInt64LE(at);

function multiply(a: bigint, b: bigint): Pair {
  const product = a * b;
  return { low: product & MASK, high: product >> 64n };
}

function fold(a: bigint, b: bigint): bigint {
  const { low, high } = multiply(a, b);
  return low ^ high;
}

function avalanche64(value: bigint): bigint {
  let hash = value ^ (value >> 33n);
  hash = (hash * P64_2) & MASK;
  hash ^= hash >> 29n;
  hash = (hash * P64_3) & MASK;
  return hash ^ (hash >> 32n);
}

function avalanche(value: bigint): bigint {
  let hash = value ^ (value >> 37n);
  hash = (hash * 0x165667919e3779f9n) & MASK;
  return hash ^ (hash >> 32n);
}

function swap32(value: number): number {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes.readUInt32BE();
}

function swap64(value: bigint): bigint {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes.readBigUInt64BE();
}

function upTo3(data: Buffer, seed: bigint): Pair {
  const length = data.length;
  const first = data.readUInt8(0);
  const middle = data.readUInt8(length >> 1);
  const last = data.readUInt8(length - 1);
  const low = ((first << 16) | (middle << 24) | last | (length << 8)) >>> 0;
  const swapped = swap32(low);
  const high = ((swapped << 13) | (swapped >>> 19)) >>> 0;
  const flip = (at: number): bigint =>
    BigInt((secret.readUInt32LE(at) ^ secret.readUInt32LE(at + 4)) >>> 0);
  return {
    low: avalanche64(BigInt(low) ^ ((flip(0) + seed) & MASK)),
    high: avalanche64(BigInt(high) ^ ((flip(8) - seed) & MASK)),
  };
}

function upTo8(data: Buffer, given: bigint): Pair {
  const length = BigInt(data.length);
  const seed = given ^ (BigInt(swap32(Number(given & 0xffffffffn))) << 32n);
  const low = BigInt(data.readUInt32LE(0));
  const high = BigInt(data.readUInt32LE(data.length - 4));
  const flip = ((word(secret, 16) ^ word(secret, 24)) + seed) & MASK;
  const keyed = (low + (high << 32n)) ^ flip;
  const product = multiply(keyed, (P64_1 + (length << 2n)) & MASK);
  const upper = (product.high + (product.low << 1n)) & MASK;
  let lower = product.low ^ (upper >> 3n);
  lower ^= lower >> 35n;
  lower = (lower * 0x9fb21c651e98df25n) & MASK;
  lower ^= lower >> 28n;
  return { low: lower, high: avalanche(upper) };
}

function upTo16(data: Buffer, seed: bigint): Pair {
  const flipLow = ((word(secret, 32) ^ word(secret, 40)) - seed) & MASK;
  const flipHigh = ((word(secret, 48) ^ word(secret, 56)) + seed) & MASK;
  const first = word(data, 0);
  const last = word(data, data.length - 8);
  const product = multiply(first ^ last ^ flipLow, P64_1);
  const lower = (product.low + (BigInt(data.length - 1) << 54n)) & MASK;
  const keyed = last ^ flipHigh;
  const upper = (product.high + keyed + (keyed & 0xffffffffn) * (P32_2 - 1n)) & MASK;
  const mixed = multiply(lower ^ swap64(upper), P64_2);
  return { low: avalanche(mixed.low), high: avalanche((mixed.high + upper * P64_2) & MASK) };
}

function mix16(data: Buffer, at: number, key: number, seed: bigint): bigint {
  return fold(
    word(data, at) ^ ((word(secret, key) + seed) & MASK),
    word(data, at + 8) ^ ((word(secret, key + 8) - seed) & MASK),
  );
}

function mix32(sum: Pair, data: Buffer, ends: Ends, key: number, seed: bigint): Pair {
  const { a, b } = ends;
  const low = (sum.low + mix16(data, a, key, seed)) & MASK;
  const high = (sum.high + mix16(data, b, key + 16, seed)) & MASK;
  return {
    low: low ^ ((word(data, b) + word(data, b + 8)) & MASK),
    high: high ^ ((word(data, a) + word(data, a + 8)) & MASK),
  };
}

/** Where the two halves of a step lie in the data. */
interface Ends {
  readonly a: number;
  readonly b: number;
}

function finishMiddle(sum: Pair, length: bigint, seed: bigint): Pair {
  const low = (sum.low + sum.high) & MASK;
  const high = (sum.low * P64_1 + sum.high * P64_4 + (length - seed) * P64_2) & MASK;
  return { low: avalanche(low), high: (0n - avalanche(high)) & MASK };
}

function upTo128(data: Buffer, seed: bigint): Pair {
  const length = data.length;
  let sum: Pair = { low: (BigInt(length) * P64_1) & MASK, high: 0n };
  for (let step = Math.floor((length - 1) / 32); step >= 0; step -= 1) {
    const ends = { a: 16 * step, b: length - 16 * (step + 1) };
    sum = mix32(sum, data, ends, 32 * step, seed);
  }
  return finishMiddle(sum, BigInt(length), seed);
}

function upTo240(data: Buffer, seed: bigint): Pair {
  const length = data.length;
  let sum: Pair = { low: (BigInt(length) * P64_1) & MASK, high: 0n };
  for (let step = 0; step < Math.floor(length / 32); step += 1) {
    if (step === 4) sum = { low: avalanche(sum.low), high: avalanche(sum.high) };
    const key = step < 4 ? 32 * step : 3 + 32 * (step - 4);
    sum = mix32(sum, data, { a: 32 * step, b: 32 * step + 16 }, key, seed);
  }
  if (length < 160) sum = { low: avalanche(sum.low), high: avalanche(sum.high) };
  const last = { a: length - 16, b: length - 32 };
  sum = mix32(sum, data, last, 136 - 17 - 16, (0n - seed) & MASK);
  return finishMiddle(sum, BigInt(length), seed);
}

/** The secret that a seed makes. */
function seeded(seed: bigint): Buffer {
  const result = Buffer.alloc(SECRET_BYTES);
  for (let at = 0; at < SECRET_BYTES; at += 16) {
    result.writeBigUInt64LE((word(secret, at) + seed) & MASK, at);
    result.writeBigUInt64LE((word(secret, at + 8) - seed) & MASK, at + 8);
  }
  return result;
}

function words(data: Buffer, at: number, bytes: number): Uint32Array {
  const copy = new Uint8Array(bytes);
  copy.set(data.subarray(at, at + bytes));
  return new Uint32Array(copy.buffer);
}

/** Adds a stripe of 16 half words to the sums; `key` is where its part of the secret begins. */
function accumulate(
  sums: Uint32Array,
  data: Uint32Array,
  at: number,
  secretWords: Uint32Array,
  key: number,
): void {
  for (let i = 0; i < 16; i += 2) {
    const low = data[at + i] ?? 0;
    const high = data[at + i + 1] ?? 0;
    const other = i ^ 2;
    const added = (sums[other] ?? 0) + low;
    sums[other + 1] = (sums[other + 1] ?? 0) + high + (added > 0xffffffff ? 1 : 0);
    sums[other] = added;
    const a = low ^ (secretWords[key + i] ?? 0);
    const b = high ^ (secretWords[key + i + 1] ?? 0);
    const aLow = a & 0xffff;
    const aHigh = a >>> 16;
    const bLow = b & 0xffff;
    const bHigh = b >>> 16;
    // Products of 16-bit halves are exact in a double, and so are their sums here.
    const middle = aLow * bHigh + aHigh * bLow + ((aLow * bLow) >>> 16);
    const product = (sums[i] ?? 0) + (Math.imul(a, b) >>> 0);
    sums[i + 1] =
      (sums[i + 1] ?? 0) +
      aHigh * bHigh +
      Math.floor(middle / 0x10000) +
      (product > 0xffffffff ? 1 : 0);
    sums[i] = product;
  }
}

function scramble(sums: Uint32Array, last: Buffer): void {
  for (let i = 0; i < 8; i += 1) {
    let sum = (BigInt(sums[2 * i + 1] ?? 0) << 32n) | BigInt(sums[2 * i] ?? 0);
    sum ^= sum >> 47n;
    sum ^= word(last, 8 * i);
    sum = (sum * P32_1) & MASK;
    sums[2 * i] = Number(sum & 0xffffffffn);
    sums[2 * i + 1] = Number(sum >> 32n);
  }
}

function merge(sums: Uint32Array, key: Buffer, at: number, start: bigint): bigint {
  let result = start;
  const sum = (i: number): bigint =>
    (BigInt(sums[2 * i + 1] ?? 0) << 32n) | BigInt(sums[2 * i] ?? 0);
  for (let i = 0; i < 4; i += 1) {
    result += fold(
      sum(2 * i) ^ word(key, at + 16 * i),
      sum(2 * i + 1) ^ word(key, at + 16 * i + 8),
    );
  }
  return avalanche(result & MASK);
}

function long(data: Buffer, seed: bigint): Pair {
  const key = seed === 0n ? secret : seeded(seed);
  const keyWords = words(key, 0, SECRET_BYTES);
  const lastKey = key.subarray(SECRET_BYTES - STRIPE_BYTES);
  const start = Buffer.alloc(64);
  for (const [i, value] of [P32_3, P64_1, P64_2, P64_3, P64_4, P32_2, P64_5, P32_1].entries()) {
    start.writeBigUInt64LE(value, 8 * i);
  }
  const sums = words(start, 0, 64);
  const length = data.length;
  const blocks = Math.floor((length - 1) / BLOCK_BYTES);
  const aligned = words(data, 0, length - (length % 4));
  for (let block = 0; block < blocks; block += 1) {
    for (let stripe = 0; stripe < BLOCK_STRIPES; stripe += 1) {
      accumulate(
        sums,
        aligned,
        (block * BLOCK_BYTES + stripe * STRIPE_BYTES) / 4,
        keyWords,
        2 * stripe,
      );
    }
    scramble(sums, lastKey);
  }
  const stripes = Math.floor((length - 1 - blocks * BLOCK_BYTES) / STRIPE_BYTES);
  for (let stripe = 0; stripe < stripes; stripe += 1) {
    accumulate(
      sums,
      aligned,
      (blocks * BLOCK_BYTES + stripe * STRIPE_BYTES) / 4,
      keyWords,
      2 * stripe,
    );
  }
  const tail = words(data, length - STRIPE_BYTES, STRIPE_BYTES);
  accumulate(sums, tail, 0, words(key, SECRET_BYTES - STRIPE_BYTES - 7, STRIPE_BYTES), 0);
  const size = BigInt(length);
  return {
    low: merge(sums, key, 11, (size * P64_1) & MASK),
    high: merge(sums, key, SECRET_BYTES - 64 - 11, ~(size * P64_2) & MASK),
  };
}

function hash(data: Buffer, seed: bigint): Pair {
  const length = data.length;
  if (length > 240) return long(data, seed);
  if (length > 128) return upTo240(data, seed);
  if (length > 16) return upTo128(data, seed);
  if (length > 8) return upTo16(data, seed);
  if (length >= 4) return upTo8(data, seed);
  if (length > 0) return upTo3(data, seed);
  return {
    low: avalanche64(seed ^ word(secret, 64) ^ word(secret, 72)),
    high: avalanche64(seed ^ word(secret, 80) ^ word(secret, 88)),
  };
}

/** XXH3-128 in its canonical form: 32 hexadecimal digits, the upper half first. */
export function xxh3(data: Buffer, seed = 0n): string {
  const { low, high } = hash(data, seed);
  return ((high << 64n) | low).toString(16).padStart(32, '0');
}
