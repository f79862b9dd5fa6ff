// SPDX-License-Identifier: Apache-2.0
// A PhosError as it travels between an executor and whoever controls it.
import { isErrorCode, PhosError } from '../errors/phos-error.ts';
import type { WireError } from './protocol.ts';

export function toWire(thrown: unknown): WireError {
  const error =
    thrown instanceof PhosError
      ? thrown
      : new PhosError('INTERNAL', thrown instanceof Error ? thrown.message : String(thrown), {
          cause: thrown,
        });
  return {
    code: error.code,
    message: error.message,
    details: jsonDetails(error.details),
    retryable: error.retryable,
  };
}

export function fromWire(wire: WireError): PhosError {
  return new PhosError(isErrorCode(wire.code) ? wire.code : 'INTERNAL', wire.message, {
    details: wire.details,
    retryable: wire.retryable,
  });
}

/** Details may hold bigints, which JSON does not know. */
function jsonDetails(details: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const text = JSON.stringify(details, (_key, value: unknown) =>
    typeof value === 'bigint' ? value.toString() : value,
  );
  return JSON.parse(text) as Record<string, unknown>;
}
