// SPDX-License-Identifier: Apache-2.0
// phosd: one for a node and user. Stays in the foreground; `phos start` puts it into the background
// and waits until it is ready.
import { mkdirSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { Command, InvalidArgumentError } from 'commander';
import pino from 'pino';
import type { Log } from '../actors/supervisor.ts';
import { exitCodeOf } from '../errors/exit-code.ts';
import { PhosError } from '../errors/phos-error.ts';
import { limits } from '../model/limits.ts';
import { phosFolders } from '../model/runtime-dir.ts';
import { PhosNode } from './node.ts';
import { VERSION } from './version.ts';

interface Options {
  readonly foreground: boolean;
  readonly driver: 'sim' | 'cuda';
  readonly devices: number;
  readonly pool: number;
  readonly logLevel: string;
}

function parseOptions(argv: readonly string[]): Options {
  const program = new Command('phosd')
    .description('takes over the GPUs of a node; see phos start')
    .version(VERSION)
    .option('--foreground', 'log to stderr instead of to the log folder', false)
    .option(
      '--driver <name>',
      'sim or cuda',
      parseDriver,
      parseDriver(process.env['PHOS_DRIVER'] ?? 'sim'),
    )
    .option('--devices <n>', 'devices to take over', parseCount(64), 1)
    .option(
      '--pool <n>',
      'warm executors for each device',
      parseCount(limits.maxPoolTarget),
      limits.poolTarget,
    )
    .option(
      '--log-level <level>',
      'debug, info, warn or error',
      process.env['PHOS_LOG_LEVEL'] ?? 'info',
    )
    .exitOverride();
  program.parse(argv, { from: 'user' });
  return program.opts<Options>();
}

function parseDriver(text: string): 'sim' | 'cuda' {
  if (text === 'sim' || text === 'cuda') return text;
  throw new InvalidArgumentError('sim or cuda');
}

function parseCount(max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (Number.isInteger(value) && value >= 0 && value <= max) return value;
    throw new InvalidArgumentError(`a number from 0 to ${max}`);
  };
}

async function main(): Promise<void> {
  // Files of phosd are its own unless it says otherwise.
  process.umask(0o022);
  const options = parseOptions(process.argv.slice(2));
  const folders = phosFolders({
    environment: process.env,
    uid: process.getuid?.() ?? 0,
    homeDir: homedir(),
    tempDir: tmpdir(),
  });
  mkdirSync(folders.logDir, { recursive: true });
  const logFile = options.foreground ? null : `${folders.logDir}/phosd.log`;
  const logger = pino(
    {
      level: options.logLevel,
      base: { pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
    },
    pino.destination({ dest: logFile ?? 2, sync: true, mode: 0o600 }),
  );
  const log: Log = (level, message, facts) => logger[level](facts ?? {}, message);
  process.on('uncaughtException', (error) => {
    log('error', 'phosd ends on a fault of its own', {
      message: error.message,
      stack: error.stack,
    });
    process.exit(70);
  });
  const node = new PhosNode({
    folders,
    driver: options.driver,
    devices: options.devices,
    poolTarget: options.pool,
    logFile,
    log,
  });
  // A service manager that stops phosd stops nobody's program.
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      node.stop({ force: false, keepClients: true }).catch((thrown: unknown) => {
        log('warn', 'phosd was asked to stop and goes on', { signal, reason: String(thrown) });
      });
    });
  }
  // Its terminal may go away; phosd does not.
  process.on('SIGHUP', () => log('info', 'SIGHUP is ignored'));
  await node.start();
  log('info', 'phosd is ready', { version: VERSION, runtimeDir: node.paths.dir });
  await node.stopped;
  log('info', 'phosd has stopped');
}

try {
  await main();
  process.exit(0);
} catch (thrown) {
  const code = (thrown as { code?: unknown; exitCode?: unknown }).code;
  if (typeof code === 'string' && code.startsWith('commander.')) {
    process.exit((thrown as { exitCode: number }).exitCode === 0 ? 0 : 2);
  }
  const error = PhosError.from(thrown, 'starting phosd');
  process.stderr.write(`phosd: ${error.message}\n`);
  process.exit(exitCodeOf(error));
}
