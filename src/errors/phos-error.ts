// SPDX-License-Identifier: Apache-2.0
// The one error class of phos. Users match on `code`; a message says what was being done, to what,
// and what to do next. A broken invariant is an assertion, not one of these.

/** Every code, with the exit code of a command that ends with it. */
export const EXIT_CODES = {
  USAGE: 2,
  UNSUPPORTED: 3,
  PERMISSION: 4,
  NOT_FOUND: 6,
  IMAGE_INVALID: 7,
  TIMEOUT: 8,
  UNAVAILABLE: 9,
  CONFLICT: 10,
  DEVICE: 11,
  TRANSPORT: 12,
  STORAGE: 13,
  INTERNAL: 70,
  CANCELLED: 130,
} as const;

export type ErrorCode = keyof typeof EXIT_CODES;

export function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(EXIT_CODES, text);
}

export interface PhosErrorOptions {
  readonly cause?: unknown;
  readonly details?: Readonly<Record<string, unknown>>;
  readonly retryable?: boolean;
}

export class PhosError extends Error {
  readonly code: ErrorCode;
  readonly details: Readonly<Record<string, unknown>>;
  readonly retryable: boolean;

  constructor(code: ErrorCode, message: string, options: PhosErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'PhosError';
    this.code = code;
    this.details = options.details ?? {};
    this.retryable = options.retryable ?? false;
  }
}
