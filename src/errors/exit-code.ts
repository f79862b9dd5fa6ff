// SPDX-License-Identifier: Apache-2.0
// Exit codes of commands. `phos run` is apart: it exits as its program does.

import { ERRORS } from '../gen/error-codes.ts';
import type { PhosError } from './phos-error.ts';

/** What `phos run` exits with when phos itself failed before or beside the program. */
export const RUN_FAILED = 125;

const signalNumbers: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGKILL: 9,
  SIGTERM: 15,
};

/**
 * The exit code of a command that ends with this error. A cancelled command exits as the signal
 * that cancelled it would have it: 130 after SIGINT, 143 after SIGTERM (`details.signal`).
 */
export function exitCodeOf(error: PhosError): number {
  const signal = error.details['signal'];
  if (error.code === 'CANCELLED' && typeof signal === 'string') {
    const number = signalNumbers[signal];
    if (number !== undefined) return 128 + number;
  }
  return ERRORS[error.code].exitCode;
}
