// SPDX-License-Identifier: Apache-2.0
// Why a dump fails although every step did its work.
import type { Failure } from '../model/domain.ts';

/** The gates were closed for longer than the user allows. */
export function contractOverrun(heldMs: number, maxStallMs: number): Failure {
  return {
    code: 'CONFLICT',
    message:
      `the program was held for ${heldMs.toFixed(1)} ms, more than the ${maxStallMs} ms of ` +
      '--max-stall; it runs on and there is no image: try again, or allow more',
    step: 'open',
    retryable: true,
  };
}

/** A write spoiled the cut, and mode `stop` would hold the program for too long. */
export function stopModeTooLong(by: string | null, stallMs: number): Failure {
  return {
    code: 'CONFLICT',
    message:
      `${by ?? 'a command'} wrote memory that was not saved yet, so the cut is lost, and a new ` +
      `one in mode stop would hold the program for ${stallMs.toFixed(0)} ms, more than ` +
      '--max-stall; ' +
      'use --mode snapshot, or allow more',
    step: 'stream',
    retryable: false,
  };
}

/** Mode `stop` saves behind a closed gate: a write there is a fault of phos or of the device. */
export function missedAgain(by: string | null): Failure {
  return {
    code: 'DEVICE',
    message:
      `${by ?? 'a command'} wrote memory that was not saved yet, in a second cut and in mode ` +
      'stop as well; report this with the log of phosd',
    step: 'stream',
    retryable: false,
  };
}
