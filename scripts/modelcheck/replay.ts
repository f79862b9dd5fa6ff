// SPDX-License-Identifier: Apache-2.0
// Walks through a run that was found: first the machines alone, then beside real actors.
import { boot, brokenIn } from '../../src/verify/explore.ts';
import { mutants } from '../../src/verify/mutants.ts';
import { scenarios } from '../../src/verify/scenarios.ts';
import { apply, enabled } from '../../src/verify/steps.ts';
import { jobInput, machineOf, realMachines, System } from '../../src/verify/system.ts';
import type { SystemState } from '../../src/verify/world.ts';
import { RealActors } from './real-actors.ts';

export interface Trace {
  readonly scenario: string;
  readonly mutant: string | null;
  readonly law: string;
  readonly steps: readonly string[];
}

function positions(state: SystemState): string {
  return [...state.actors].map(([key, local]) => `${key}=${local.value}`).join(' ');
}

/** @returns exit code: 0 when the run breaks the law that it is said to break */
export function replay(trace: Trace, tell: (line: string) => void): number {
  const scenario = scenarios.find((one) => one.name === trace.scenario);
  if (scenario === undefined) {
    tell(`there is no scenario '${trace.scenario}'; the file is of another version`);
    return 2;
  }
  const mutant = mutants.find((one) => one.name === trace.mutant);
  const system = new System(mutant?.machines() ?? realMachines, scenario.homes, scenario.devices);
  const real = new RealActors(system);
  system.observer = real;
  let state = boot(system, scenario);
  let differences = real.follow(state);
  for (const [at, label] of trace.steps.entries()) {
    const steps = enabled(system, scenario, state);
    const step = steps.find((one) => one.label === label);
    if (step === undefined) {
      tell(`step ${at + 1}, '${label}', is not possible here; possible are:`);
      for (const one of steps) tell(`  ${one.kind} ${one.label}`);
      return 1;
    }
    for (const request of scenario.requests) {
      if (!label.startsWith(`a user asks for ${request.jobId}:`)) continue;
      const machine = machineOf(request.kind);
      real.expectJob(`job:${request.jobId}`, machine, jobInput(request));
    }
    if (step.kind === 'crash') real.forget();
    state = apply(state, step, !steps.some((one) => one.kind === 'free'));
    tell(`${String(at + 1).padStart(3)} ${label}`);
    tell(`      ${positions(state)}`);
    differences = [...differences, ...real.follow(state)];
  }
  const left = enabled(system, scenario, state);
  const canMove = left.some((step) => step.kind === 'free' || step.kind === 'deadline');
  const broken = brokenIn(state, !canMove);
  real.stop();
  for (const one of broken) tell(`broken: ${one}`);
  for (const one of differences) tell(`the real actors differ: ${one}`);
  if (broken.length === 0) tell('nothing is broken at the end of this run');
  return broken.includes(trace.law) && differences.length === 0 ? 0 : 1;
}
