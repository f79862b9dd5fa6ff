// SPDX-License-Identifier: Apache-2.0
// Running a command as a step of the set-up: with a deadline, its output kept for the failure
// message, and one line of progress on stderr. Standard output belongs to the npm script.

import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** The folder that holds package.json, without a slash at its end. */
export const root = fileURLToPath(new URL('../..', import.meta.url)).replace(/\/$/, '');

/** A step that failed: what was being done, and what to do about it. */
export class SetupError extends Error {
  /**
   * @param {string} message what failed
   * @param {string} cure what the user can do
   */
  constructor(message, cure) {
    super(`${message}\n  To mend it: ${cure}`);
    this.name = 'SetupError';
  }
}

/** @param {string} text one line for the person who waits */
export function say(text) {
  process.stderr.write(`setup: ${text}\n`);
}

/**
 * Runs a command to its end.
 *
 * @param {string[]} command program and arguments
 * @param {{ timeoutMs: number, cwd?: string, env?: Record<string, string>, echo?: boolean }} how
 *   echo sends the output to stderr as it comes
 * @returns {Promise<{ code: number | null, output: string, stdout: string, timedOut: boolean }>}
 *   code is null when the program could not be started or was ended by a signal
 */
export function capture(command, how) {
  const [program, ...args] = command;
  return new Promise((resolve) => {
    // A group of its own, so that the deadline ends what the command started as well.
    const child = spawn(program ?? '', args, {
      cwd: how.cwd ?? root,
      env: { ...process.env, ...how.env },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    const parts = [];
    const out = [];
    let timedOut = false;
    const keep = (isOut) => (data) => {
      parts.push(data);
      if (isOut) out.push(data);
      if (how.echo === true) process.stderr.write(data);
    };
    child.stdout.on('data', keep(true));
    child.stderr.on('data', keep(false));
    const endGroup = () => {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
      } catch (error) {
        if (error.code !== 'ESRCH') throw error;
      }
    };
    const timer = setTimeout(() => {
      timedOut = true;
      endGroup();
    }, how.timeoutMs);
    const onExit = () => endGroup();
    process.once('exit', onExit);
    const finish = (code, extra) => {
      clearTimeout(timer);
      process.removeListener('exit', onExit);
      const stdout = Buffer.concat(out).toString();
      resolve({ code, output: Buffer.concat(parts).toString() + extra, stdout, timedOut });
    };
    child.on('error', (error) => finish(null, String(error.message)));
    child.on('close', (code) => finish(code, ''));
  });
}

/**
 * Runs a command that must succeed, and says how long it took.
 *
 * @param {string} title what is being done, as a noun ("npm packages")
 * @param {string[]} command program and arguments
 * @param {{ timeoutMs: number, cure: string, quietMs?: number, cwd?: string,
 *   env?: Record<string, string> }} how quietMs: nothing is said of a step that ends within it
 * @returns {Promise<string>} the output
 */
export async function step(title, command, how) {
  const start = Date.now();
  let said = false;
  const announce = () => {
    said = true;
    say(`${title} ...`);
  };
  const timer = setTimeout(announce, how.quietMs ?? 0);
  const verbose = process.env['PHOS_SETUP_VERBOSE'] === '1';
  const result = await capture(command, { ...how, echo: verbose });
  clearTimeout(timer);
  const seconds = ((Date.now() - start) / 1000).toFixed(1);
  if (result.code !== 0) {
    if (!verbose) process.stderr.write(essence(result.output));
    const why = result.timedOut
      ? `took longer than ${how.timeoutMs / 1000} s`
      : `ended with code ${result.code}`;
    throw new SetupError(`${title}: \`${command.join(' ')}\` ${why}`, how.cure);
  }
  if (said) say(`${title}: done in ${seconds} s`);
  return result.output;
}

/** The part of a failed command's output that is worth reading: ninja's failures, or the end. */
function essence(output) {
  const lines = output.trimEnd().split('\n');
  const first = lines.findIndex((line) => line.startsWith('FAILED: '));
  if (first === -1) return `${lines.slice(-60).join('\n')}\n`;
  const kept = [];
  let inFailure = false;
  for (const line of lines.slice(first)) {
    if (line.startsWith('FAILED: ')) inFailure = true;
    else if (/^\[\d+\/\d+\] /.test(line)) inFailure = false;
    if (inFailure) kept.push(line.slice(0, 400));
  }
  return `${kept.slice(0, 120).join('\n')}\n`;
}
