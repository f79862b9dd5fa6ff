// SPDX-License-Identifier: Apache-2.0
// Failures as machines keep them. A machine cannot hold an Error: snapshots must survive JSON.
import { isErrorCode } from '../errors/phos-error.ts';
import type { Failure } from './domain.ts';

interface Coded {
  readonly code?: unknown;
  readonly message?: unknown;
  readonly retryable?: unknown;
}

/**
 * Reduces whatever was thrown to plain data.
 *
 * @param thrown a PhosError (its code and retryable are kept), or anything else (INTERNAL)
 */
export function toFailure(thrown: unknown, step: string): Failure {
  const { code, message, retryable } = (
    typeof thrown === 'object' && thrown !== null ? thrown : {}
  ) as Coded;
  return {
    code: typeof code === 'string' && isErrorCode(code) ? code : 'INTERNAL',
    message: typeof message === 'string' ? message : String(thrown),
    step,
    retryable: retryable === true,
  };
}

/** A step that did not end in time. */
export function timedOut(step: string, afterMs: number, cure: string): Failure {
  return {
    code: 'TIMEOUT',
    message: `${step} did not finish within ${afterMs} ms; ${cure}`,
    step,
    retryable: true,
  };
}

/** The job was cancelled while `step` was under way. */
export function cancelled(step: string): Failure {
  return {
    code: 'CANCELLED',
    message: `cancelled during ${step}; everything was put back as it was`,
    step,
    retryable: true,
  };
}
