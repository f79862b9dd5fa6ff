// SPDX-License-Identifier: Apache-2.0
// start, stop, status.
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { PhosError } from '../../errors/phos-error.ts';
import type { StatusResponse } from '../../gen/proto/phos/v1/control_pb.ts';
import { isAlive, type ProcessFacts, readProcess } from '../../host/proc.ts';
import { deadlines } from '../../model/limits.ts';
import { moduleExecArgv, moduleUrl } from '../../model/locate.ts';
import { action, ASK_MS, client, folders } from '../context.ts';
import { bytes, table } from '../format.ts';
import type { Output } from '../output.ts';

interface StartOptions {
  readonly foreground: boolean;
  readonly driver?: string;
  readonly devices?: string;
  readonly pool?: string;
}

export function addDaemonCommands(program: Command): void {
  action(
    program
      .command('start')
      .description('start phosd and wait until it is ready')
      .option('--foreground', 'stay in the foreground and log to stderr', false)
      .option('--driver <name>', 'sim or cuda (default: PHOS_DRIVER, else sim)')
      .option('--devices <n>', 'devices to take over')
      .option('--pool <n>', 'warm executors for each device'),
    start,
  );
  action(
    program
      .command('stop')
      .description('stop phosd')
      .option('--force', 'end the programs that run under phos', false)
      .option('--keep-clients', 'leave them running; phos start finds them again', false),
    stop,
  );
  action(program.command('status').description('tell how phosd is'), status);
}

async function start(output: Output, options: StartOptions): Promise<number> {
  const running = await askStatus();
  if (running !== null) {
    output.result(
      { ...summary(running), alreadyRunning: true },
      `phosd runs already as process ${running.pid}`,
    );
    return 0;
  }
  const args = [fileURLToPath(moduleUrl('src/phosd/main')), ...daemonArguments(options)];
  if (options.foreground) return foreground(args);
  const ready = await background(args);
  output.result(
    { ...summary(ready), alreadyRunning: false },
    `phosd is ready as process ${ready.pid}, log in ${ready.logFile}`,
  );
  return 0;
}

function daemonArguments(options: StartOptions): string[] {
  const pairs = Object.entries({
    '--driver': options.driver,
    '--devices': options.devices,
    '--pool': options.pool,
  });
  const named = pairs.flatMap(([name, value]) => (value === undefined ? [] : [name, value]));
  return options.foreground ? ['--foreground', ...named] : named;
}

/** Null when nobody listens. */
async function askStatus(): Promise<StatusResponse | null> {
  try {
    return await client().status({}, { timeoutMs: ASK_MS });
  } catch (thrown) {
    if (thrown instanceof PhosError && thrown.code === 'UNAVAILABLE') return null;
    throw thrown;
  }
}

function foreground(args: readonly string[]): Promise<number> {
  const child = spawn(process.execPath, [...moduleExecArgv, ...args], { stdio: 'inherit' });
  for (const name of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(name, () => child.kill(name));
  }
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => resolve(code ?? 70));
  });
}

async function background(args: readonly string[]): Promise<StatusResponse> {
  const { logDir } = folders();
  mkdirSync(logDir, { recursive: true, mode: 0o700 });
  const errors = `${logDir}/phosd.err`;
  const descriptor = openSync(errors, 'w', 0o600);
  const child = spawn(process.execPath, [...moduleExecArgv, ...args], {
    detached: true,
    stdio: ['ignore', descriptor, descriptor],
    cwd: '/',
  });
  closeSync(descriptor);
  child.unref();
  let ended = false;
  child.on('exit', () => {
    ended = true;
  });
  child.on('error', () => {
    ended = true;
  });
  for (const end = performance.now() + deadlines.daemonReadyMs; performance.now() < end; ) {
    if (ended) throw startFailed(child.exitCode, errors);
    const found = await askStatus();
    if (found?.state === 'ready') return found;
    await sleep(50);
  }
  child.kill('SIGTERM');
  throw new PhosError(
    'TIMEOUT',
    `phosd was not ready within ${deadlines.daemonReadyMs} ms; see ${logDir}/phosd.log`,
  );
}

// phosd ends with the exit code of its error and says it in one line.
function startFailed(exitCode: number | null, errors: string): PhosError {
  const said = readFileSync(errors, 'utf8').trim().split('\n');
  const line = said.map((one) => /^(?:phosd|error): (.*)$/.exec(one)?.[1]).find(Boolean);
  const code = exitCode === 10 ? 'CONFLICT' : exitCode === 4 ? 'PERMISSION' : 'UNAVAILABLE';
  return new PhosError(
    exitCode === 2 ? 'USAGE' : code,
    line ?? `phosd ended at once (${said.at(-1) ?? 'it said nothing'}); see ${errors}`,
  );
}

async function stop(
  output: Output,
  options: { readonly force: boolean; readonly keepClients: boolean },
): Promise<void> {
  const { force, keepClients } = options;
  const before = await client().status({}, { timeoutMs: ASK_MS });
  const daemon = readProcess(before.pid);
  const { endedClients } = await client().stop(
    { force, keepClients },
    { timeoutMs: deadlines.daemonStopMs },
  );
  await waitForEnd(daemon);
  output.result({ pid: before.pid, endedClients }, `phosd (process ${before.pid}) has stopped`);
}

async function waitForEnd(daemon: ProcessFacts | null): Promise<void> {
  for (const end = performance.now() + deadlines.daemonStopMs; performance.now() < end; ) {
    if (daemon === null || !isAlive(daemon)) return;
    await sleep(20);
  }
  throw new PhosError(
    'TIMEOUT',
    `phosd did not stop within ${deadlines.daemonStopMs} ms; see its log`,
  );
}

function summary(found: StatusResponse) {
  const { version, pid, state, runtimeDir, started, clients, logFile } = found;
  return { version, pid, state, runtimeDir, started, clients, logFile };
}

async function status(output: Output): Promise<void> {
  const found = await client().status({}, { timeoutMs: ASK_MS });
  const devices = table(
    ['DEVICE', 'DRIVER', 'STATE', 'NAME', 'MEMORY', 'WARM', 'STARTING', 'WAITING'],
    found.devices.map((one) => [
      String(one.ordinal),
      one.driver,
      one.failure === '' ? one.state : `${one.state} (${one.failure})`,
      one.name,
      bytes(one.totalBytes),
      `${one.warmExecutors}/${one.poolTarget}`,
      String(one.startingExecutors),
      String(one.waitingClients),
    ]),
  );
  const jobs = table(
    ['JOB', 'KIND', 'STATE', 'SINCE'],
    found.jobs.map((one) => [one.jobId, one.kind, one.state, one.started]),
  );
  output.result(
    { ...summary(found), devices: found.devices, jobs: found.jobs },
    [
      `phosd ${found.version}, process ${found.pid}, ${found.state} since ${found.started}`,
      `runtime folder ${found.runtimeDir}`,
      `log ${found.logFile === '' ? 'on its stderr' : found.logFile}`,
      `${found.clients} clients`,
      devices,
      ...(found.jobs.length === 0 ? [] : [jobs]),
    ].join('\n'),
  );
}
