// SPDX-License-Identifier: Apache-2.0
// How a caller wants a dump, as it comes over the control API: empty and zero mean the default.
import { PhosError } from '../errors/phos-error.ts';
import { type DumpWish, type SaveMode, saveModes } from '../model/dump-plan.ts';

export interface DumpWishRequest {
  readonly mode: string;
  readonly maxStallMs: number;
  readonly gpuOnly: boolean;
}

/** @throws PhosError USAGE for an unknown mode or a stall that is no time */
export function wishOf(request: DumpWishRequest): DumpWish {
  const { maxStallMs, gpuOnly } = request;
  if (!Number.isFinite(maxStallMs) || maxStallMs < 0) {
    throw new PhosError('USAGE', `'${maxStallMs}' is not a number of milliseconds`);
  }
  return {
    mode: modeOf(request.mode),
    maxStallMs: maxStallMs === 0 ? null : maxStallMs,
    gpuOnly,
  };
}

function modeOf(text: string): SaveMode {
  const mode = saveModes.find((one) => one === (text === '' ? 'auto' : text));
  if (mode !== undefined) return mode;
  throw new PhosError('USAGE', `'${text}' is no mode; use one of ${saveModes.join(', ')}`);
}
