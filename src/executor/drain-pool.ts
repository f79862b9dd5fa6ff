// SPDX-License-Identifier: Apache-2.0
// The thread that drains: a piscina pool of one.
import { Piscina } from 'piscina';
import { moduleExecArgv, moduleUrl } from '../model/locate.ts';
import type { DrainResult } from '../native/native.ts';
import type { DrainTask } from './worker.ts';

export class DrainPool {
  readonly #pool: Piscina;

  constructor() {
    this.#pool = new Piscina({
      filename: moduleUrl('src/executor/worker').href,
      minThreads: 1,
      maxThreads: 1,
      idleTimeout: Number.POSITIVE_INFINITY,
      // Between tasks the worker's event loop must run, not sit in Atomics.wait.
      atomics: 'disabled',
      execArgv: [...moduleExecArgv],
    });
  }

  /** Resolves when the drain has come back: after Executor.stop(). */
  run(key: bigint): Promise<DrainResult> {
    const task: DrainTask = { key: key.toString() };
    return this.#pool.run(task) as Promise<DrainResult>;
  }

  /** The drain must have come back. */
  close(): Promise<void> {
    return this.#pool.close();
  }
}
