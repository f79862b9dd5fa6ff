// SPDX-License-Identifier: Apache-2.0
// What every machine's test does: visit every state that any order of events can lead to, and
// hold the invariants in each. Invoked ports do not run in a walk; their answers, their failures
// and their deadlines are events like any other, read off the active state nodes.
import fc from 'fast-check';
import {
  type AnyMachineSnapshot,
  type AnyStateMachine,
  type AnyStateNode,
  initialTransition,
  transition,
} from 'xstate';
import { getAdjacencyMap } from 'xstate/graph';
import { leafState } from '../../src/machines/leaf-state.ts';

export interface WalkEvent {
  readonly type: string;
  readonly [key: string]: unknown;
}
export type Invariants<C> = Readonly<Record<string, (state: string, context: C) => boolean>>;

export interface WalkOptions<C> {
  readonly input: unknown;
  /** What each invoked port may answer; a port that is not named answers undefined. */
  readonly outputs?: Readonly<Record<string, readonly unknown[]>>;
  /** Events from outside, offered in every state. */
  readonly events?: readonly WalkEvent[];
  readonly invariants: Invariants<C>;
  readonly limit: number;
  /**
   * What of a context tells two states apart; the whole of it by default. Anything that a guard or
   * an invariant looks at must be in it.
   */
  readonly essence?: (context: C) => unknown;
}

export interface Violation {
  readonly invariant: string;
  readonly state: string;
}
export interface WalkResult {
  readonly states: number;
  readonly edges: number;
  readonly reached: ReadonlySet<string>;
  readonly violations: readonly Violation[];
}

/** The events that something could really send in this state. */
export function enabledEvents<C>(
  snapshot: AnyMachineSnapshot,
  options: WalkOptions<C>,
): WalkEvent[] {
  if (snapshot.status !== 'active') return [];
  const found: WalkEvent[] = [];
  for (const node of snapshot._nodes as AnyStateNode[]) {
    for (const invoked of node.invoke) {
      for (const output of options.outputs?.[invoked.id] ?? [undefined]) {
        found.push({ type: `xstate.done.actor.${invoked.id}`, output });
      }
      found.push({ type: `xstate.error.actor.${invoked.id}`, error: new Error('planted') });
    }
    for (const delayed of node.after) found.push({ type: delayed.eventType });
  }
  return [...found, ...(options.events ?? [])];
}

export function stateName(snapshot: AnyMachineSnapshot): string {
  return leafState(snapshot.value);
}

function broken<C>(snapshot: AnyMachineSnapshot, invariants: Invariants<C>): Violation[] {
  const state = stateName(snapshot);
  return Object.entries(invariants).flatMap(([invariant, holds]) =>
    holds(state, snapshot.context as C) ? [] : [{ invariant, state }],
  );
}

/** Every reachable state; throws when there are more than `limit` of them. */
export function walk<C>(machine: AnyStateMachine, options: WalkOptions<C>): WalkResult {
  const essence = options.essence ?? ((context: C) => context);
  const map = getAdjacencyMap(machine, {
    input: options.input,
    events: (snapshot: AnyMachineSnapshot) => enabledEvents(snapshot, options),
    serializeState: (snapshot: AnyMachineSnapshot) =>
      JSON.stringify([snapshot.value, essence(snapshot.context as C)]),
    limit: options.limit,
    stopWhen: (snapshot: AnyMachineSnapshot) => snapshot.status !== 'active',
  } as never) as Record<string, { state: AnyMachineSnapshot; transitions: object }>;
  const entries = Object.values(map);
  return {
    states: entries.length,
    edges: entries.reduce((sum, entry) => sum + Object.keys(entry.transitions).length, 0),
    reached: new Set(entries.map((entry) => stateName(entry.state))),
    violations: entries.flatMap((entry) => broken(entry.state, options.invariants)),
  };
}

/** Names of all states in which a machine can rest: leaves with something to wait for or an end. */
export function stateNames(machine: AnyStateMachine): string[] {
  const leaves = (node: AnyStateNode): AnyStateNode[] => {
    const inner = Object.values(node.states);
    return inner.length === 0 ? [node] : inner.flatMap(leaves);
  };
  return leaves(machine.root)
    .filter((node) => !(node.always ?? []).some((one) => one.guard === undefined))
    .map((node) => node.key);
}

/**
 * Random runs over enabled events. The seed is fixed, or PHOS_SEED, and a failure prints it with
 * the shrunk run. Size '+1' gives runs long enough to reach the deep states.
 */
export function randomRuns<C>(machine: AnyStateMachine, options: WalkOptions<C>, seed = 1): void {
  fc.assert(
    fc.property(fc.array(fc.nat(), { size: '+1' }), (choices) => {
      let [snapshot] = initialTransition(machine, options.input) as [AnyMachineSnapshot, unknown];
      const trace: string[] = [];
      for (const choice of choices) {
        const events = enabledEvents(snapshot, options);
        const event = events[choice % Math.max(1, events.length)];
        if (event === undefined) break;
        trace.push(event.type);
        [snapshot] = transition(machine, snapshot, event as never) as [AnyMachineSnapshot, unknown];
        const violations = broken(snapshot, options.invariants);
        if (violations.length > 0) {
          throw new Error(`${JSON.stringify(violations)} after ${trace.join(' > ')}`);
        }
      }
    }),
    { seed: Number(process.env['PHOS_SEED'] ?? seed), numRuns: 300, verbose: 1 },
  );
}
