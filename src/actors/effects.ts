// SPDX-License-Identifier: Apache-2.0
// Effects of one job. A machine that leaves a state aborts the port it invoked there; the effect
// itself ends a little later, and until then nothing may be put back under its hands. So every
// port of a job runs through here, and `settle` waits for those that were interrupted.
import { fromPromise, type PromiseActorLogic } from 'xstate';

/** @typeParam Input what every port of the machine is given: its context */
export class Effects<Input> {
  readonly #running = new Set<Promise<unknown>>();

  /** A port bound to an effect. The signal is aborted when the machine no longer waits. */
  bind<Output>(
    effect: (input: Input, signal: AbortSignal) => Promise<Output>,
  ): PromiseActorLogic<Output, Input> {
    return fromPromise(({ input, signal }) => this.#track(effect(input, signal)));
  }

  /** Resolves when every effect begun so far has come to rest, however it ended. */
  async settle(): Promise<void> {
    // The port that settles is not itself tracked; see `settled`.
    await Promise.allSettled(this.#running);
  }

  /** The port `settle` of every job machine. */
  settled(): PromiseActorLogic<void, Input> {
    return fromPromise(() => this.settle());
  }

  #track<T>(promise: Promise<T>): Promise<T> {
    const quiet = promise.catch(() => undefined).finally(() => this.#running.delete(quiet));
    this.#running.add(quiet);
    return promise;
  }
}

/** Runs one step on every item at once; waits for all, then throws the first failure. */
export async function onAll<T, R>(
  items: readonly T[],
  step: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const outcomes = await Promise.allSettled(items.map(step));
  return outcomes.map((outcome) => {
    if (outcome.status === 'rejected') throw outcome.reason;
    return outcome.value;
  });
}

/** Waits until `holds`, looked at whenever `changed` says so. @throws the signal's reason */
export function waitFor(
  holds: () => boolean,
  subscribe: (changed: () => void) => () => void,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    let unsubscribe: () => void = () => undefined;
    const end = (finish: () => void): void => {
      signal.removeEventListener('abort', onAbort);
      unsubscribe();
      finish();
    };
    const onAbort = (): void => end(() => reject(signal.reason as Error));
    const look = (): void => {
      try {
        if (holds()) end(resolve);
      } catch (thrown) {
        end(() => reject(thrown as Error));
      }
    };
    signal.addEventListener('abort', onAbort);
    unsubscribe = subscribe(look);
    if (signal.aborted) onAbort();
    else look();
  });
}
