// SPDX-License-Identifier: Apache-2.0
// What an executor does when it is asked: one function for each method of the protocol.
import { PhosError } from '../errors/phos-error.ts';
import {
  type Executor,
  type ExecutorEvent,
  type OnProgress,
  processStartTime,
  type SaveResult,
  setCredentials,
  type WriteOptions,
} from '../native/native.ts';
import { calibrate } from './calibrate.ts';
import { passFault } from '../native/fault.ts';
import type { ExecutorNotice, MethodName, MethodParams, MethodResult } from './protocol.ts';

/** Writer and reader threads of an image, each with a buffer of 8 MiB. */
const LANES = 2;

export type Tell = (notice: ExecutorNotice) => void;

type Handlers = {
  readonly [M in MethodName]: (
    params: MethodParams<M>,
  ) => MethodResult<M> | Promise<MethodResult<M>>;
};

export interface ServiceOptions {
  readonly id: string;
  readonly executor: Executor;
  readonly tell: Tell;
  readonly exit: () => void;
}

function bytesOf(key: string | null): Buffer | null {
  return key === null ? null : Buffer.from(key, 'hex');
}

function writing(params: Omit<MethodParams<'save'>, 'directory'>): WriteOptions {
  const { parent, compress = 0, content = false, share = false, donors = [], key = null } = params;
  return { parent, lanes: LANES, compress, content, share, donors, key: bytesOf(key) };
}

export class ExecutorService {
  readonly #options: ServiceOptions;
  readonly #handlers: Handlers;
  #assigned: { readonly uid: number } | null = null;

  constructor(options: ServiceOptions) {
    this.#options = options;
    this.#handlers = this.#makeHandlers();
  }

  handle<M extends MethodName>(
    method: M,
    params: MethodParams<M>,
  ): MethodResult<M> | Promise<MethodResult<M>> {
    if (process.env['PHOS_FAULT'] === undefined) return this.#handlers[method](params);
    return this.#withFaults(method, params);
  }

  /** Every method is a fault point before its work and after it. */
  async #withFaults<M extends MethodName>(
    method: M,
    params: MethodParams<M>,
  ): Promise<MethodResult<M>> {
    passFault(`executor.${method}.before`);
    const result = await this.#handlers[method](params);
    passFault(`executor.${method}.after`);
    return result;
  }

  #makeHandlers(): Handlers {
    const { executor, exit } = this.#options;
    return {
      status: () => this.#status(),
      assign: (params) => this.#assign(params),
      expect: (params) => this.#expect(params),
      'gate.close': () => {
        executor.closeGate();
        return {};
      },
      'gate.open': () => {
        executor.openGate();
        return {};
      },
      'ring.head': () => ({ head: executor.readHead() }),
      'drain.to': ({ cut, deadlineMs }) => executor.drainTo(cut, deadlineMs),
      'agent.disconnect': async ({ deadlineMs }) => {
        await executor.disconnectAgent(deadlineMs);
        return {};
      },
      explain: () => ({ objects: [...executor.explain()] }),
      calibrate: () => this.#calibrate(),
      save: async (params) =>
        saveAnswer(
          await executor.save(
            { directory: params.directory, ...writing(params) },
            this.#progress('save'),
          ),
        ),
      'save.prepare': async ({ mode }) => ({ bytes: await executor.savePrepare(mode) }),
      'save.begin': (params) =>
        executor.saveBegin({
          directory: params.directory,
          mode: params.mode,
          openGate: params.openGate,
          deadlineMs: params.deadlineMs,
          ...writing(params),
        }),
      'save.finish': async () =>
        saveAnswer(await executor.saveFinish(this.#progress('save.finish'))),
      'save.abort': async () => {
        await executor.saveAbort();
        return {};
      },
      load: ({ directory, content = false, key = null }) =>
        executor.load(
          { directory, lanes: LANES, content, key: bytesOf(key) },
          this.#progress('load'),
        ),
      suspend: () => executor.suspend(this.#progress('suspend')),
      resume: () => executor.resume(this.#progress('resume')),
      exit: () => {
        exit();
        return {};
      },
    };
  }

  #status(): MethodResult<'status'> {
    const { id, executor } = this.#options;
    const status = executor.status();
    return {
      id,
      pid: process.pid,
      startTime: processStartTime(process.pid),
      ...status,
      unsupportedCalls: [...status.unsupportedCalls],
    };
  }

  /** A program that is served already would feel it: then nothing is told. */
  #calibrate(): MethodResult<'calibrate'> {
    const { device } = this.#options.executor.status();
    if (this.#assigned !== null || device === null) return { bytes: 0n, ms: 0 };
    return calibrate(device.driver);
  }

  #assign(params: MethodParams<'assign'>): Record<string, never> {
    if (this.#assigned !== null) {
      throw new PhosError(
        'CONFLICT',
        `Executor ${this.#options.id} has a client already; assign another executor.`,
      );
    }
    const { uid, gid } = params;
    // Root serves a user's program with that user's rights only; without root there is one user.
    const differs = uid !== process.getuid?.() || gid !== process.getgid?.();
    if (process.getuid?.() === 0 && differs) {
      setCredentials(uid, gid);
    } else if (uid !== process.getuid?.()) {
      throw new PhosError(
        'PERMISSION',
        `Serving a program of user ${uid} needs a phosd that runs as root or as that user.`,
      );
    }
    this.#assigned = { uid };
    this.#expectClient(params, uid);
    return {};
  }

  #expect(params: MethodParams<'expect'>): Record<string, never> {
    if (this.#assigned === null) {
      throw new PhosError(
        'CONFLICT',
        `Executor ${this.#options.id} has no client yet; assign one first.`,
      );
    }
    this.#expectClient(params, this.#assigned.uid);
    return {};
  }

  #expectClient(params: MethodParams<'expect'>, uid: number): void {
    const { clientId, token, pid, environment } = params;
    this.#options.executor.expectClient({ clientId, token, pid, uid, environment });
    process.title = `phos-executor ${this.#options.id} client ${pid === 0 ? clientId : pid}`;
  }

  #progress(method: MethodName): OnProgress {
    return (progress) => this.#options.tell({ event: 'progress', params: { method, ...progress } });
  }
}

function saveAnswer(saved: SaveResult): MethodResult<'save'> {
  const missed = saved.validationMissed;
  return {
    ...saved,
    files: [...saved.files],
    validationMissed: missed === null ? null : { ...missed, kernels: [...missed.kernels] },
  };
}

/** A native event as it is told to every connection. */
export function noticeOf(event: ExecutorEvent): ExecutorNotice {
  const { type, ...params } = event;
  return { event: type, params } as ExecutorNotice;
}
