// SPDX-License-Identifier: Apache-2.0
// The post office of a node: takes what actors emit, asks wiring.ts who hears it, and delivers in
// the order in which things were said. Nothing is delivered while another delivery is under way,
// so that no actor hears of an event in the middle of its own.
import type { AnyActorRef } from 'xstate';
import type { Message } from '../machines/messages.ts';
import { type Delivery, route } from '../machines/wiring.ts';

export type SupervisorEvent = Extract<Delivery, { to: 'supervisor' }>['event'];

export class Post {
  readonly #actors = new Map<string, AnyActorRef>();
  readonly #queue: Delivery[] = [];
  readonly #onSupervisor: (event: SupervisorEvent) => void;
  #delivering = false;

  constructor(onSupervisor: (event: SupervisorEvent) => void) {
    this.#onSupervisor = onSupervisor;
  }

  /** Makes an actor known; it is forgotten when it has come to its end. */
  add(kind: Exclude<Delivery['to'], 'supervisor'>, id: string, actor: AnyActorRef): void {
    const key = `${kind}:${id}`;
    this.#actors.set(key, actor);
    actor.on('*', (message) => this.say(message as Message));
    actor.subscribe({
      complete: () => this.#forget(key, actor),
      error: () => this.#forget(key, actor),
    });
  }

  #forget(key: string, actor: AnyActorRef): void {
    if (this.#actors.get(key) === actor) this.#actors.delete(key);
  }

  /** Something was said. */
  say(message: Message): void {
    this.#queue.push(...route(message));
    this.#deliver();
  }

  /** Something happened in the world that one actor must hear. */
  tell(delivery: Delivery): void {
    this.#queue.push(delivery);
    this.#deliver();
  }

  #deliver(): void {
    if (this.#delivering) return;
    this.#delivering = true;
    try {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
        this.#hand(next);
      }
    } finally {
      this.#delivering = false;
    }
  }

  #hand(delivery: Delivery): void {
    if (delivery.to === 'supervisor') {
      this.#onSupervisor(delivery.event);
      return;
    }
    const actor = this.#actors.get(`${delivery.to}:${idOf(delivery)}`);
    if (actor !== undefined) actor.send(delivery.event);
    else if (delivery.to === 'client' && delivery.otherwise !== undefined) {
      this.#hand(delivery.otherwise);
    }
  }
}

function idOf(delivery: Exclude<Delivery, { to: 'supervisor' }>): string {
  switch (delivery.to) {
    case 'node':
      return 'node';
    case 'device':
      return String(delivery.ordinal);
    case 'executor':
      return delivery.executorId;
    case 'client':
      return delivery.clientId;
    case 'job':
      return delivery.jobId;
  }
}
