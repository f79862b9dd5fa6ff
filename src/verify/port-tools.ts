// SPDX-License-Identifier: Apache-2.0
// What ports are made of: their shape, and the questions that their steps ask of the world.
import {
  type Effect,
  type ExecutorWorld,
  executorOf,
  type JobWorld,
  type SystemState,
} from './world.ts';

/** What a port can do to actors besides answering. */
export interface Effects {
  tell(to: 'client' | 'executor', id: string, type: string): void;
  addClient(clientId: string, origin: 'image'): void;
}
export interface PortCall {
  readonly state: SystemState;
  readonly effect: Effect;
  readonly job: JobWorld;
  readonly jobId: string;
  readonly effects: Effects;
  /** Id of the actor that invoked it. */
  readonly self: string;
}
export type Outcome = 'more' | 'fail' | { readonly done: unknown };

export interface Port {
  /** Null while it waits; a port without this never waits. */
  readonly ready?: (call: PortCall) => boolean;
  readonly step: (call: PortCall) => Outcome;
  /** Steps on every member; one that fails does not keep the others from being tried. */
  readonly parallel?: boolean;
  /** Before this step it ends when the machine does not wait for it any more. */
  readonly abortableBefore?: number;
  /** What else it may answer, at the price of a fault. */
  readonly otherwise?: unknown;
  /** Takes nothing back when it fails half-way, and cannot be made to fail by the world. */
  readonly infallible?: boolean;
  readonly fault?: string;
}

export const stateOf = (state: SystemState, clientId: string): string =>
  state.actors.get(`client:${clientId}`)?.value ?? 'gone';

export function isThere(state: SystemState, clientId: string): boolean {
  return state.actors.has(`client:${clientId}`) && executorOf(state, clientId) !== null;
}

export function answering(state: SystemState, clientId: string): ExecutorWorld | null {
  const executor = executorOf(state, clientId);
  return executor !== null && executor.process === 'alive' ? executor : null;
}

/** One request to the executor of each member, in turn; then the port answers. */
export function each(
  request: (executor: ExecutorWorld, clientId: string, call: PortCall) => void,
  options: {
    /** Members that have ended are left alone. */
    readonly living?: boolean;
    readonly answer?: unknown;
    readonly only?: (clientId: string, call: PortCall) => boolean;
  } = {},
): Port {
  return {
    parallel: true,
    step: (call) => {
      const { state, effect, job } = call;
      const clientId = job.members[effect.pc];
      if (clientId === undefined) {
        return effect.failed ? 'fail' : { done: options.answer };
      }
      if (options.only?.(clientId, call) === false) return 'more';
      if (options.living === true && !isThere(state, clientId)) return 'more';
      const executor = answering(state, clientId);
      if (executor === null) effect.failed = true;
      else request(executor, clientId, call);
      return 'more';
    },
  };
}
