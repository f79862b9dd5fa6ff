// SPDX-License-Identifier: Apache-2.0
// The step counter of the example, as it arrives on stderr: how far it is, and how long it paused.

export class StepCounter {
  /** Steps in the order in which they were told, with the time of arrival in milliseconds. */
  readonly seen: { readonly step: number; readonly at: number }[] = [];
  private readonly waiting: { readonly step: number; readonly resolve: () => void }[] = [];

  /** Takes a line of the program's stderr; lines that tell no step are left alone. */
  readonly take = (line: string): void => {
    const match = /^step (\d+)\/\d+ /.exec(line);
    if (match === null) return;
    const step = Number(match[1]);
    this.seen.push({ step, at: performance.now() });
    for (const { resolve } of this.waiting.filter((waiter) => waiter.step <= step)) resolve();
  };

  get latest(): number {
    return this.seen.at(-1)?.step ?? 0;
  }

  /** Resolves when this step has been told; rejects when it has not within the deadline. */
  reached(step: number, timeoutMs: number): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error(`step ${step} was not reached within ${timeoutMs} ms`));
      }, timeoutMs);
      const done = (): void => {
        clearTimeout(timer);
        resolve();
      };
      if (this.latest >= step) done();
      else this.waiting.push({ step, resolve: done });
    });
  }

  /** Longest pause between two steps that were told after `since`, in milliseconds. */
  longestPause(since: number): number {
    let longest = 0;
    for (const [index, { at }] of this.seen.entries()) {
      const before = this.seen[index - 1];
      if (before !== undefined && at >= since) longest = Math.max(longest, at - before.at);
    }
    return longest;
  }
}

/** What the example says of itself at its end. */
export function timesOf(stderr: string): { readonly startupS: number; readonly stepsS: number } {
  const match = /times: startup ([\d.]+) s, steps ([\d.]+) s/.exec(stderr);
  if (match === null) throw new Error(`the program told no times:\n${stderr.slice(-1000)}`);
  return { startupS: Number(match[1]), stepsS: Number(match[2]) };
}
