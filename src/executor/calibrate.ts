// SPDX-License-Identifier: Apache-2.0
// A timed copy, so that the first plan of a dump rests on this machine and not on a constant. The
// memory of `sim` is host memory: copying within this process is what its snapshot does.

const BYTES = 32 << 20;

/**
 * Copies once to touch every page, then again, timed.
 *
 * @returns bytes 0 for a device whose memory this process cannot copy by itself
 */
export function calibrate(driver: 'sim' | 'cuda'): { readonly bytes: bigint; readonly ms: number } {
  if (driver !== 'sim') return { bytes: 0n, ms: 0 };
  const from = Buffer.alloc(BYTES, 1);
  const to = Buffer.alloc(BYTES);
  from.copy(to);
  const begun = performance.now();
  from.copy(to);
  return { bytes: BigInt(BYTES), ms: performance.now() - begun };
}
