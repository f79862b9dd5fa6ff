// SPDX-License-Identifier: Apache-2.0
// Breadth first over every reachable state. A state that breaks a law ends the run with the
// shortest way to it. When all states are seen, the graph itself is looked at: a cycle would be a
// way to go on for ever without an end, and a goal that no state reaches is a protocol that works
// never.
import { Canon } from './canonical.ts';
import { atRest, safety } from './invariants.ts';
import type { Scenario, Step } from './scenario.ts';
import { apply, enabled } from './steps.ts';
import type { System } from './system.ts';
import type { SystemState } from './world.ts';

export interface Violation {
  readonly law: string;
  /** Labels of the steps that lead there, from the initial state. */
  readonly trace: readonly string[];
}
export interface Exploration {
  readonly scenario: string;
  readonly states: number;
  readonly transitions: number;
  readonly depth: number;
  readonly restStates: number;
  /** Not every state was seen. */
  readonly boundHit: boolean;
  readonly violation: Violation | null;
  readonly seconds: number;
}
export interface Watch {
  readonly now: () => number;
  readonly onProgress: (states: number, depth: number, waiting: number) => void;
}

const PROGRESS_EVERY = 20_000;

/** The state in which a scenario begins: programs that run from the beginning are served. */
export function boot(system: System, scenario: Scenario): SystemState {
  let state = system.empty(0, 0);
  system.openNode(state);
  for (let ordinal = 0; ordinal < scenario.devices; ordinal += 1) {
    system.openDevice(state, ordinal, 0);
  }
  const imaged = scenario.imaged ?? [];
  const running = Object.keys(scenario.homes).filter(
    (id) => !scenario.arrivals.includes(id) && !imaged.includes(id),
  );
  const quiet: Scenario = { ...scenario, arrivals: running, requests: [], commands: 0 };
  for (let turn = 0; turn < 200; turn += 1) {
    const [step] = enabled(system, quiet, state).filter((one) => one.kind === 'free');
    if (step === undefined) break;
    state = apply(state, step, true);
  }
  if (imaged.length > 0) {
    const at = (count: number) => Object.fromEntries(imaged.map((id) => [id, count]));
    state.image = { place: 'durable', cuts: at(1), gpu: at(1), cpu: at(2) };
  }
  return { ...state, faults: scenario.faults, crashes: scenario.crashes };
}

/** The laws that a state breaks. */
export function brokenIn(state: SystemState, isAtRest: boolean): string[] {
  const broken: string[] = [...state.lastWords];
  for (const [key, local] of state.actors) {
    for (const name of local.broken) broken.push(`${key}: ${name}`);
  }
  for (const [name, holds] of Object.entries(safety)) if (!holds(state)) broken.push(name);
  if (!isAtRest) return broken;
  for (const [name, holds] of Object.entries(atRest)) if (!holds(state)) broken.push(name);
  return broken;
}

class Numbers {
  #data = new Int32Array(1 << 16);
  length = 0;
  push(value: number): void {
    if (this.length === this.#data.length) {
      const wider = new Int32Array(this.#data.length * 2);
      wider.set(this.#data);
      this.#data = wider;
    }
    this.#data[this.length] = value;
    this.length += 1;
  }
  at(index: number): number {
    return this.#data[index] ?? -1;
  }
}

/** What is kept of the graph: how each state was first reached, and every edge. */
class Graph {
  readonly #parents = new Numbers();
  readonly #labels = new Numbers();
  readonly #names: string[] = [];
  readonly #numbers = new Map<string, number>();
  readonly #from = new Numbers();
  readonly #to = new Numbers();

  addState(parent: number, label: string): void {
    let number = this.#numbers.get(label);
    if (number === undefined) {
      number = this.#names.length;
      this.#names.push(label);
      this.#numbers.set(label, number);
    }
    this.#parents.push(parent);
    this.#labels.push(number);
  }

  addEdge(from: number, to: number): void {
    this.#from.push(from);
    this.#to.push(to);
  }

  get edges(): number {
    return this.#from.length;
  }

  trace(index: number): string[] {
    const labels: string[] = [];
    for (let at = index; at > 0; at = this.#parents.at(at)) {
      labels.push(this.#names[this.#labels.at(at)] ?? '?');
    }
    return labels.reverse();
  }

  /** A state on a cycle, or null: states without a way in are taken away until none is left. */
  onCycle(states: number): number | null {
    const into = new Int32Array(states);
    const first = new Int32Array(states + 1);
    for (let edge = 0; edge < this.edges; edge += 1) {
      into[this.#to.at(edge)] = (into[this.#to.at(edge)] ?? 0) + 1;
      first[this.#from.at(edge) + 1] = (first[this.#from.at(edge) + 1] ?? 0) + 1;
    }
    for (let index = 0; index < states; index += 1) {
      first[index + 1] = (first[index + 1] ?? 0) + (first[index] ?? 0);
    }
    const free = new Numbers();
    for (let index = 0; index < states; index += 1) if (into[index] === 0) free.push(index);
    // Edges come in the order of their first state, because states are expanded in order.
    for (let done = 0; done < free.length; done += 1) {
      const from = free.at(done);
      for (let edge = first[from] ?? 0; edge < (first[from + 1] ?? 0); edge += 1) {
        const to = this.#to.at(edge);
        into[to] = (into[to] ?? 0) - 1;
        if (into[to] === 0) free.push(to);
      }
    }
    if (free.length === states) return null;
    return into.findIndex((count) => count > 0);
  }
}

/** Explores a scenario to its end, to its first violation, or to its bound. */
export function explore(system: System, scenario: Scenario, watch: Watch): Exploration {
  return new Run(system, scenario, watch).explore();
}

class Run {
  readonly #system: System;
  readonly #scenario: Scenario;
  readonly #watch: Watch;
  readonly #canon: Canon;
  readonly #seen = new Map<number, number>();
  readonly #graph = new Graph();
  readonly #missing: Map<string, (state: SystemState) => boolean>;
  readonly #start: number;
  #violation: Violation | null = null;
  #restStates = 0;
  #depth = 0;

  constructor(system: System, scenario: Scenario, watch: Watch) {
    this.#system = system;
    this.#scenario = scenario;
    this.#watch = watch;
    this.#canon = new Canon(scenario.alike);
    this.#missing = new Map(Object.entries(scenario.goals));
    this.#start = watch.now();
  }

  explore(): Exploration {
    const first = boot(this.#system, this.#scenario);
    this.#add(first, -1, 'start');
    let layer = [first];
    let base = 0;
    while (layer.length > 0 && this.#violation === null && !this.#isFull) {
      const next: SystemState[] = [];
      for (let index = 0; index < layer.length; index += 1) {
        this.#expand(layer[index] as SystemState, base + index, next);
        if (this.#violation !== null || this.#isFull) break;
      }
      base += layer.length;
      layer = next;
      if (next.length > 0) this.#depth += 1;
    }
    if (this.#violation === null && !this.#isFull) this.#lookAtGraph();
    return {
      scenario: this.#scenario.name,
      states: this.#seen.size,
      transitions: this.#graph.edges,
      depth: this.#depth,
      restStates: this.#restStates,
      boundHit: this.#isFull,
      violation: this.#violation,
      seconds: (this.#watch.now() - this.#start) / 1000,
    };
  }

  get #isFull(): boolean {
    return this.#seen.size > this.#scenario.maxStates;
  }

  /** @returns the state's number when it is new */
  #add(state: SystemState, parent: number, label: string): { number: number; isNew: boolean } {
    const hash = this.#canon.key(state);
    const known = this.#seen.get(hash);
    if (known !== undefined) return { number: known, isNew: false };
    const number = this.#seen.size;
    this.#seen.set(hash, number);
    this.#graph.addState(parent, label);
    return { number, isNew: true };
  }

  #expand(state: SystemState, number: number, next: SystemState[]): void {
    const steps = enabled(this.#system, this.#scenario, state);
    const isStill = !steps.some((step) => step.kind === 'free');
    const canMove = steps.some((step) => step.kind === 'free' || step.kind === 'deadline');
    if (!canMove) this.#restStates += 1;
    const [broken] = brokenIn(state, !canMove);
    if (broken !== undefined) {
      this.#violation = { law: broken, trace: this.#graph.trace(number) };
      return;
    }
    for (const [goal, holds] of this.#missing) if (holds(state)) this.#missing.delete(goal);
    for (const step of steps) this.#take(state, number, step, isStill, next);
  }

  #take(
    state: SystemState,
    number: number,
    step: Step,
    isStill: boolean,
    next: SystemState[],
  ): void {
    const after = apply(state, step, isStill);
    const [word] = after.lastWords;
    if (word !== undefined && this.#violation === null) {
      this.#violation = { law: word, trace: [...this.#graph.trace(number), step.label] };
    }
    const reached = this.#add(after, number, step.label);
    this.#graph.addEdge(number, reached.number);
    if (!reached.isNew) return;
    next.push(after);
    if (this.#seen.size % PROGRESS_EVERY === 0) {
      this.#watch.onProgress(this.#seen.size, this.#depth, next.length);
    }
  }

  #lookAtGraph(): void {
    const cycle = this.#graph.onCycle(this.#seen.size);
    if (cycle !== null) {
      const law = 'every run comes to rest (there is a cycle)';
      this.#violation = { law, trace: this.#graph.trace(cycle) };
      return;
    }
    const [goal] = this.#missing.keys();
    if (goal !== undefined) {
      this.#violation = { law: `some run reaches: ${goal}`, trace: [] };
    }
  }
}
