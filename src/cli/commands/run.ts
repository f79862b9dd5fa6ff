// SPDX-License-Identifier: Apache-2.0
// run and ps.
import type { Command } from 'commander';
import { RUN_FAILED } from '../../errors/exit-code.ts';
import type { Client, RunJob } from '../../gen/proto/phos/v1/control_pb.ts';
import { deadlines } from '../../model/limits.ts';
import { action, ASK_MS, client } from '../context.ts';
import { follow, terminalSize } from '../foreground.ts';
import { bytes, table } from '../format.ts';
import type { Output } from '../output.ts';

interface RunOptions {
  readonly detach: boolean;
  readonly tty: boolean;
}

export function addRunCommands(program: Command): void {
  action(
    program
      .command('run')
      .description('run a program under phos; exits as the program does, 125 when phos fails')
      .argument('<program>', 'program to run, found as a shell would')
      .argument('[arguments...]', 'its arguments')
      .option('-d, --detach', 'leave it in the background; its output goes to a log', false)
      .option('--no-tty', 'give it pipes even when this is a terminal')
      .passThroughOptions(),
    run,
  );
  action(program.command('ps').description('list the programs under phos'), list);
}

async function run(
  output: Output,
  options: RunOptions,
  program: string,
  args: readonly string[],
): Promise<number> {
  const size = options.detach || !options.tty ? null : terminalSize();
  let started: Awaited<ReturnType<ReturnType<typeof client>['run']>>;
  try {
    started = await client().run(
      {
        argv: [program, ...args],
        cwd: process.cwd(),
        environment: environment(),
        umask: process.umask(),
        attach: !options.detach,
        ...(size === null ? {} : { pty: size }),
      },
      { timeoutMs: deadlines.keeperStartMs + ASK_MS },
    );
  } catch (thrown) {
    output.failure(thrown);
    return RUN_FAILED;
  }
  if (!options.detach) return follow(started.socketPath, size, output);
  const { keeperId, pid, logOut, logErr } = started;
  output.result({ jobId: keeperId, pid, logOut, logErr }, `${keeperId} ${pid}`);
  return 0;
}

function environment(): Record<string, string> {
  return Object.fromEntries(
    Object.entries(process.env).filter((pair): pair is [string, string] => pair[1] !== undefined),
  );
}

async function list(output: Output): Promise<void> {
  const { clients, runs } = await client().list({}, { timeoutMs: ASK_MS });
  output.result(
    {
      clients: clients.map(clientData),
      runs: runs.map((one) => ({
        jobId: one.keeperId,
        pid: one.pid,
        uid: one.uid,
        argv: one.argv,
        stdio: one.stdio,
        state: one.state,
      })),
    },
    [clientTable(clients), runTable(runs), ...clients.flatMap(remarks)]
      .filter((text) => text !== '')
      .join('\n'),
  );
}

function clientData(one: Client) {
  const { keeperId, jobId, ...rest } = one;
  return { ...rest, jobId: keeperId, busyWith: jobId };
}

function clientTable(clients: readonly Client[]): string {
  return table(
    ['PID', 'COMMAND', 'STATE', 'EXECUTOR', 'DEVICE', 'MEMORY', 'OBJECTS', 'CALLS', 'JOB'],
    clients.map((one) => [
      String(one.pid),
      one.command,
      one.jobId === '' ? one.state : `${one.state} (${one.jobId})`,
      one.executorPid === 0 ? one.executorId : `${one.executorId}/${one.executorPid}`,
      `${one.driver}:${one.ordinal}`,
      bytes(one.deviceBytes),
      String(one.objects),
      String(one.commands),
      one.keeperId,
    ]),
  );
}

function runTable(runs: readonly RunJob[]): string {
  if (runs.length === 0) return '';
  return `\n${table(
    ['JOB', 'PID', 'STATE', 'STDIO', 'COMMAND'],
    runs.map((one) => [one.keeperId, String(one.pid), one.state, one.stdio, one.argv.join(' ')]),
  )}`;
}

/** What is wrong with a client, a line each. */
function remarks(one: Client): string[] {
  const who = `process ${one.pid}`;
  return [
    ...(one.failure === '' ? [] : [`${who}: ${one.failure}`]),
    ...(one.contextError === 0
      ? []
      : [`${who}: its context failed with CUDA error ${one.contextError}`]),
    ...(one.deferredErrors === 0n
      ? []
      : [`${who}: ${one.deferredErrors} commands failed after they were accepted`]),
    ...(one.unsupportedCalls.length === 0
      ? []
      : [`${who}: calls that phos does not support: ${one.unsupportedCalls.join(', ')}`]),
  ];
}
