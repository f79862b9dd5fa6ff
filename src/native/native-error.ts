// SPDX-License-Identifier: Apache-2.0
// Native failures become PhosError here. The addon throws plain errors that carry `phosCode` (a
// code of src/errors), `phosRetryable` and `phosDetails`; the message already says what was being
// done, to what, and what to do next.
import { isErrorCode, PhosError } from '../errors/phos-error.ts';

interface NativeFields {
  readonly phosCode?: unknown;
  readonly phosRetryable?: unknown;
  readonly phosDetails?: unknown;
}

/** Rebuilds one error. `step` is what was being done, for errors that are not ours. */
export function fromNative(step: string, thrown: unknown): PhosError {
  if (thrown instanceof PhosError) return thrown;
  const fields: NativeFields = thrown instanceof Error ? (thrown as NativeFields) : {};
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  if (typeof fields.phosCode === 'string' && isErrorCode(fields.phosCode)) {
    const details =
      typeof fields.phosDetails === 'object' && fields.phosDetails !== null
        ? (fields.phosDetails as Record<string, unknown>)
        : {};
    return new PhosError(fields.phosCode, message, {
      cause: thrown,
      details: { step, ...details },
      retryable: fields.phosRetryable === true,
    });
  }
  if (isMissingAddon(thrown)) {
    return new PhosError(
      'UNAVAILABLE',
      `The native addon could not be loaded (${message}). Run \`npm run build\` first.`,
      { cause: thrown, details: { step } },
    );
  }
  return new PhosError('INTERNAL', `${step}: ${message}`, { cause: thrown, details: { step } });
}

function isMissingAddon(thrown: unknown): boolean {
  const code = thrown instanceof Error ? (thrown as { code?: unknown }).code : undefined;
  return code === 'MODULE_NOT_FOUND' || code === 'ERR_DLOPEN_FAILED';
}

export function guard<T>(step: string, call: () => T): T {
  try {
    return call();
  } catch (thrown) {
    throw fromNative(step, thrown);
  }
}

export async function guardAsync<T>(step: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (thrown) {
    throw fromNative(step, thrown);
  }
}
