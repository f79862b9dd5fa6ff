// SPDX-License-Identifier: Apache-2.0
// The name of the innermost state a machine is in: `cpuDumping` for {streaming: 'cpuDumping'}.
// Machines here nest, but never run regions side by side, so there is exactly one.
import type { StateValue } from 'xstate';

export function leafState(value: StateValue): string {
  if (typeof value === 'string') return value;
  const [inner] = Object.values(value);
  if (inner === undefined) throw new Error('a state without a value');
  return leafState(inner);
}
