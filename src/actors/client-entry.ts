// SPDX-License-Identifier: Apache-2.0
// A client as phosd keeps it: who it is, and its actor with the effects that answer its agent.
import { randomBytes } from 'node:crypto';
import { type Actor, createActor, fromPromise } from 'xstate';
import { PhosError } from '../errors/phos-error.ts';
import type { ProcessKey } from '../host/proc.ts';
import { type ClientInput, clientMachine } from '../machines/client.machine.ts';
import type { ClientState, Failure } from '../model/domain.ts';
import { deadlines } from '../model/limits.ts';
import type { ExecutorProcess } from './executor-process.ts';

/** What answers agents on attach.sock. */
export interface Agents {
  welcome(connection: number, answer: { token: string; executorPath: string }): void;
  refuse(connection: number, status: number, message: string): void;
}

/** CUresult values that a refused cuInit answers (cuda.h). */
export const CUDA_ERROR_DEVICE_UNAVAILABLE = 46;
export const CUDA_ERROR_NO_DEVICE = 100;
export const CUDA_ERROR_NOT_PERMITTED = 800;

export interface ClientFacts {
  readonly clientId: string;
  readonly uid: number;
  readonly gid: number;
  readonly command: string;
  readonly ordinal: number;
  readonly environment: Readonly<Record<string, string>>;
}

export interface ClientPorts {
  readonly agents: Agents;
  readonly executorOf: (executorId: string) => ExecutorProcess | null;
}

export class ClientEntry {
  readonly facts: ClientFacts;
  /** Null while a client of an image has not come back yet. */
  process: ProcessKey | null;
  /** Pid that it has, or that its image gives it. */
  readonly pid: number;
  /** Proves to the executor that phosd sent this client; fresh for every hand-over. */
  token = randomBytes(16).toString('hex');
  readonly actor: Actor<typeof clientMachine>;
  readonly #ports: ClientPorts;
  #connection: number | null = null;

  constructor(
    facts: ClientFacts,
    identity: { readonly pid: number; readonly process: ProcessKey | null },
    origin: Pick<ClientInput, 'origin' | 'executorId' | 'suspended'>,
    ports: ClientPorts,
  ) {
    this.facts = facts;
    this.pid = identity.pid;
    this.process = identity.process;
    this.#ports = ports;
    const machine = clientMachine.provide({
      actors: {
        welcomeAgent: fromPromise(({ input }) =>
          this.#welcome(input.executorId, input.attachedOnce),
        ),
        refuseAgent: fromPromise(({ input }) => this.#refuse(input.failure)),
      },
    });
    this.actor = createActor(machine, {
      input: {
        clientId: facts.clientId,
        ordinal: facts.ordinal,
        ...origin,
        limits: {
          executorWaitMs: deadlines.executorWaitMs,
          welcomeMs: deadlines.welcomeMs,
          attachMs: deadlines.attachMs,
          exitConfirmMs: deadlines.exitConfirmMs,
        },
      },
    });
  }

  get state(): ClientState {
    const { value } = this.actor.getSnapshot();
    switch (value) {
      case 'choosing':
        return 'waiting';
      case 'confirming':
      case 'refusing':
        return 'lost';
      default:
        return value;
    }
  }

  get executorId(): string | null {
    return this.actor.getSnapshot().context.executorId;
  }

  get failure(): Failure | null {
    return this.actor.getSnapshot().context.failure;
  }

  /** Its agent waits for an answer on this connection. */
  arrived(connection: number): void {
    this.#connection = connection;
  }

  hungUp(connection: number): void {
    if (this.#connection === connection) this.#connection = null;
  }

  async #welcome(executorId: string | null, again: boolean): Promise<void> {
    const executor = executorId === null ? null : this.#ports.executorOf(executorId);
    if (executor === null) {
      throw new PhosError('UNAVAILABLE', `the executor of client ${this.facts.clientId} is gone`);
    }
    // The executor was told to expect the first hand-over when it was assigned.
    if (again || this.actor.getSnapshot().context.origin === 'image') {
      this.token = randomBytes(16).toString('hex');
      const { clientId, environment } = this.facts;
      await executor.request(
        'expect',
        { clientId, token: this.token, pid: this.pid, environment: { ...environment } },
        deadlines.executorRequestMs,
      );
    }
    if (this.#connection === null) {
      throw new PhosError('TRANSPORT', `the agent of process ${this.pid} hung up too early`);
    }
    this.#ports.agents.welcome(this.#connection, {
      token: this.token,
      executorPath: executor.ringSocketPath,
    });
    this.#connection = null;
  }

  async #refuse(failure: Failure | null): Promise<void> {
    if (this.#connection === null) return;
    const message = failure?.message ?? 'phosd does not serve this program';
    this.#ports.agents.refuse(this.#connection, CUDA_ERROR_DEVICE_UNAVAILABLE, message);
    this.#connection = null;
  }
}
