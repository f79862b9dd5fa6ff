// SPDX-License-Identifier: Apache-2.0
// Benchmarks set themselves up all at once and then measure one after the other, each with the
// machine to itself.

import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

export class Turns {
  #waiting;
  #allReady;
  #open;
  #last = Promise.resolve();

  /** @param {number} count how many set themselves up before anybody measures */
  constructor(count) {
    this.#waiting = count;
    this.#allReady = new Promise((resolve) => {
      this.#open = resolve;
    });
    if (count === 0) this.#open();
  }

  /** One is set up, or has failed to; call it once for each. */
  ready() {
    this.#waiting -= 1;
    if (this.#waiting === 0) this.#open();
  }

  /** Runs `measure` when all are ready and nobody else measures. */
  async take(measure) {
    const before = this.#last;
    let done = () => {};
    this.#last = new Promise((resolve) => {
      done = resolve;
    });
    try {
      await this.#allReady;
      await before;
      return await measure();
    } finally {
      done();
    }
  }
}

/** A program that answers lines on its standard input with lines on its standard output. */
export class Talker {
  #child;
  #lines = [];
  #wake = () => {};
  #over = null;
  stderr = '';

  constructor([program, ...args], env) {
    this.#child = spawn(program, args, {
      env: { ...process.env, ...env },
      stdio: ['pipe', 'pipe', 'pipe'],
      detached: true,
    });
    this.#child.stderr.setEncoding('utf8').on('data', (text) => {
      this.stderr = (this.stderr + text).slice(-65_536);
    });
    this.#child.stdin.on('error', () => {}); // its end is seen below
    createInterface({ input: this.#child.stdout }).on('line', (line) => {
      this.#lines.push(line);
      this.#wake();
    });
    const over = (why) => {
      this.#over ??= why;
      this.#wake();
    };
    this.#child.on('error', (error) => over(error.message));
    this.#child.on('close', (code, signal) => over(`ended with ${signal ?? code}`));
  }

  /** The next line that `accepts` takes; what comes before it is dropped. */
  async line(accepts, deadlineMs) {
    const end = performance.now() + deadlineMs;
    for (;;) {
      while (this.#lines.length > 0) {
        const line = this.#lines.shift();
        if (accepts(line)) return line;
      }
      if (this.#over !== null) throw new Error(this.#over);
      const left = end - performance.now();
      if (left <= 0) throw new Error(`no answer within ${Math.round(deadlineMs / 1000)} s`);
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, left);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = () => {};
    }
  }

  async ask(text, deadlineMs) {
    this.#child.stdin.write(`${text}\n`);
    return JSON.parse(await this.line((line) => line.startsWith('{'), deadlineMs));
  }

  close() {
    if (this.#over !== null || this.#child.pid === undefined) return;
    try {
      process.kill(-this.#child.pid, 'SIGTERM');
    } catch (error) {
      if (error.code !== 'ESRCH') throw error;
    }
  }
}
