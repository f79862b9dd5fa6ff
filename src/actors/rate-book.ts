// SPDX-License-Identifier: Apache-2.0
// What this phosd knows of how fast its node moves bytes: constants of its kind of device first,
// then a copy that its first executor times at warm-up, then what jobs measured.
import { assumedRates, learn, type RateName, type Rates } from '../model/rates.ts';
import type { ExecutorProcess } from './executor-process.ts';

/** A trial copy of 32 MiB, twice. */
const CALIBRATE_MS = 10_000;

export class RateBook {
  #rates: Rates;
  #calibrating: Promise<void> | null = null;

  constructor(driver: 'sim' | 'cuda') {
    this.#rates = assumedRates[driver];
  }

  get rates(): Rates {
    return this.#rates;
  }

  measured(name: RateName, bytes: bigint, ms: number): void {
    this.#rates = { ...this.#rates, [name]: learn(this.#rates[name], bytes, ms, 'measured') };
  }

  /** Has a warm executor time a copy, once in the life of this phosd. */
  calibrate(executor: ExecutorProcess): Promise<void> {
    this.#calibrating ??= this.#measure(executor);
    return this.#calibrating;
  }

  async #measure(executor: ExecutorProcess): Promise<void> {
    const { bytes, ms } = await executor.request('calibrate', {}, CALIBRATE_MS);
    // An executor on a device that only the device itself can time has nothing to tell.
    if (bytes === 0n || this.#rates.copy.source === 'measured') return;
    for (const name of ['copy', 'hash'] as const) {
      const rate = learn(this.#rates[name], bytes, ms, 'calibrated');
      this.#rates = { ...this.#rates, [name]: rate };
    }
  }
}
