// SPDX-License-Identifier: Apache-2.0
// The actors of a node: devices with their pools, executors, clients, and which job owns whom. The
// supervisor makes them, binds their effects, and carries their messages (post.ts).
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { type Actor, createActor, fromPromise } from 'xstate';
import { PhosError } from '../errors/phos-error.ts';
import type { ExecutorNotice } from '../executor/protocol.ts';
import type { ProcessKey } from '../host/proc.ts';
import { deviceMachine } from '../machines/device.machine.ts';
import { executorMachine } from '../machines/executor.machine.ts';
import type { JobRefused } from '../machines/messages.ts';
import { nodeMachine, ownerOf } from '../machines/node.machine.ts';
import type { Failure, JobKind } from '../model/domain.ts';
import { driverEnvironment } from '../model/driver-environment.ts';
import { makeId } from '../model/ids.ts';
import { deadlines, limits } from '../model/limits.ts';
import { type Agents, ClientEntry, type ClientFacts } from './client-entry.ts';
import { ExecutorProcess, type ExecutorSettings } from './executor-process.ts';
import { Post, type SupervisorEvent } from './post.ts';
import { ProcessWatch } from './process-watch.ts';
import { RateBook } from './rate-book.ts';

/** A line for the log of phosd. */
export type Log = (
  level: 'debug' | 'info' | 'warn' | 'error',
  message: string,
  facts?: Readonly<Record<string, unknown>>,
) => void;

export interface SupervisorOptions extends ExecutorSettings {
  readonly poolTarget: number;
  readonly devices: number;
  readonly agents: Agents;
  readonly log: Log;
  /** Something that the registry keeps has changed. */
  readonly onChange: () => void;
  readonly prepare: () => Promise<void>;
  readonly close: () => Promise<void>;
}

interface ExecutorEntry {
  readonly process: ExecutorProcess;
  readonly actor: Actor<typeof executorMachine>;
}

export function newId(kind: 'executor' | 'keeper' | 'job'): string {
  return makeId(kind, randomBytes(4).toString('hex'));
}

export class Supervisor {
  readonly watch = new ProcessWatch();
  readonly post: Post;
  readonly executors = new Map<string, ExecutorEntry>();
  readonly clients = new Map<string, ClientEntry>();
  readonly devices = new Map<number, Actor<typeof deviceMachine>>();
  readonly node: Actor<typeof nodeMachine>;
  readonly log: Log;
  readonly rates: RateBook;
  readonly #options: SupervisorOptions;
  readonly #grants = new Map<string, (refusal: Failure | null) => void>();
  readonly #observers = new Set<() => void>();

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.log = options.log;
    this.rates = new RateBook(options.driver);
    this.post = new Post((event) => this.#supervise(event));
    this.node = createActor(
      nodeMachine.provide({
        actors: {
          prepareNode: fromPromise(() => options.prepare()),
          closeNode: fromPromise(() => options.close()),
        },
      }),
      {
        input: {
          maxClients: limits.maxClients,
          maxJobs: limits.maxJobs,
          prepareMs: deadlines.prepareMs,
          stopMs: deadlines.daemonStopMs,
        },
      },
    );
    this.post.add('node', 'node', this.node);
  }

  /** Called after anything about a client or an executor changed. */
  observe(observer: () => void): () => void {
    this.#observers.add(observer);
    return () => this.#observers.delete(observer);
  }

  #changed(): void {
    for (const observer of [...this.#observers]) observer();
    this.#options.onChange();
  }

  /**
   * Opens the devices: their pools fill up.
   *
   * @param found warm executors by ordinal that will report themselves
   */
  openDevices(found: ReadonlyMap<number, number>): void {
    for (let ordinal = 0; ordinal < this.#options.devices; ordinal += 1) {
      const actor = createActor(deviceMachine, {
        input: {
          ordinal,
          found: found.get(ordinal) ?? 0,
          poolTarget: this.#options.poolTarget,
          maxFailures: limits.maxExecutorFailures,
          maxWaiting: limits.maxClients,
        },
      });
      this.devices.set(ordinal, actor);
      this.post.add('device', String(ordinal), actor);
      actor.start();
    }
  }

  #supervise(event: SupervisorEvent): void {
    switch (event.type) {
      case 'executor.start':
        this.addExecutor(newId('executor'), event.ordinal, false);
        break;
      case 'job.granted':
        this.#grants.get(event.jobId)?.(null);
        break;
      case 'job.refused':
        this.#grants.get(event.jobId)?.((event satisfies JobRefused).failure);
        break;
    }
  }

  /** Makes an executor actor: starts a process, or finds one that runs. */
  addExecutor(executorId: string, ordinal: number, found: boolean): ExecutorEntry {
    const process = new ExecutorProcess(executorId, ordinal, this.#options);
    const actor = createActor(
      executorMachine.provide({
        actors: {
          startExecutor: fromPromise(({ signal }) => this.#start(process, signal)),
          findExecutor: fromPromise(() => process.find()),
          assignExecutor: fromPromise(({ input, signal }) =>
            this.#assign(process, input.clientId, signal),
          ),
          endExecutor: fromPromise(() => process.end()),
        },
      }),
      {
        input: {
          executorId,
          ordinal,
          found,
          limits: {
            startMs: deadlines.executorStartMs,
            assignMs: deadlines.executorAssignMs,
            endMs: deadlines.executorEndMs,
          },
        },
      },
    );
    const entry = { process, actor };
    this.executors.set(executorId, entry);
    process.onExit(() =>
      this.post.tell({ to: 'executor', executorId, event: { type: 'executor.exited' } }),
    );
    process.onNotice((notice) => this.#notice(executorId, notice));
    this.post.add('executor', executorId, actor);
    actor.subscribe({
      next: (snapshot) => {
        if (snapshot.status === 'done') this.#executorEnded(entry);
        this.#changed();
      },
    });
    actor.start();
    return entry;
  }

  async #start(process: ExecutorProcess, signal: AbortSignal): Promise<void> {
    await process.start(signal);
    try {
      await this.rates.calibrate(process);
    } catch (thrown) {
      // Plans rest on constants then; the executor itself is as good as any.
      if (!(thrown instanceof PhosError)) throw thrown;
      this.log('warn', 'no copy could be timed', { reason: thrown.message });
    }
  }

  #executorEnded(entry: ExecutorEntry): void {
    const { failure, process: state } = entry.actor.getSnapshot().context;
    this.executors.delete(entry.process.id);
    entry.process.release();
    // It runs as its client's user and may not remove them itself.
    rmSync(entry.process.socketPath, { force: true });
    rmSync(entry.process.ringSocketPath, { force: true });
    const facts = { executorId: entry.process.id, failure };
    if (state === 'unknown') this.log('error', 'an executor could not be ended', facts);
    else this.log(failure === null ? 'info' : 'warn', 'an executor ended', facts);
  }

  async #assign(
    process: ExecutorProcess,
    clientId: string | null,
    signal: AbortSignal,
  ): Promise<void> {
    const client = clientId === null ? undefined : this.clients.get(clientId);
    if (client === undefined) {
      throw new PhosError('NOT_FOUND', `client ${clientId} is gone, so it needs no executor`);
    }
    const { facts, token, pid } = client;
    await process.adopt(driverEnvironment(facts.environment), signal);
    await process.request(
      'assign',
      {
        clientId: facts.clientId,
        token,
        pid,
        uid: facts.uid,
        gid: facts.gid,
        environment: { ...facts.environment },
      },
      deadlines.executorAssignMs,
    );
  }

  #notice(executorId: string, notice: ExecutorNotice): void {
    const clientId = this.executors.get(executorId)?.actor.getSnapshot().context.clientId;
    if (notice.event === 'progress' || typeof clientId !== 'string') return;
    switch (notice.event) {
      case 'client.attached':
        this.post.tell({ to: 'client', clientId, event: { type: 'agent.attached' } });
        break;
      case 'client.lost':
        this.#clientLost(clientId, notice.params);
        break;
      case 'context.error':
        this.log('warn', 'a device context failed', { clientId, ...notice.params });
        break;
      case 'call.unsupported':
        this.log('info', 'a call is not supported', { clientId, call: notice.params.name });
        break;
    }
    this.#changed();
  }

  #clientLost(clientId: string, lost: { readonly reason: string; readonly detail: string }): void {
    // It had let go because a job asked it to, and its process died since: the watch knows.
    if (lost.reason === 'disconnected') {
      this.watch.look();
      return;
    }
    const failure: Failure = {
      code: 'TRANSPORT',
      message: `the program's agent is gone (${lost.reason}: ${lost.detail})`,
      step: 'run',
      retryable: false,
    };
    this.post.tell({ to: 'client', clientId, event: { type: 'agent.lost', failure } });
    this.watch.look();
  }

  /** Makes a client actor. Its process is watched as soon as it is known. */
  addClient(
    facts: ClientFacts,
    identity: { readonly pid: number; readonly process: ProcessKey | null },
    origin: ConstructorParameters<typeof ClientEntry>[2],
    connection: number | null,
  ): ClientEntry {
    const entry = new ClientEntry(facts, identity, origin, {
      agents: this.#options.agents,
      executorOf: (id) => this.executors.get(id)?.process ?? null,
    });
    if (connection !== null) entry.arrived(connection);
    this.clients.set(facts.clientId, entry);
    this.post.add('client', facts.clientId, entry.actor);
    if (identity.process !== null) this.watchClient(entry, identity.process);
    entry.actor.subscribe({
      next: (snapshot) => {
        if (snapshot.status === 'done') this.#clientEnded(entry);
        this.#changed();
      },
    });
    entry.actor.start();
    return entry;
  }

  watchClient(entry: ClientEntry, key: ProcessKey): void {
    const { clientId } = entry.facts;
    entry.process = key;
    this.watch.add(`client:${clientId}`, key, () =>
      this.post.tell({ to: 'client', clientId, event: { type: 'process.exited' } }),
    );
  }

  #clientEnded(entry: ClientEntry): void {
    const { clientId } = entry.facts;
    this.watch.remove(`client:${clientId}`);
    if (this.clients.get(clientId) === entry) this.clients.delete(clientId);
    this.log('info', 'a client ended', { clientId, pid: entry.pid, failure: entry.failure });
  }

  /**
   * Asks for a job's clients, all or none.
   *
   * @throws PhosError CONFLICT when another job owns one of them, or the node takes no jobs
   */
  claim(jobId: string, kind: JobKind, clients: readonly string[]): void {
    let refusal: Failure | null | undefined;
    this.#grants.set(jobId, (answer) => {
      refusal = answer;
    });
    this.post.tell({
      to: 'node',
      event: { type: 'job.requested', jobId, kind, clients },
    });
    this.#grants.delete(jobId);
    if (refusal === null) return;
    const { code, message } = refusal ?? { code: 'CONFLICT' as const, message: 'phosd is ending' };
    throw new PhosError(code, message, { retryable: true });
  }

  /** The job that owns a client, or null. */
  ownerOf(clientId: string): string | null {
    return ownerOf(this.node.getSnapshot().context, [clientId]);
  }

  /** Lets go of every connection; processes go on. */
  release(): void {
    this.watch.close();
    for (const { process, actor } of this.executors.values()) {
      process.release();
      actor.stop();
    }
    for (const client of this.clients.values()) client.actor.stop();
    for (const device of this.devices.values()) device.stop();
  }
}
