// SPDX-License-Identifier: Apache-2.0
// Ports: the effects a machine needs. A machine names them and says what goes in and comes out;
// src/actors binds them. Until then they refuse to work, so that nothing runs on a forgotten one.
import { fromPromise, type PromiseActorLogic } from 'xstate';

/** A port whose effect has a beginning and an end, and may fail. */
export function port<Output, Input>(name: string): PromiseActorLogic<Output, Input> {
  return fromPromise<Output, Input>(() =>
    Promise.reject(new Error(`the port ${name} is not provided`)),
  );
}

/** What an invoked port says when it is done or has failed, as the machine sees it. */
export const doneOf = (id: string): `xstate.done.actor.${string}` => `xstate.done.actor.${id}`;
export const errorOf = (id: string): `xstate.error.actor.${string}` => `xstate.error.actor.${id}`;
