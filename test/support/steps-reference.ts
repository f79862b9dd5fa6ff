// SPDX-License-Identifier: Apache-2.0
// What examples/steps computes, worked out again from its description without any device: the
// line that every correct run must print.

import { createHash } from 'node:crypto';

export interface StepsArguments {
  readonly steps: number;
  readonly mib: number;
  readonly rounds: number;
  readonly seed: number;
}

const slices = 64;

function rotate(x: number, by: number): number {
  return ((x << by) | (x >>> (32 - by))) >>> 0;
}

function multiply(x: number, y: number): number {
  return Math.imul(x, y) >>> 0;
}

function makeKeys(seed: number, step: number): Uint32Array {
  const keys = new Uint32Array(16);
  let x = (multiply(seed, 2654435761) + step) >>> 0;
  for (let i = 0; i < keys.length; i += 1) {
    x = (x ^ (x << 13)) >>> 0;
    x = (x ^ (x >>> 17)) >>> 0;
    x = (x ^ (x << 5)) >>> 0;
    keys[i] = x + i;
  }
  return keys;
}

function fill(data: Uint32Array, seed: number): void {
  for (let i = 0; i < data.length; i += 1) {
    let x = (multiply(i, 2654435761) ^ seed) >>> 0;
    x = multiply(x ^ (x >>> 15), 2246822519);
    x = multiply(x ^ (x >>> 13), 3266489917);
    data[i] = x ^ (x >>> 16);
  }
}

function mix(out: Uint32Array, from: Uint32Array, key: number, step: number, rounds: number): void {
  for (let i = 0; i < out.length; i += 1) {
    let x = ((from[i] ?? 0) ^ key) >>> 0;
    let y = from[((multiply(i, 2654435761) + step) >>> 0) % out.length] ?? 0;
    for (let r = 0; r < rounds; r += 1) {
      x = multiply(rotate((x + y) >>> 0, 5 + (r & 7)), 2654435769);
      y = (y ^ (x >>> 7)) >>> 0;
    }
    out[i] = multiply(out[i] ?? 0, 3) ^ x ^ y;
  }
}

/** All products and differences are exact in a float; each sum rounds once, as on the device. */
function follow(field: Float32Array, from: Uint32Array): void {
  for (let i = 0; i < field.length; i += 1) {
    const here = ((from[i] ?? 0) & 0xffff) / 65536;
    const next = ((from[(i + 1) % from.length] ?? 0) >>> 16) / 65536;
    const sum = Math.fround((here - next) * 0.25 + (field[i] ?? 0) * 0.5);
    field[i] = Math.fround(sum + 0.5);
  }
}

function tally(from: Uint32Array): bigint {
  let sum = 0;
  for (const word of from) sum += word;
  return BigInt(sum);
}

/** The SHA-256 line of `steps` with these arguments. */
export function stepsDigest({ steps, mib, rounds, seed }: StepsArguments): string {
  const words = mib * (2 ** 20 / 4 / slices);
  const data = new Uint32Array(words * slices);
  const field = new Float32Array(words);
  const slice = (index: number): Uint32Array => {
    const at = (index % slices) * words;
    return data.subarray(at, at + words);
  };
  let total = 0n;
  let keys = new Uint32Array(16);
  fill(data, seed);
  for (let step = 0; step < steps; step += 1) {
    if (step % 16 === 0) keys = makeKeys(seed, step) as Uint32Array<ArrayBuffer>;
    const out = slice(step + 1);
    mix(out, slice(step), keys[step & 15] ?? 0, step, rounds);
    follow(field, out);
    total += tally(out);
    if (step % 20 === 7) slice(step + 17).fill(multiply(step, 2654435761), 0, words / 2);
    if (step % 8 === 3) slice(step + 31).set(out.subarray(0, words / 4));
  }
  const hash = createHash('sha256');
  hash.update(new Uint8Array(BigUint64Array.of(BigInt.asUintN(64, total)).buffer));
  hash.update(new Uint8Array(data.buffer)).update(new Uint8Array(field.buffer));
  return hash.digest('hex');
}
