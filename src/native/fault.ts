// SPDX-License-Identifier: Apache-2.0
// Fault points of the control plane: PHOS_FAULT=point:nth[:kind], as in native code, with which
// they share names, kinds and counts (native/executor/fault.h). Nothing is loaded when it is unset.
import { PhosError } from '../errors/phos-error.ts';
import type { ErrorCode } from '../errors/phos-error.ts';
import { faultPoint } from './native.ts';

/** Linux errno values that kinds of faults stand for (asm-generic/errno.h). */
const codes: Readonly<Record<number, ErrorCode>> = {
  5: 'STORAGE',
  13: 'PERMISSION',
  28: 'STORAGE',
  121: 'DEVICE',
};

/**
 * Passes a point; `crash` does not come back, `delay` comes back late.
 *
 * @throws PhosError STORAGE, PERMISSION or DEVICE when a fault was asked for here
 */
export function passFault(point: string): void {
  if (process.env['PHOS_FAULT'] === undefined) return;
  const errno = faultPoint(point);
  if (errno === 0) return;
  throw new PhosError(codes[errno] ?? 'STORAGE', `a fault was planted at ${point} (PHOS_FAULT)`, {
    details: { point, errno },
  });
}
