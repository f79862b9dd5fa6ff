// SPDX-License-Identifier: Apache-2.0
// A PhosError as it travels between an executor and whoever controls it.
import { PhosError } from '../errors/phos-error.ts';
import type { WireError } from './protocol.ts';

export function toWire(thrown: unknown): WireError {
  const error =
    thrown instanceof PhosError
      ? thrown
      : new PhosError('INTERNAL', thrown instanceof Error ? thrown.message : String(thrown), {
          cause: thrown,
        });
  return error.toJSON();
}

export function fromWire(wire: WireError): PhosError {
  return PhosError.fromJSON(wire);
}
