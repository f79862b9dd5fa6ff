// SPDX-License-Identifier: Apache-2.0
// The two tests that open every machine's file, in the order of the house: every reachable state,
// then long random runs.
import { expect, it } from 'vitest';
import type { AnyStateMachine } from 'xstate';
import { randomRuns, stateNames, type WalkOptions, walk } from './walk.ts';

export interface Laws extends Omit<WalkOptions<never>, 'invariants'> {
  readonly invariants: unknown;
  /** States that this input cannot lead to. */
  readonly unreachable?: readonly string[];
  readonly atLeast: number;
}

export function itObeysTheLaws(machine: AnyStateMachine, laws: Laws, title = ''): void {
  const options = laws as unknown as WalkOptions<never>;
  it(`holds its invariants in every state ${title}`, () => {
    const result = walk(machine, options);
    expect(result.violations).toEqual([]);
    expect(result.states).toBeGreaterThanOrEqual(laws.atLeast);
    const missed = stateNames(machine).filter((name) => !result.reached.has(name));
    expect(missed).toEqual(laws.unreachable ?? []);
  });
  it(`holds its invariants in long random runs ${title}`, () => {
    randomRuns(machine, options);
  });
}

/** Invariants that a planted fault breaks. */
export function brokenBy(machine: AnyStateMachine, laws: Laws): string[] {
  const { violations } = walk(machine, laws as unknown as WalkOptions<never>);
  return [...new Set(violations.map((violation) => violation.invariant))];
}
