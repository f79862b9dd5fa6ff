// SPDX-License-Identifier: Apache-2.0
// The one error class of phos. Users match on `code`; a message says what was being done, to what,
// and what to do next. A broken invariant is an assertion, not one of these.

import { ERRORS, type ErrorCode, isErrorCode } from '../gen/error-codes.ts';

export { type ErrorCode, isErrorCode } from '../gen/error-codes.ts';

export interface PhosErrorOptions {
  readonly cause?: unknown;
  /** Plain facts for programs: paths, pids, steps. Bigints travel as decimal strings. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** The same request may succeed later; what the notation says of the code when absent. */
  readonly retryable?: boolean;
}

/** An error as it travels: between processes, and to users with --json. */
export interface PhosErrorJson {
  readonly code: string;
  readonly message: string;
  readonly details: Readonly<Record<string, unknown>>;
  readonly retryable: boolean;
}

export class PhosError extends Error {
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;
  readonly retryable: boolean;

  /**
   * @param code from autogen/notation/errors.yaml
   * @param message what was being done, to what, and what to do next
   */
  constructor(code: ErrorCode, message: string, options: PhosErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'PhosError';
    this.code = code;
    this.details = options.details ?? {};
    this.retryable = options.retryable ?? ERRORS[code].retryable;
  }

  /** Plain data without the cause and the stack, which mean nothing in another process. */
  toJSON(): PhosErrorJson {
    return {
      code: this.code,
      message: this.message,
      details: plain(this.details),
      retryable: this.retryable,
    };
  }

  /** The error on this side of a connection. A code of a newer phos becomes INTERNAL. */
  static fromJSON(json: PhosErrorJson): PhosError {
    const known = isErrorCode(json.code);
    return new PhosError(known ? json.code : 'INTERNAL', json.message, {
      details: known ? json.details : { ...json.details, receivedCode: json.code },
      retryable: json.retryable,
    });
  }

  /** Whatever was thrown as a PhosError: itself, or INTERNAL with it as the cause. */
  static from(thrown: unknown, doing: string): PhosError {
    if (thrown instanceof PhosError) return thrown;
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return new PhosError('INTERNAL', `${doing}: ${message}`, { cause: thrown });
  }
}

function plain(details: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const text = JSON.stringify(details, (_key, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  );
  return JSON.parse(text) as Record<string, unknown>;
}
