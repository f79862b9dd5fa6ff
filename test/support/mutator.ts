// SPDX-License-Identifier: Apache-2.0
// Changes bytes the way native/fuzz/standalone.cc does, repeatably: for fuzzing what is written in
// TypeScript.

/** Numbers below `below`, the same for the same seed (the congruence of drand48, 48 bits). */
export function randomFrom(seed: number): (below: number) => number {
  let state = (BigInt(seed) << 16n) | 0x330en;
  return (below) => {
    state = (state * 0x5deece66dn + 0xbn) & 0xffffffffffffn;
    return Math.floor((Number(state >> 16n) / 2 ** 32) * below);
  };
}

/** A copy of one of the seeds with 1 to 6 changes. */
export function mutated(seeds: readonly Buffer[], random: (below: number) => number): Buffer {
  const pickSeed = (): Buffer => seeds[random(seeds.length)] ?? Buffer.alloc(0);
  let bytes = Buffer.from(pickSeed());
  for (let changes = 1 + random(6); changes > 0; changes -= 1) {
    const at = random(bytes.length);
    const kind = bytes.length === 0 ? 3 : random(6);
    if (kind === 0) bytes[at] = random(256);
    else if (kind === 1) bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8));
    else if (kind === 2) {
      const end = at + 1 + random(32);
      bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(end)]);
    } else if (kind === 3) {
      const other = pickSeed();
      const from = random(other.length);
      const piece = other.subarray(from, from + 1 + random(64));
      bytes = Buffer.concat([bytes.subarray(0, at), piece, bytes.subarray(at)]);
    } else if (kind === 4) bytes = Buffer.from(bytes.subarray(0, at));
    else bytes.fill(random(2) * 255, at, Math.min(at + 1 + random(8), bytes.length));
  }
  return bytes;
}
