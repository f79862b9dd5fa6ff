// SPDX-License-Identifier: Apache-2.0
// One planted bug: scenarios are explored, those in which it should show first, until one breaks.
import { explore, type Watch } from '../../src/verify/explore.ts';
import { mutants } from '../../src/verify/mutants.ts';
import { scenarios } from '../../src/verify/scenarios.ts';
import { System } from '../../src/verify/system.ts';

/** A mutant that shows nothing within so many states of a scenario is tried in the next one. */
export const MUTANT_STATES = 60_000;

export interface Killed {
  readonly name: string;
  readonly what: string;
  /** The law that found it; null when it lives. */
  readonly law: string | null;
  readonly scenario: string | null;
  readonly steps: number;
  readonly states: number;
}

export function killMutant(name: string, watch: Watch): Killed {
  const mutant = mutants.find((one) => one.name === name);
  if (mutant === undefined) throw new Error(`there is no mutant ${name}`);
  const machines = mutant.machines();
  let states = 0;
  for (const wanted of mutant.scenarios) {
    const scenario = scenarios.find((one) => one.name === wanted);
    if (scenario === undefined) throw new Error(`there is no scenario ${wanted}`);
    const system = new System(machines, scenario.homes, scenario.devices);
    const seen = explore(system, { ...scenario, maxStates: MUTANT_STATES }, watch);
    states += seen.states;
    if (seen.violation === null) continue;
    const { law, trace } = seen.violation;
    const found = { law, scenario: scenario.name, steps: trace.length };
    return { name, what: mutant.what, ...found, states };
  }
  return { name, what: mutant.what, law: null, scenario: null, steps: 0, states };
}
