// SPDX-License-Identifier: Apache-2.0
// How long, and what next.

/** Milliseconds of '90s', '2m' or '1h'. @throws Error for anything else */
export function durationMs(text: string): number {
  const match = /^(\d+)(s|m|h)$/.exec(text);
  const unit = { s: 1_000, m: 60_000, h: 3_600_000 }[match?.[2] ?? ''];
  if (unit === undefined) throw new Error(`'${text}' is no duration; say 90s, 2m or 1h`);
  return Number(match?.[1]) * unit;
}

/** Numbers below `below`, the same for the same seed (xorshift of 32 bits). */
export function randomFrom(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
}
