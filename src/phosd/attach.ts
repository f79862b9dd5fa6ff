// SPDX-License-Identifier: Apache-2.0
// Who says hello on attach.sock, and what becomes of it. Credentials come from the kernel; what the
// hello says of itself is used for nothing but finding the client it claims to be.
import {
  type Agents,
  CUDA_ERROR_DEVICE_UNAVAILABLE,
  CUDA_ERROR_NO_DEVICE,
  CUDA_ERROR_NOT_PERMITTED,
} from '../actors/client-entry.ts';
import type { Supervisor } from '../actors/supervisor.ts';
import { listProcesses, readProcess } from '../host/proc.ts';
import { PhosError } from '../errors/phos-error.ts';
import { firstVisibleDevice } from '../model/driver-environment.ts';
import { limits } from '../model/limits.ts';
import { processTree } from '../model/process-tree.ts';
import type { AttachRequest } from '../native/native.ts';

const RING_VERSION = 1;

export interface AttachOptions {
  readonly supervisor: Supervisor;
  readonly agents: Agents;
  /** Root pids of trees that a job is at work on: newcomers among them wait for its end. */
  readonly busyRoots: () => readonly number[];
  readonly devices: number;
}

export class AttachDesk {
  readonly #options: AttachOptions;
  readonly #held = new Map<number, AttachRequest>();

  constructor(options: AttachOptions) {
    this.#options = options;
  }

  /** An agent says hello. */
  hello(request: AttachRequest): void {
    const refusal = this.#refusalOf(request);
    if (refusal !== null) {
      this.#refuse(request, refusal.status, refusal.message);
      return;
    }
    const known = this.#options.supervisor.clients.get(request.hello.clientId);
    if (known !== undefined) this.#again(request);
    else if (request.hello.reattach) {
      this.#refuse(
        request,
        CUDA_ERROR_DEVICE_UNAVAILABLE,
        'phosd does not know this client: its executor is gone',
      );
    } else if (this.#isInBusyTree(request.peer.pid)) this.#held.set(request.connection, request);
    else this.#welcomeNew(request);
  }

  /** The agent of this connection hung up before it was answered. */
  gone(connection: number): void {
    this.#held.delete(connection);
    for (const client of this.#options.supervisor.clients.values()) client.hungUp(connection);
  }

  /** A job ended: those who waited for it are served. */
  jobEnded(): void {
    const waiting = [...this.#held.values()];
    this.#held.clear();
    for (const request of waiting) this.hello(request);
  }

  #refusalOf({ hello, peer }: AttachRequest): { status: number; message: string } | null {
    const own = process.getuid?.() ?? 0;
    if (own !== 0 && peer.uid !== own) {
      return {
        status: CUDA_ERROR_NOT_PERMITTED,
        message: `phosd of user ${own} does not serve user ${peer.uid}`,
      };
    }
    if (hello.ringVersion !== RING_VERSION) {
      return {
        status: CUDA_ERROR_DEVICE_UNAVAILABLE,
        message:
          `the program has ring version ${hello.ringVersion} of phos, phosd ${RING_VERSION}; ` +
          'start it with phos run of the same build',
      };
    }
    return null;
  }

  #refuse(request: AttachRequest, status: number, message: string): void {
    this.#options.supervisor.log('warn', 'an agent was refused', {
      pid: request.peer.pid,
      uid: request.peer.uid,
      message,
    });
    this.#options.agents.refuse(request.connection, status, message);
  }

  #isInBusyTree(pid: number): boolean {
    const roots = this.#options.busyRoots();
    if (roots.length === 0) return false;
    const rows = listProcesses();
    return roots.some((root) => processTree(rows, root).some((row) => row.pid === pid));
  }

  /** A client that was sent away comes back: after a dump that goes on, or a restore. */
  #again(request: AttachRequest): void {
    const { supervisor } = this.#options;
    const { hello, peer, connection } = request;
    const entry = supervisor.clients.get(hello.clientId);
    const found = readProcess(peer.pid);
    if (entry === undefined || found === null) return;
    // Two programs with one client id: a copy of a restored one, or somebody who guesses.
    const isItself =
      entry.pid === peer.pid &&
      entry.facts.uid === peer.uid &&
      (entry.process === null || entry.process.startTime === found.startTime);
    if (!isItself || !hello.reattach) {
      this.#refuse(
        request,
        CUDA_ERROR_NOT_PERMITTED,
        `client ${hello.clientId.slice(0, 8)} is process ${entry.pid} of user ${entry.facts.uid}`,
      );
      return;
    }
    entry.arrived(connection);
    if (entry.process === null) {
      supervisor.watchClient(entry, { pid: peer.pid, startTime: found.startTime });
    }
    const { clientId } = hello;
    supervisor.post.tell({ to: 'client', clientId, event: { type: 'agent.hello' } });
  }

  #welcomeNew(request: AttachRequest): void {
    const { supervisor } = this.#options;
    const { hello, peer, connection } = request;
    if (supervisor.clients.size >= limits.maxClients) {
      this.#refuse(
        request,
        CUDA_ERROR_DEVICE_UNAVAILABLE,
        `phosd serves ${limits.maxClients} clients already; end one`,
      );
      return;
    }
    const found = readProcess(peer.pid);
    // It ended while it was saying hello.
    if (found === null) return;
    const ordinal = this.#deviceOf(request);
    if (ordinal === null) return;
    supervisor.addClient(
      {
        clientId: hello.clientId,
        uid: peer.uid,
        gid: peer.gid,
        command: found.command,
        ordinal,
        environment: hello.environment,
      },
      { pid: peer.pid, process: { pid: peer.pid, startTime: found.startTime } },
      { origin: 'hello', executorId: null, suspended: false },
      connection,
    );
  }

  /** Null: the program has no device, and has been told. */
  #deviceOf(request: AttachRequest): number | null {
    try {
      return firstVisibleDevice(request.hello.environment, this.#options.devices);
    } catch (thrown) {
      if (!(thrown instanceof PhosError)) throw thrown;
      this.#refuse(request, CUDA_ERROR_NO_DEVICE, thrown.message);
      return null;
    }
  }
}
