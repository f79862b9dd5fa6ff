// SPDX-License-Identifier: Apache-2.0
// Starting keepers: the process that holds a job's input and output (native/keeper).
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { z } from 'zod';
import { PhosError } from '../errors/phos-error.ts';
import { nativeUrl } from '../model/locate.ts';
import { parseProblem } from './keeper-connection.ts';

/** What every keeper needs to know of its job. */
export interface KeeperJob {
  readonly id: string;
  readonly socketPath: string;
  /** Logs for output while nobody is attached; '' throws it away. */
  readonly logOut: string;
  readonly logErr: string;
  /** File for the exit status; '' for none. */
  readonly exitFile: string;
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
  /** Folder of the job's cgroup; null leaves it in phosd's. */
  readonly cgroup: string | null;
  /** A terminal of this size, or null for pipes. */
  readonly pty: { readonly rows: number; readonly columns: number } | null;
  /** Output waits this long for the first one to attach, then goes to the log; 0: at once. */
  readonly holdMs: number;
  /** How long an exit status waits for somebody to ask for it. */
  readonly lingerMs: number;
}

export interface RunJob extends KeeperJob {
  readonly argv: readonly string[];
  readonly cwd: string;
  readonly umask: number;
  readonly environment: Readonly<Record<string, string>>;
}

/** How a keeper brings a tree back: CRIU's command line and what it hands over. */
export interface RestoreJob extends KeeperJob {
  readonly criuArguments: readonly string[];
  readonly criuEnvironment: Readonly<Record<string, string>>;
  readonly pidFile: string;
  /** CRIU's names of the ends in the image; null where the program had none. */
  readonly inherit: {
    readonly stdin: string | null;
    readonly stdout: string | null;
    readonly stderr: string | null;
    readonly tty: string | null;
  };
  /** File with input that the program had not read; null for none. */
  readonly stdinFile: string | null;
  readonly stdinEof: boolean;
  readonly termios: string;
  readonly deadlineMs: number;
}

export interface StartedJob {
  readonly keeperPid: number;
  readonly pid: number;
  readonly startTime: bigint;
}

const startedSchema = z.object({
  keeperPid: z.number().int(),
  pid: z.number().int(),
  startTime: z.string().transform(BigInt),
});

type Pairs = readonly (readonly [string, string | number])[];

function commonPairs(job: KeeperJob): Pairs {
  return [
    ['id', job.id],
    ['socket', job.socketPath],
    ['log-out', job.logOut],
    ['log-err', job.logErr],
    ['exit-file', job.exitFile],
    ['uid', job.uid],
    ['gid', job.gid],
    ...job.groups.map((group) => ['group', group] as const),
    ['cgroup', job.cgroup ?? ''],
    ['pty', job.pty === null ? '0' : '1'],
    ...(job.pty === null
      ? []
      : ([
          ['rows', job.pty.rows],
          ['columns', job.pty.columns],
        ] as const)),
    ['hold-ms', job.holdMs],
    ['linger-ms', job.lingerMs],
  ];
}

function environmentPairs(environment: Readonly<Record<string, string>>): Pairs {
  return Object.entries(environment).map(([name, value]) => ['env', `${name}=${value}`] as const);
}

function encodePairs(pairs: Pairs): Buffer {
  for (const [name, value] of pairs) {
    if (String(value).includes('\0')) {
      throw new PhosError('USAGE', `the ${name} of a job holds a zero byte`);
    }
  }
  return Buffer.from(pairs.map(([name, value]) => `${name}\0${value}\0`).join(''));
}

/**
 * Starts a program under a keeper of its own.
 *
 * @returns when the program runs
 * @throws PhosError NOT_FOUND or PERMISSION when it cannot be executed, TIMEOUT
 */
export function startKeeper(job: RunJob, deadlineMs: number): Promise<StartedJob> {
  const pairs: Pairs = [
    ...commonPairs(job),
    ['cwd', job.cwd],
    ['umask', job.umask.toString(8)],
    ...job.argv.map((argument) => ['arg', argument] as const),
    ...environmentPairs(job.environment),
  ];
  return launch('run', encodePairs(pairs), deadlineMs);
}

/**
 * Brings a dumped tree back under a keeper of its own, which runs CRIU.
 *
 * @returns when the tree runs again
 * @throws PhosError what the keeper says; CRIU's reason is in its log (see criu-log.ts)
 */
export function restoreUnderKeeper(job: RestoreJob, deadlineMs: number): Promise<StartedJob> {
  const pairs: Pairs = [
    ...commonPairs(job),
    ...job.criuArguments.map((argument) => ['arg', argument] as const),
    ...environmentPairs(job.criuEnvironment),
    ['pid-file', job.pidFile],
    ['inherit-stdin', job.inherit.stdin ?? ''],
    ['inherit-stdout', job.inherit.stdout ?? ''],
    ['inherit-stderr', job.inherit.stderr ?? ''],
    ['inherit-tty', job.inherit.tty ?? ''],
    ['stdin-file', job.stdinFile ?? ''],
    ['stdin-eof', job.stdinEof ? '1' : '0'],
    ['termios', job.termios],
    ['deadline-ms', job.deadlineMs],
  ];
  return launch('restore', encodePairs(pairs), deadlineMs);
}

/** Path of the keeper of this build. */
export function keeperPath(): string {
  return fileURLToPath(nativeUrl('bin/phos-keeper', process.env['PHOS_BUILD_DIR'] ?? null));
}

async function launch(
  mode: string,
  specification: Buffer,
  deadlineMs: number,
): Promise<StartedJob> {
  // Its own environment is bare: a preloaded library is for the program, not for its keeper.
  const child = spawn(keeperPath(), [mode], {
    detached: true,
    stdio: ['pipe', 'pipe', 'ignore'],
    cwd: '/',
    env: { LANG: 'C.UTF-8', PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' },
  });
  child.unref();
  const chunks: Buffer[] = [];
  const answered = new Promise<string>((resolve, reject) => {
    child.once('error', reject);
    child.stdin.once('error', reject);
    child.stdout.on('data', (data: Buffer) => chunks.push(data));
    child.stdout.once('close', () => resolve(Buffer.concat(chunks).toString('utf8')));
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), deadlineMs);
  child.stdin.end(specification);
  try {
    const line = (await answered).trim();
    if (line.startsWith('{"error"')) throw parseProblem(line);
    if (line === '') throw silent(mode, deadlineMs, child.killed);
    return startedSchema.parse(JSON.parse(line));
  } catch (thrown) {
    if (thrown instanceof PhosError) throw thrown;
    throw new PhosError(
      'UNAVAILABLE',
      `the keeper could not be started from ${keeperPath()} (${String(thrown)}); run npm run setup`,
      { cause: thrown },
    );
  } finally {
    clearTimeout(timer);
    child.stdout.destroy();
  }
}

function silent(mode: string, deadlineMs: number, killed: boolean): PhosError {
  return killed
    ? new PhosError('TIMEOUT', `the keeper did not ${mode} its program within ${deadlineMs} ms`)
    : new PhosError('INTERNAL', `the keeper ended before it could ${mode} its program`);
}
