// SPDX-License-Identifier: Apache-2.0
// One machine as a table: every snapshot that was ever reached gets a number, and a transition is
// looked up after it was computed once by XState's own pure `transition`. The composition then
// costs one look-up per machine that hears an event, however many states it is part of.
import {
  type AnyMachineSnapshot,
  type AnyStateMachine,
  type AnyStateNode,
  initialTransition,
  type StateValue,
  transition,
} from 'xstate';
import { leafState } from '../machines/leaf-state.ts';
import type { Message } from '../machines/messages.ts';

export interface MachineEvent {
  readonly type: string;
  readonly [key: string]: unknown;
}
/** A port at work in a state: its name, and the name under which it reports back. */
export interface Invocation {
  readonly id: string;
  readonly src: string;
  /** State that invokes it: while a machine stays in there, its port goes on. */
  readonly node: string;
}
export interface LocalState {
  readonly index: number;
  readonly machine: LocalMachine;
  readonly value: string;
  readonly context: Readonly<Record<string, unknown>>;
  readonly active: boolean;
  readonly invocations: readonly Invocation[];
  /** Deadlines and other delays that are running. */
  readonly delays: readonly string[];
  /** Exported invariants of the machine that do not hold here. */
  readonly broken: readonly string[];
  /** Canonical text: what the state is, apart from the wording of failures. */
  readonly text: string;
  readonly snapshot: AnyMachineSnapshot;
}
export interface Step {
  readonly next: LocalState;
  readonly emitted: readonly Message[];
}
export type Invariants = Readonly<Record<string, (state: string, context: never) => boolean>>;
type Action = { readonly type: string; readonly params?: { readonly event?: Message } };

/** No guard reads why something failed, so failures count as equal; a test holds this. */
export function abstractFailures(key: string, value: unknown): unknown {
  if (key === 'failure') return value === null ? null : '!';
  if (key === 'unrepaired') return (value as readonly unknown[]).length > 0;
  if (key === 'limits') return undefined;
  return value;
}

export class LocalMachine {
  readonly name: string;
  readonly machine: AnyStateMachine;
  readonly #invariants: Invariants;
  readonly #states: LocalState[] = [];
  readonly #byText = new Map<string, LocalState>();
  readonly #steps: Map<string, Step>[] = [];
  readonly #starts = new Map<string, Step>();

  constructor(name: string, machine: AnyStateMachine, invariants: Invariants) {
    this.name = name;
    this.machine = machine;
    this.#invariants = invariants;
  }

  get size(): number {
    return this.#states.length;
  }

  start(input: unknown): Step {
    const key = JSON.stringify(input);
    const known = this.#starts.get(key);
    if (known !== undefined) return known;
    const step = this.#step(initialTransition(this.machine, input) as never);
    this.#starts.set(key, step);
    return step;
  }

  /** What hearing `event` does; null when nothing changes and nothing is said. */
  step(state: LocalState, event: MachineEvent): Step {
    const key = `${event.type}${eventText(event)}`;
    const steps = this.#steps[state.index] as Map<string, Step>;
    const known = steps.get(key);
    if (known !== undefined) return known;
    const step = this.#step(transition(this.machine, state.snapshot, event as never) as never);
    steps.set(key, step);
    return step;
  }

  #step([snapshot, actions]: readonly [AnyMachineSnapshot, readonly Action[]]): Step {
    const emitted = actions.flatMap(({ type, params }) =>
      type === 'xstate.emit' && params?.event !== undefined ? [params.event] : [],
    );
    return { next: this.#intern(snapshot), emitted };
  }

  #intern(snapshot: AnyMachineSnapshot): LocalState {
    const value = leafState(snapshot.value as StateValue);
    const context = snapshot.context as Readonly<Record<string, unknown>>;
    const text = `${value} ${JSON.stringify(context, abstractFailures)}`;
    const known = this.#byText.get(text);
    if (known !== undefined) return known;
    const nodes = snapshot._nodes as readonly AnyStateNode[];
    const active = snapshot.status === 'active';
    const state: LocalState = {
      index: this.#states.length,
      machine: this,
      value,
      context,
      active,
      invocations: active
        ? nodes.flatMap((node) =>
            node.invoke.map(({ id, src }) => ({ id, src: src as string, node: node.id })),
          )
        : [],
      delays: active ? nodes.flatMap((node) => node.after.map((one) => one.eventType)) : [],
      broken: Object.entries(this.#invariants).flatMap(([name, holds]) =>
        holds(value, context as never) ? [] : [name],
      ),
      text,
      snapshot,
    };
    this.#states.push(state);
    this.#steps.push(new Map());
    this.#byText.set(text, state);
    return state;
  }
}

function eventText(event: MachineEvent): string {
  return event.type.startsWith('xstate.after') || Object.keys(event).length === 1
    ? ''
    : JSON.stringify(event, (key, value: unknown) =>
        key === 'failure' || key === 'error' ? '!' : value,
      );
}
