// SPDX-License-Identifier: Apache-2.0
// The model checker itself: that it explores what it should, that it can fail, that its shortcuts
// are sound, and that what it found stays mended.
import { describe, expect, it } from 'vitest';
import { transition, initialTransition, type AnyMachineSnapshot } from 'xstate';
import { replay } from '../../scripts/modelcheck/replay.ts';
import { dumpMachine } from '../../src/machines/dump.machine.ts';
import { defaultJobLimits } from '../../src/machines/job-limits.ts';
import { abstractFailures } from '../../src/verify/local.ts';
import { explore } from '../../src/verify/explore.ts';
import { mutants } from '../../src/verify/mutants.ts';
import { scenarios } from '../../src/verify/scenarios.ts';
import { realMachines, System } from '../../src/verify/system.ts';
import { enabledEvents } from './walk.ts';

const watch = { now: () => 0, onProgress: () => undefined };

function run(name: string, machines = realMachines) {
  const scenario = scenarios.find((one) => one.name === name);
  if (scenario === undefined) throw new Error(`no scenario ${name}`);
  const small = { ...scenario, maxStates: 20_000 };
  return explore(new System(machines, scenario.homes, scenario.devices), small, watch);
}

describe('model checker', () => {
  it.each(['two-trees', 'rivals'])('finds nothing wrong in %s', (name) => {
    const seen = run(name);
    expect(seen).toMatchObject({ violation: null, boundHit: false });
    expect(seen.states).toBeGreaterThan(1000);
    expect(seen.restStates).toBeGreaterThan(0);
  });

  it('finds a planted bug, and its run is the same with real actors', () => {
    const mutant = mutants.find((one) => one.name === 'dump-forgets-to-open-the-gates');
    const { violation } = run('dump-and-go-on', mutant?.machines());
    expect(violation?.law).toContain('a failed dump leaves the program running');
    const lines: string[] = [];
    const steps = violation?.trace ?? [];
    const trace = {
      scenario: 'dump-and-go-on',
      mutant: mutant?.name ?? null,
      law: violation?.law ?? '',
    };
    const code = replay({ ...trace, steps }, (line) => lines.push(line));
    expect(lines.filter((line) => line.includes('differ'))).toEqual([]);
    expect(code).toBe(0);
  });

  it('says so when the real machines do not break what a run is said to break', () => {
    const steps = ['a user asks for j1: dump of ca, cb', 'job:j1 planDump[0]'];
    const trace = { scenario: 'dump', mutant: null, law: 'no executor is leaked', steps };
    expect(replay(trace, () => undefined)).toBe(1);
  });

  it('has at least 40 planted bugs with different names', () => {
    expect(mutants.length).toBeGreaterThanOrEqual(40);
    expect(new Set(mutants.map((one) => one.name)).size).toBe(mutants.length);
  });

  // States that differ in the wording of a failure count as one; so no transition may read it.
  it('treats states alike that differ in the wording of a failure', () => {
    const input = {
      jobId: 'j1',
      rootPid: 1,
      directory: 'image',
      leaveRunning: false,
      gpuOnly: false,
      maxStallMs: null,
      limits: { ...defaultJobLimits, maxCuts: 2 },
    };
    const options = { input, invariants: {}, limit: 1, events: [{ type: 'job.cancel' }] };
    const text = ({ value, context }: AnyMachineSnapshot) =>
      `${JSON.stringify(value)} ${JSON.stringify(context, abstractFailures)}`;
    const classes = new Map<string, string>();
    const seen = new Set<string>();
    const [first] = initialTransition(dumpMachine, input);
    const queue: AnyMachineSnapshot[] = [first as AnyMachineSnapshot];
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) {
      const exact = JSON.stringify([next.value, next.context]);
      if (seen.has(exact)) continue;
      seen.add(exact);
      const after: string[] = [];
      for (const event of enabledEvents(next, options)) {
        const output = event.type.includes('closeGates')
          ? { ca: '1' }
          : event.type.includes('planDump')
            ? { clients: ['ca'] }
            : { reached: false, waitingFor: null };
        const [to] = transition(dumpMachine, next as never, { ...event, output } as never);
        after.push(`${event.type} ${text(to as AnyMachineSnapshot)}`);
        queue.push(to as AnyMachineSnapshot);
      }
      const known = classes.get(text(next)) ?? after.join('\n');
      expect(after.join('\n')).toBe(known);
      classes.set(text(next), known);
    }
    expect(seen.size).toBeGreaterThan(classes.size);
  });
});
