// SPDX-License-Identifier: Apache-2.0
// The same run with XState's own interpreter and phosd's own post office: what comes from outside
// is sent to real actors, everything else they say to each other themselves. After each step every
// actor must be where the model says it is.
import { type AnyActor, createActor, fromPromise, SimulatedClock } from 'xstate';
import { Post, type SupervisorEvent } from '../../src/actors/post.ts';
import { leafState } from '../../src/machines/leaf-state.ts';
import { abstractFailures, type MachineEvent } from '../../src/verify/local.ts';
import type { MachineName, Observer, System } from '../../src/verify/system.ts';
import type { SystemState } from '../../src/verify/world.ts';

const limits = { startMs: 1, assignMs: 1, endMs: 1 };

type Kind = 'node' | 'device' | 'executor' | 'client' | 'job';

export class RealActors implements Observer {
  readonly #system: System;
  #post = new Post((event) => this.#supervise(event));
  readonly #actors = new Map<string, AnyActor>();
  /** Names that the model gave to executors that the real pool will ask for, in order. */
  readonly #names: string[] = [];
  #pending: {
    readonly key: string;
    readonly machine: MachineName;
    readonly input: unknown;
  } | null = null;

  constructor(system: System) {
    this.#system = system;
  }

  readonly started = (executorId: string): void => {
    this.#names.push(executorId);
  };

  // The model delivers what an event causes after it has told of it: the real actors follow when
  // the names of the executors are known.
  readonly #late: (() => void)[] = [];

  readonly added = (key: string, machine: MachineName, input: unknown): void => {
    this.#late.push(() => this.#add(key, machine, input));
  };

  readonly heard = (key: string, event: MachineEvent): void => {
    this.#late.push(() => {
      if (event.type === 'job.requested') this.#post.tell({ to: 'node', event: event as never });
      else this.#actors.get(key)?.send(event);
    });
  };

  expectJob(key: string, machine: MachineName, input: unknown): void {
    this.#pending = { key, machine, input };
  }

  /** phosd was killed. */
  forget(): void {
    for (const actor of this.#actors.values()) actor.stop();
    this.#actors.clear();
    this.#post = new Post((event) => this.#supervise(event));
  }

  /** Lets the real actors catch up. @returns what differs from the model */
  follow(state: SystemState): string[] {
    for (let next = this.#late.shift(); next !== undefined; next = this.#late.shift()) next();
    const differences: string[] = [];
    for (const [key, local] of state.actors) {
      const snapshot = this.#actors.get(key)?.getSnapshot();
      const context = JSON.stringify(snapshot?.context, abstractFailures);
      const value = snapshot === undefined ? 'gone' : leafState(snapshot.value);
      const text = `${value} ${context}`;
      if (text !== local.text) differences.push(`${key} is ${text}, not ${local.text}`);
    }
    return differences;
  }

  stop(): void {
    for (const actor of this.#actors.values()) actor.stop();
  }

  #add(key: string, machine: MachineName, input: unknown): void {
    const logic = this.#system.machine(machine);
    const silent = fromPromise(() => new Promise<never>(() => undefined));
    const names = Object.keys(logic.implementations.actors);
    const actors = Object.fromEntries(names.map((name) => [name, silent]));
    const bound = logic.provide({ actors } as never);
    const actor = createActor(bound, { input, clock: new SimulatedClock() } as never) as AnyActor;
    const [kind, id = 'node'] = key.split(':');
    this.#actors.set(key, actor);
    this.#post.add(kind as Kind, id, actor);
    actor.start();
  }

  #supervise(event: SupervisorEvent): void {
    if (event.type === 'executor.start') {
      const executorId = this.#names.shift() ?? 'unnamed';
      const input = { executorId, ordinal: event.ordinal, found: false, limits };
      this.#add(`executor:${executorId}`, 'executor', input);
    } else if (event.type === 'job.granted' && this.#pending !== null) {
      const { key, machine, input } = this.#pending;
      this.#add(key, machine, input);
    }
  }
}
