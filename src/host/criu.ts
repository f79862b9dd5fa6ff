// SPDX-License-Identifier: Apache-2.0
// CRIU as an external program: where it is, whether it may be used, and one run of it.
import { execFile, spawn } from 'node:child_process';
import { accessSync, constants, mkdirSync, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { PhosError } from '../errors/phos-error.ts';
import { nativeUrl } from '../model/locate.ts';
import { explainCriuLog } from './criu-log.ts';
import { keeperPath } from './keeper.ts';
import { effectiveCapabilities, listProcesses, readProc } from './proc.ts';
import { errnoOf, waitUntil } from './wait.ts';

export const MINIMUM_CRIU = [4, 1] as const;
const CURE = 'run `npm run setup`, or name a CRIU 4.1 or newer in PHOS_CRIU';
const VERSION_DEADLINE_MS = 10_000;
/** What a CRIU that was made to fail has for putting everything back. */
const STOP_GRACE_MS = 60_000;
// capabilities(7): the two that let CRIU dump and restore.
const CAP_SYS_ADMIN = 21n;
const CAP_CHECKPOINT_RESTORE = 40n;
const CAP_SYS_RESOURCE = 24n;
/** Deleted files that a program still has open are saved up to this size. */
const GHOST_LIMIT = '1G';

export interface Criu {
  readonly path: string;
  /** As CRIU prints it: "4.1.1". */
  readonly version: string;
}

/** Where CRIU may be, best first. */
function candidates(environment: NodeJS.ProcessEnv): string[] {
  const named = environment['PHOS_CRIU'];
  // What the user names is used or refused; nothing else is tried behind his back.
  if (named !== undefined && named !== '') return [named];
  const onPath = (environment['PATH'] ?? '').split(delimiter).filter(Boolean);
  return [
    fileURLToPath(nativeUrl('bin/criu', environment['PHOS_BUILD_DIR'] ?? null)),
    fileURLToPath(nativeUrl('bin/criu', null)),
    ...[...onPath, '/usr/local/sbin', '/usr/sbin'].map((folder) => join(folder, 'criu')),
  ];
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch (thrown) {
    if (errnoOf(thrown) !== null) return false;
    throw thrown;
  }
}

/** "4.1.1" of `criu --version`, null when the program is something else or does not run. */
function versionOf(path: string): Promise<string | null> {
  return new Promise((resolve) => {
    execFile(path, ['--version'], { timeout: VERSION_DEADLINE_MS }, (error, stdout) => {
      resolve(error === null ? (/Version:\s*(\d+(?:\.\d+)+)/.exec(stdout)?.[1] ?? null) : null);
    });
  });
}

export function isNewEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  return major > MINIMUM_CRIU[0] || (major === MINIMUM_CRIU[0] && minor >= MINIMUM_CRIU[1]);
}

/**
 * Finds a CRIU that can be used.
 *
 * @throws PhosError UNAVAILABLE when there is none, UNSUPPORTED when all that there is is too old
 */
export async function findCriu(environment: NodeJS.ProcessEnv = process.env): Promise<Criu> {
  const old: string[] = [];
  for (const path of new Set(candidates(environment))) {
    if (!isExecutable(path)) continue;
    const version = await versionOf(path);
    if (version === null) continue;
    if (isNewEnough(version)) return { path, version };
    old.push(`${path} is ${version}`);
  }
  if (old.length > 0) {
    throw new PhosError('UNSUPPORTED', `CRIU is older than 4.1 (${old.join(', ')}); ${CURE}`);
  }
  const named = environment['PHOS_CRIU'];
  const where = named ? `PHOS_CRIU names ${named}, which is no CRIU` : 'CRIU was not found';
  throw new PhosError('UNAVAILABLE', `${where}; ${CURE}`);
}

/**
 * Holds when this process may dump and restore others.
 *
 * @throws PhosError PERMISSION with the cure
 */
export function checkMayCheckpoint(capabilities: bigint = effectiveCapabilities()): void {
  const has = (bit: bigint) => ((capabilities >> bit) & 1n) === 1n;
  if (has(CAP_SYS_ADMIN) || has(CAP_CHECKPOINT_RESTORE)) return;
  throw new PhosError(
    'PERMISSION',
    'dump and restore need root or CAP_CHECKPOINT_RESTORE; start phosd as root ' +
      '(suspend and resume work without)',
  );
}

/**
 * Holds when programs of these users may be dumped: CRIU reads their limits with prlimit(2), which
 * wants the same user or CAP_SYS_RESOURCE. Some containers leave that out of root's capabilities.
 *
 * @throws PhosError PERMISSION naming the user
 */
export function checkMayDumpUsers(
  uids: readonly number[],
  capabilities: bigint = effectiveCapabilities(),
): void {
  if (((capabilities >> CAP_SYS_RESOURCE) & 1n) === 1n) return;
  const other = uids.find((uid) => uid !== process.getuid?.());
  if (other === undefined) return;
  throw new PhosError(
    'PERMISSION',
    `a program of user ${other} cannot be dumped: phosd lacks CAP_SYS_RESOURCE, which CRIU needs ` +
      'for programs of another user; give the container or the service that capability',
    { details: { uid: other } },
  );
}

/** Options that dump and restore share: CRIU must treat files and sockets alike in both. */
function commonOptions(options: {
  readonly imagesDir: string;
  readonly workDir: string;
  readonly logFile: string;
  readonly shellJob: boolean;
}): string[] {
  return [
    '--images-dir',
    options.imagesDir,
    '--work-dir',
    options.workDir,
    '--log-file',
    options.logFile,
    '-v3',
    // Locks belong to the tree and are worth keeping; without this CRIU refuses any.
    '--file-locks',
    // Cgroups are phos's: the job's own was there before and the keeper makes the next one.
    '--manage-cgroups=ignore',
    ...(options.shellJob ? ['--shell-job'] : []),
    ...(process.getuid?.() === 0 ? [] : ['--unprivileged']),
  ];
}

export interface CriuDump {
  readonly rootPid: number;
  /** Existing, empty folder for CRIU's images; its log dump.log stays there. */
  readonly imagesDir: string;
  /** Cgroup that is frozen and holds the whole tree. */
  readonly freezeCgroup: string;
  /** "tty[rdev:dev]" of terminals whose other side is not in the tree. */
  readonly externalTtys: readonly string[];
  /**
   * The tree goes on after the dump. Frozen, it stays still all the same, and no signal touches it;
   * but CRIU then takes back the links it made to deleted files, and an image that needs one
   * (a file deleted under one name that lives on under another) cannot be restored.
   */
  readonly leaveRunning: boolean;
  /** The session's leader is not in the tree. */
  readonly shellJob: boolean;
  /** Connected TCP sockets are saved (to come back closed) rather than refused. */
  readonly closeTcp: boolean;
  readonly deadlineMs: number;
  readonly signal: AbortSignal | null;
}

/** Command line of a dump; the tree stays frozen whatever happens. */
export function dumpArguments(dump: CriuDump): string[] {
  return [
    'dump',
    '--tree',
    String(dump.rootPid),
    ...commonOptions({ ...dump, workDir: dump.imagesDir, logFile: 'dump.log' }),
    '--freeze-cgroup',
    dump.freezeCgroup,
    dump.leaveRunning ? '--leave-running' : '--leave-stopped',
    '--link-remap',
    '--ghost-limit',
    GHOST_LIMIT,
    '--skip-in-flight',
    ...(dump.closeTcp ? ['--tcp-established'] : []),
    ...dump.externalTtys.flatMap((name) => ['--external', name]),
  ];
}

/**
 * Runs a dump to its end.
 *
 * @throws PhosError what the log tells; TIMEOUT at the deadline; CANCELLED when aborted
 */
export async function runDump(criu: Criu, dump: CriuDump): Promise<void> {
  if (dump.signal?.aborted === true) throw new PhosError('CANCELLED', 'the dump was cancelled');
  const outcome = await runCriu(criu, dumpArguments(dump), dump.deadlineMs, dump.signal);
  if (outcome.ok) return;
  throw explainCriuLog(join(dump.imagesDir, 'dump.log'), 'dump', outcome.how);
}

export interface CriuRestore {
  readonly imagesDir: string;
  /** Writable folder for the log and the pid file: an image may be read-only. */
  readonly workDir: string;
  readonly shellJob: boolean;
  readonly closeTcp: boolean;
}

export const RESTORE_LOG = 'restore.log';
export const RESTORE_PID = 'restore.pid';

/** Command line of a restore, for the keeper, which adds the ends that it hands over. */
export function restoreArguments(criu: Criu, restore: CriuRestore): string[] {
  return [
    criu.path,
    'restore',
    ...commonOptions({ ...restore, logFile: RESTORE_LOG }),
    '--restore-detached',
    '--pidfile',
    join(restore.workDir, RESTORE_PID),
    ...(restore.closeTcp ? ['--tcp-close'] : []),
  ];
}

/**
 * The whole environment of CRIU. CRIU stops a process at the end of its visit with a hardware
 * breakpoint, which some virtual machines never deliver: the process then runs away in the middle
 * of the dump. Fault 130 of its own test hooks makes it trace system calls instead
 * (FI_NO_BREAKPOINTS in criu/include/fault-injection.h).
 */
export const criuEnvironment: Readonly<Record<string, string>> = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  LANG: 'C',
  CRIU_FAULT: '130',
};

interface Outcome {
  readonly ok: boolean;
  readonly how: string;
}

/**
 * Runs CRIU to its end. At the deadline, or when aborted, it is made to fail rather than killed:
 * the program would die with it (see native/keeper/main.cc). Only a CRIU that does not end even
 * then is killed.
 */
function runCriu(
  criu: Criu,
  args: readonly string[],
  deadlineMs: number,
  signal: AbortSignal | null,
): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(keeperPath(), ['stoppable', criu.path, ...args], {
      stdio: 'ignore',
      cwd: '/',
      env: criuEnvironment,
    });
    let stopped: PhosError | null = null;
    let grace: NodeJS.Timeout | null = null;
    const stop = (error: PhosError) => {
      if (stopped !== null) return;
      stopped = error;
      grace = setTimeout(() => child.kill('SIGKILL'), STOP_GRACE_MS);
      // Without effect when it has just ended, which is as good.
      execFile(keeperPath(), ['stop', String(child.pid)], () => undefined);
    };
    const timer = setTimeout(
      () => stop(new PhosError('TIMEOUT', `CRIU did not finish within ${deadlineMs} ms`)),
      deadlineMs,
    );
    const onAbort = () => stop(new PhosError('CANCELLED', 'the dump was cancelled'));
    signal?.addEventListener('abort', onAbort, { once: true });
    const done = () => {
      clearTimeout(timer);
      if (grace !== null) clearTimeout(grace);
      signal?.removeEventListener('abort', onAbort);
    };
    child.once('error', (cause) => {
      done();
      reject(new PhosError('UNAVAILABLE', `CRIU could not be started; ${CURE}`, { cause }));
    });
    child.once('exit', (code, killer) => {
      done();
      if (stopped !== null) reject(stopped);
      else resolve({ ok: code === 0, how: code === null ? `signal ${killer}` : `status ${code}` });
    });
  });
}

/**
 * Ends the CRIU of an earlier phosd that still writes into a folder, by making it fail: it puts its
 * tree back as it was. Nothing happens when there is none.
 *
 * @throws PhosError TIMEOUT when it does not end
 */
export async function stopAbandonedCriu(imagesDir: string, deadlineMs: number): Promise<void> {
  const writers = () =>
    listProcesses().filter((row) => {
      const words = (readProc(row.pid, 'cmdline') ?? '').split('\0');
      return words.includes('dump') && words.includes(imagesDir);
    });
  for (const { pid } of writers()) execFile(keeperPath(), ['stop', String(pid)], () => undefined);
  await waitUntil(
    () => writers().length === 0,
    deadlineMs,
    `the CRIU of an earlier phosd did not stop writing into ${imagesDir}`,
  );
}

/** Makes the folder for CRIU's images. @throws PhosError PERMISSION, STORAGE */
export function makeImagesDir(path: string): void {
  try {
    mkdirSync(path, { recursive: true, mode: 0o700 });
  } catch (cause) {
    const errno = errnoOf(cause);
    const code = errno === 'EACCES' || errno === 'EPERM' ? 'PERMISSION' : 'STORAGE';
    throw new PhosError(code, `making ${path} failed (${errno}); choose another folder`, { cause });
  }
}
