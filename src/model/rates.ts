// SPDX-License-Identifier: Apache-2.0
// How fast this node moves bytes, as far as it is known. A prediction is a straight line, a fixed
// cost and a pace, and every measurement bends the part of the line that it tells most about.

/**
 * copy: device memory aside on the device. hash: reading it on the device. store: from the device
 * into an image. cpu: the processes' own memory into an image, while they are stopped. drain: the
 * commands before a cut (bytes do not matter).
 */
export const rateNames = ['copy', 'hash', 'store', 'cpu', 'drain'] as const;
export type RateName = (typeof rateNames)[number];

/** assumed: a constant for the kind of device; calibrated: a trial; measured: earlier jobs. */
export type RateSource = 'assumed' | 'calibrated' | 'measured';

export interface Rate {
  readonly baseMs: number;
  readonly bytesPerMs: number;
  readonly source: RateSource;
}
export type Rates = Readonly<Record<RateName, Rate>>;

const MS = 1_000;
const assumed = (baseMs: number, bytesPerSecond: number): Rate => ({
  baseMs,
  bytesPerMs: bytesPerSecond / MS,
  source: 'assumed',
});

/** What is taken for granted before anything was measured: low, so that a plan errs by caution. */
export const assumedRates: Readonly<Record<'sim' | 'cuda', Rates>> = {
  sim: {
    copy: assumed(2, 2e9),
    hash: assumed(2, 1e9),
    store: assumed(20, 2e8),
    cpu: assumed(400, 2e8),
    drain: assumed(1, Number.MAX_VALUE),
  },
  // Of an H200: copies within its memory run at 2.1 TB/s, a hash kernel reads at 4.5 TB/s.
  cuda: {
    copy: assumed(2, 1.8e12),
    hash: assumed(2, 4e12),
    store: assumed(20, 1e9),
    cpu: assumed(600, 5e8),
    drain: assumed(2, Number.MAX_VALUE),
  },
};

/** Below this a measurement tells about the fixed cost, above it about the pace. */
const TELLING_BYTES = 32 << 20;
/** Share of the newest measurement in what is kept. */
const NEWEST = 0.5;

export function predictMs(rate: Rate, bytes: bigint): number {
  return rate.baseMs + Number(bytes) / rate.bytesPerMs;
}

/**
 * What is known after `bytes` took `ms`.
 *
 * @param source of the new knowledge; the first measurement replaces what was only assumed
 */
export function learn(rate: Rate, bytes: bigint, ms: number, source: RateSource): Rate {
  const share = rate.source === source ? NEWEST : 1;
  const mix = (old: number, seen: number): number => old * (1 - share) + seen * share;
  if (Number(bytes) < TELLING_BYTES) {
    const seenMs = Math.max(0, ms - Number(bytes) / rate.bytesPerMs);
    return { ...rate, baseMs: mix(rate.baseMs, seenMs), source };
  }
  // A run shorter than the fixed cost shows that the fixed cost is smaller.
  const baseMs = Math.min(rate.baseMs, ms / 2);
  const seen = Number(bytes) / Math.max(ms - baseMs, 1e-3);
  return { baseMs, bytesPerMs: mix(rate.bytesPerMs, seen), source };
}
