// SPDX-License-Identifier: Apache-2.0
// File descriptors of processes, as /proc/PID/fd and /proc/PID/fdinfo tell them.
import { readdirSync, readlinkSync, statSync } from 'node:fs';
import { PhosError } from '../errors/phos-error.ts';
import { readProc } from './proc.ts';
import { errnoOf } from './wait.ts';

export type FdKind =
  | 'pipe'
  | 'socket'
  | 'tty'
  | 'device'
  | 'file'
  | 'memfd'
  | 'anonymous'
  | 'other';

export interface FdFacts {
  readonly pid: number;
  readonly fd: number;
  /** What the link says: a path, pipe:[1234], socket:[1234], anon_inode:[eventfd]. */
  readonly target: string;
  readonly kind: FdKind;
  readonly inode: bigint;
  /** Device number of a device file, with major and minor as the kernel packs them. */
  readonly rdev: bigint;
  readonly device: bigint;
  readonly bytes: bigint;
  readonly offset: bigint;
  /** Flags of open(2), in octal in fdinfo. */
  readonly flags: number;
}

const O_ACCMODE = 0o3;
const O_APPEND = 0o2000;

export function isWritable(fd: FdFacts): boolean {
  return (fd.flags & O_ACCMODE) !== 0;
}

export function isAppending(fd: FdFacts): boolean {
  return (fd.flags & O_APPEND) !== 0;
}

/** CRIU's name of a terminal: tty[rdev:dev], both in hexadecimal. */
export function ttyName(fd: FdFacts): string {
  return `tty[${fd.rdev.toString(16)}:${fd.device.toString(16)}]`;
}

function majorOf(rdev: bigint): bigint {
  return ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & ~0xfffn);
}

function minorOf(rdev: bigint): bigint {
  return (rdev & 0xffn) | ((rdev >> 12n) & ~0xffn);
}

// Linux's registered device numbers: 4 consoles and serial lines, 136 to 143 pseudo-terminals.
function isTty(rdev: bigint): boolean {
  const major = majorOf(rdev);
  return major === 4n || (major >= 136n && major <= 143n) || rdev === 0x501n;
}

/** /dev/null, zero, full, random, urandom; /dev/tty and /dev/ptmx, which CRIU knows by itself. */
export function isHarmlessDevice(fd: FdFacts): boolean {
  const major = majorOf(fd.rdev);
  if (major === 1n) return [3n, 5n, 7n, 8n, 9n].includes(minorOf(fd.rdev));
  return major === 5n && (minorOf(fd.rdev) === 0n || minorOf(fd.rdev) === 2n);
}

/** The number N of a pseudo-terminal's slave /dev/pts/N. */
export function ptyIndex(fd: FdFacts): bigint | null {
  const major = majorOf(fd.rdev);
  return major >= 136n && major <= 143n ? minorOf(fd.rdev) + (major - 136n) * 256n : null;
}

/** The slave's number that a master (/dev/ptmx) belongs to, null for anything else. */
export function masterOf(fd: FdFacts): bigint | null {
  if (fd.kind !== 'device' || fd.rdev !== 0x502n) return null;
  const index = /^tty-index:\s*(\d+)/m.exec(readProc(fd.pid, `fdinfo/${fd.fd}`) ?? '')?.[1];
  return index === undefined ? null : BigInt(index);
}

// S_IFMT and the kinds of stat(2).
const kinds: Readonly<Record<number, FdKind>> = {
  0o100000: 'file',
  0o010000: 'pipe',
  0o140000: 'socket',
};

function kindOf(target: string, mode: number, rdev: bigint): FdKind {
  if (target.startsWith('anon_inode:')) return 'anonymous';
  if (target.startsWith('/memfd:')) return 'memfd';
  if ((mode & 0o170000) === 0o020000) return isTty(rdev) ? 'tty' : 'device';
  return kinds[mode & 0o170000] ?? 'other';
}

function readFd(pid: number, fd: number): FdFacts | null {
  const path = `/proc/${pid}/fd/${fd}`;
  try {
    const target = readlinkSync(path);
    const facts = statSync(path, { bigint: true });
    const info = readProc(pid, `fdinfo/${fd}`) ?? '';
    return {
      pid,
      fd,
      target,
      kind: kindOf(target, Number(facts.mode), facts.rdev),
      inode: facts.ino,
      rdev: facts.rdev,
      device: facts.dev,
      bytes: facts.size,
      offset: BigInt(/^pos:\s*(\d+)/m.exec(info)?.[1] ?? '0'),
      flags: Number.parseInt(/^flags:\s*([0-7]+)/m.exec(info)?.[1] ?? '0', 8),
    };
  } catch (thrown) {
    // Closed, or its process ended, while it was looked at.
    const errno = errnoOf(thrown);
    if (errno === 'ENOENT' || errno === 'ESRCH') return null;
    throw thrown;
  }
}

/** Numbers of a process's descriptors; empty when it has gone or belongs to somebody else. */
function fdNumbers(pid: number, mustSee: boolean): number[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map(Number);
  } catch (thrown) {
    const errno = errnoOf(thrown);
    if (errno === 'ENOENT' || errno === 'ESRCH') return [];
    if (errno === 'EACCES' && !mustSee) return [];
    throw new PhosError(
      'PERMISSION',
      `the descriptors of process ${pid} may not be read; run phosd as root or as its owner`,
      { cause: thrown, details: { pid } },
    );
  }
}

/** Every descriptor of a process. @throws PhosError PERMISSION */
export function readFds(pid: number): FdFacts[] {
  return fdNumbers(pid, true).flatMap((fd) => readFd(pid, fd) ?? []);
}

/**
 * Targets (pipe:[n], socket:[n]) that processes have open, with the pids that hold them. Processes
 * of other users are passed over where they may not be seen.
 */
export function holdersOf(
  pids: readonly number[],
  wanted: ReadonlySet<string>,
): Map<string, Set<number>> {
  const holders = new Map<string, Set<number>>();
  for (const pid of pids) {
    for (const fd of fdNumbers(pid, false)) {
      let target: string;
      try {
        target = readlinkSync(`/proc/${pid}/fd/${fd}`);
      } catch (thrown) {
        if (errnoOf(thrown) === null) throw thrown;
        continue;
      }
      if (!wanted.has(target)) continue;
      const set = holders.get(target) ?? new Set<number>();
      holders.set(target, set.add(pid));
    }
  }
  return holders;
}
