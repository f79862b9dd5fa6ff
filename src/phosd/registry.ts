// SPDX-License-Identifier: Apache-2.0
// registry.json: what a phosd that comes back must know and cannot ask anybody. Written to a
// temporary file and renamed, so that a reader sees the old state or the new one.
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { emptyRegistry, type Registry, registrySchema } from '../model/domain.ts';

export class RegistryFile {
  readonly #path: string;
  readonly #collect: () => Registry;
  readonly #onError: (thrown: unknown) => void;
  #pending = false;
  #written = '';
  #closed = false;

  constructor(path: string, collect: () => Registry, onError: (thrown: unknown) => void) {
    this.#path = path;
    this.#collect = collect;
    this.#onError = onError;
  }

  /** What an earlier phosd left; `damaged` when the file could not be understood. */
  static read(path: string): { readonly registry: Registry; readonly damaged: string | null } {
    let text: string;
    try {
      text = readFileSync(path, 'utf8');
    } catch (thrown) {
      if ((thrown as { code?: unknown }).code === 'ENOENT') {
        return { registry: emptyRegistry, damaged: null };
      }
      throw thrown;
    }
    try {
      return { registry: registrySchema.parse(JSON.parse(text)), damaged: null };
    } catch (thrown) {
      // Executors and keepers are found through their sockets as well, so nothing is lost but
      // names; it is told, and the file is written anew.
      return {
        registry: emptyRegistry,
        damaged: thrown instanceof Error ? thrown.message : String(thrown),
      };
    }
  }

  /** Something changed: it is written before this turn of the event loop ends. */
  changed(): void {
    if (this.#pending || this.#closed) return;
    this.#pending = true;
    queueMicrotask(() => this.flush());
  }

  flush(): void {
    this.#pending = false;
    if (this.#closed) return;
    try {
      const text = `${JSON.stringify(this.#collect(), null, 2)}\n`;
      if (text === this.#written) return;
      const temporary = `${this.#path}.new`;
      writeFileSync(temporary, text, { mode: 0o600, flush: true });
      renameSync(temporary, this.#path);
      this.#written = text;
    } catch (thrown) {
      this.#onError(thrown);
    }
  }

  close(): void {
    this.flush();
    this.#closed = true;
  }
}
