// SPDX-License-Identifier: Apache-2.0
// Commands with deadlines. Each runs in a process group of its own, so that ending one that is late
// ends what it started too.

import { spawn } from 'node:child_process';

const TAIL_BYTES = 1500;
const KEPT_BYTES = 4 << 20;
const numbers = { SIGHUP: 1, SIGINT: 2, SIGABRT: 6, SIGKILL: 9, SIGSEGV: 11, SIGTERM: 15 };

/** The end of a text: what is kept of the output of a case. */
export function tail(text) {
  return text.length <= TAIL_BYTES ? text : `...${text.slice(-TAIL_BYTES)}`;
}

/**
 * Starts a command; standard input is empty.
 *
 * @param {string[]} command program and arguments
 * @param {{deadlineMs: number, env?: Record<string, string>, cwd?: string,
 *   onLine?: (line: string) => void}} options onLine is called with each line of standard error
 * @returns {{child: import('node:child_process').ChildProcess, end: () => void, ended: Promise<{
 *   code: number, stdout: string, stderr: string, ms: number, late: boolean}>}} code is 128 + n
 *   after signal n, 127 when the program could not be started
 */
export function start([program, ...args], { deadlineMs, env = {}, cwd, onLine }) {
  const began = performance.now();
  const child = spawn(program, args, {
    cwd,
    env: { ...process.env, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  });
  const seen = { stdout: '', stderr: '', late: false };
  const end = (signal = 'SIGKILL') => endGroup(child, signal);
  const timer = setTimeout(() => {
    seen.late = true;
    // A command with something to undo (a phos that holds a job) gets a moment for it.
    end('SIGTERM');
    setTimeout(end, 2000).unref();
  }, deadlineMs);
  collect(child, seen, onLine);
  const ended = new Promise((resolve) => {
    const finish = (code) => {
      clearTimeout(timer);
      resolve({ code, ...seen, ms: Math.round(performance.now() - began) });
    };
    child.on('error', (error) => {
      seen.stderr += `${error.message}\n`;
      finish(127);
    });
    child.on('close', (code, signal) => finish(code ?? 128 + (numbers[signal] ?? 0)));
  });
  return { child, end, ended };
}

/** Runs a command to its end. */
export function run(command, options) {
  return start(command, options).ended;
}

function endGroup(child, signal) {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(-child.pid, signal);
  } catch (error) {
    // It ended between the look and the signal.
    if (error.code !== 'ESRCH') throw error;
  }
}

function collect(child, seen, onLine) {
  let partial = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    seen.stdout = (seen.stdout + text).slice(-KEPT_BYTES);
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    seen.stderr = (seen.stderr + text).slice(-KEPT_BYTES);
    if (onLine === undefined) return;
    const lines = (partial + text).split('\n');
    partial = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  });
}

/** Waits until `probe` gives something other than null, undefined and false; throws when late. */
export async function until(what, probe, deadlineMs = 20_000) {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const found = await probe();
    if (found !== null && found !== undefined && found !== false) return found;
    if (performance.now() > end) throw new Error(`${what}: not within ${deadlineMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
