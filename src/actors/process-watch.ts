// SPDX-License-Identifier: Apache-2.0
// Tells when processes end that phosd did not start. Node cannot wait on a pidfd, so /proc is
// looked at a few times a second; pid and start time together name a process, so that a reused pid
// is never mistaken for it.
import { isAlive, type ProcessKey } from '../host/proc.ts';

const PERIOD_MS = 100;

export class ProcessWatch {
  readonly #watched = new Map<string, { readonly key: ProcessKey; readonly onEnd: () => void }>();
  #timer: NodeJS.Timeout | null = null;

  /** `onEnd` is called once, when the process is dead (reaped or not). */
  add(name: string, key: ProcessKey, onEnd: () => void): void {
    this.#watched.set(name, { key, onEnd });
    this.#timer ??= setInterval(() => this.look(), PERIOD_MS).unref();
  }

  remove(name: string): void {
    this.#watched.delete(name);
  }

  /** Looks now: something hinted at an end. */
  look(): void {
    for (const [name, { key, onEnd }] of [...this.#watched]) {
      if (isAlive(key)) continue;
      this.#watched.delete(name);
      onEnd();
    }
  }

  close(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
    this.#watched.clear();
  }
}
