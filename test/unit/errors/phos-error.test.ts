// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest';
import { exitCodeOf } from '../../../src/errors/exit-code.ts';
import { PhosError } from '../../../src/errors/phos-error.ts';
import { ERROR_CODES } from '../../../src/gen/error-codes.ts';

describe('PhosError', () => {
  test('goes through JSON and comes back the same', () => {
    const error = new PhosError('STORAGE', 'writing the image: no space left', {
      details: { path: 'gpu-0/data-0', bytes: 1n << 40n },
    });
    const back = PhosError.fromJSON(JSON.parse(JSON.stringify(error)) as never);
    expect(back).toBeInstanceOf(PhosError);
    expect(back.code).toBe('STORAGE');
    expect(back.message).toBe(error.message);
    expect(back.details).toEqual({ path: 'gpu-0/data-0', bytes: '1099511627776' });
    expect(back.retryable).toBe(false);
  });

  test('takes retryable from the notation unless told otherwise', () => {
    expect(new PhosError('TIMEOUT', 'x').retryable).toBe(true);
    expect(new PhosError('CONFLICT', 'x').retryable).toBe(false);
    expect(new PhosError('TIMEOUT', 'x', { retryable: false }).retryable).toBe(false);
  });

  test('keeps an unknown code of a newer peer in its details', () => {
    const back = PhosError.fromJSON({
      code: 'QUOTA',
      message: 'too many',
      details: { limit: 3 },
      retryable: true,
    });
    expect(back.code).toBe('INTERNAL');
    expect(back.details).toEqual({ limit: 3, receivedCode: 'QUOTA' });
    expect(back.retryable).toBe(true);
  });

  test('wraps what is not one of ours and keeps it as the cause', () => {
    const cause = new TypeError('x is not a function');
    const error = PhosError.from(cause, 'reading the registry');
    expect(error.code).toBe('INTERNAL');
    expect(error.message).toBe('reading the registry: x is not a function');
    expect(error.cause).toBe(cause);
    expect(PhosError.from(error, 'again')).toBe(error);
  });
});

describe('exit codes', () => {
  test('are those that users were promised', () => {
    const table = ERROR_CODES.map((code) => [code, exitCodeOf(new PhosError(code, 'x'))]);
    expect(Object.fromEntries(table)).toEqual({
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
    });
  });

  test.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ])('a command cancelled by %s exits with %i', (signal, code) => {
    expect(exitCodeOf(new PhosError('CANCELLED', 'x', { details: { signal } }))).toBe(code);
  });
});
