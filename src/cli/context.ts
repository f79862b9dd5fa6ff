// SPDX-License-Identifier: Apache-2.0
// What every command starts from: folders, a client of phosd, and where its words go.
import { homedir, tmpdir } from 'node:os';
import type { Command } from 'commander';
import { type ControlClient, controlClient } from '../control/client.ts';
import { PhosError } from '../errors/phos-error.ts';
import { isId } from '../model/ids.ts';
import { phosFolders, type PhosFolders, runtimePaths } from '../model/runtime-dir.ts';
import { Output } from './output.ts';

/** A question that phosd answers from memory. */
export const ASK_MS = 15_000;

export function folders(): PhosFolders {
  return phosFolders({
    environment: process.env,
    uid: process.getuid?.() ?? 0,
    homeDir: homedir(),
    tempDir: tmpdir(),
  });
}

export function client(): ControlClient {
  return controlClient(runtimePaths(folders().runtimeDir).controlSocket);
}

/** Adds --json to a command and gives its action an Output and a way to tell the exit code. */
export function action<Args extends unknown[], Options>(
  command: Command,
  run: (output: Output, options: Options, ...args: Args) => Promise<number | void>,
): Command {
  return command.option('--json', 'print one JSON object', false).action(async (...given) => {
    // commander appends options and the command itself to the arguments.
    const options = given.at(-2) as Options & { readonly json: boolean };
    const args = given.slice(0, -2) as Args;
    const output = new Output(options.json);
    pending = run(output, options, ...args).then(
      (code) => code ?? 0,
      (thrown: unknown) => exitOf(output.failure(thrown)),
    );
    await pending;
  });
}

let pending: Promise<number> = Promise.resolve(0);
let exitOf: (error: PhosError) => number = () => 70;

/** The exit code of the command that ran. */
export function outcome(): Promise<number> {
  return pending;
}
export function setExitCodes(of: (error: PhosError) => number): void {
  exitOf = of;
}

/**
 * The root process that a user means: a pid, or the id of a run job.
 *
 * @throws PhosError USAGE, NOT_FOUND
 */
export async function resolveTarget(target: string): Promise<number> {
  if (/^\d{1,9}$/.test(target)) return Number(target);
  if (!isId('keeper', target)) {
    throw new PhosError('USAGE', `'${target}' is neither a pid nor a job id; see phos ps`);
  }
  const { runs } = await client().list({}, { timeoutMs: ASK_MS });
  const run = runs.find((one) => one.keeperId === target);
  if (run !== undefined) return run.pid;
  throw new PhosError('NOT_FOUND', `there is no job ${target}; see phos ps`);
}

const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 };

/** A time such as 50ms, 1.5s, 2m or 1h, in milliseconds. @throws PhosError USAGE */
export function parseDuration(text: string): number {
  const [, count, unit = 'ms'] = /^(\d+(?:\.\d+)?)(ms|s|m|h)?$/.exec(text) ?? [];
  const value = Number(count) * (unitMs[unit] ?? 1);
  if (value > 0 && value <= 86_400_000) return value;
  throw new PhosError('USAGE', `'${text}' is not a time such as 50ms, 30s or 5m`);
}

export function parseMs(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0 && value <= 86_400_000) return value;
  throw new PhosError('USAGE', `'${text}' is not a number of milliseconds`);
}
