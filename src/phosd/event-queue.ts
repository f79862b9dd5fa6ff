// SPDX-License-Identifier: Apache-2.0
// Events of a job on their way to whoever asked for it. Progress that nobody has fetched yet is
// replaced by newer progress, so that a slow reader costs no memory.
export class EventQueue<T extends { readonly event?: { readonly case?: string | undefined } }>
  implements AsyncIterable<T>
{
  #items: T[] = [];
  #wake: () => void = () => undefined;
  #end: { readonly error: Error | null } | null = null;

  push(item: T): void {
    const last = this.#items.at(-1);
    if (item.event?.case === 'progress' && last?.event?.case === 'progress') this.#items.pop();
    this.#items.push(item);
    this.#wake();
  }

  /** No more events; with a failure, or null. */
  end(error: Error | null): void {
    this.#end ??= { error };
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncIterator<T> {
    for (;;) {
      const item = this.#items.shift();
      if (item !== undefined) {
        yield item;
        continue;
      }
      if (this.#end !== null) {
        if (this.#end.error !== null) throw this.#end.error;
        return;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}
