// SPDX-License-Identifier: Apache-2.0
// Real actors for the tests of machines: ports that answer at once, and a clock that stands still.
import {
  type AnyActor,
  type AnyStateMachine,
  createActor,
  fromPromise,
  SimulatedClock,
} from 'xstate';

export type Answer = (input: never) => unknown;

/** Ports by name: a function answers or throws; a port that is missing never answers. */
export function bind(machine: AnyStateMachine, answers: Readonly<Record<string, Answer>>) {
  const names = Object.keys(machine.implementations.actors);
  const silent = () => new Promise<never>(() => undefined);
  return machine.provide({
    actors: Object.fromEntries(
      names.map((name) => [
        name,
        fromPromise(async ({ input }) => {
          const answer = answers[name];
          return answer === undefined ? silent() : answer(input as never);
        }),
      ]),
    ),
  } as never) as AnyStateMachine;
}

/** Tests send what a machine does not expect, too. */
type Told = Omit<AnyActor, 'send'> & {
  send(event: { readonly type: string; readonly [key: string]: unknown }): void;
};

/** Starts a bound machine under a simulated clock and collects what it emits. */
export function start(machine: AnyStateMachine, input: unknown) {
  const clock = new SimulatedClock();
  const actor = createActor(machine, { input, clock } as never) as unknown as Told;
  const emitted: { type: string }[] = [];
  actor.on('*', (event: { type: string }) => emitted.push(event));
  actor.start();
  return { actor, clock, emitted };
}

/** Lets every port that has an answer give it; bounded, so that a loop is a failure. */
export async function rest(actor: Pick<AnyActor, 'getSnapshot'>): Promise<void> {
  let last = '';
  for (let turn = 0; turn < 1000; turn += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    const now = JSON.stringify(actor.getSnapshot().value);
    if (now === last && turn > 3) return;
    last = now;
  }
  throw new Error('the machine does not come to rest');
}
