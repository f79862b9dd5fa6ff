// SPDX-License-Identifier: Apache-2.0
// A situation that is explored, and one thing that may happen in it.
import type { Request } from './system.ts';
import type { SystemState } from './world.ts';

export interface Scenario {
  readonly name: string;
  readonly story: string;
  /** Device of each client. */
  readonly homes: Readonly<Record<string, number>>;
  readonly devices: number;
  /** Programs that start while phosd is watched; the others run from the beginning. */
  readonly arrivals: readonly string[];
  readonly requests: readonly Request[];
  /** Commands that each program issues, one by each of its threads. */
  readonly commands: number;
  readonly faults: number;
  readonly crashes: number;
  /** Programs that are in an image at the beginning, not running. */
  readonly imaged?: readonly string[];
  /** Programs that are alike: states that differ by their names count once. */
  readonly alike: readonly string[];
  /** Each must be reached in some state, or the protocol does nothing. */
  readonly goals: Readonly<Record<string, (state: SystemState) => boolean>>;
  readonly maxStates: number;
  /** Part of the short run. */
  readonly quick: boolean;
}

export interface Step {
  readonly label: string;
  readonly kind: 'free' | 'fault' | 'deadline' | 'crash';
  readonly run: (draft: SystemState) => void;
}
