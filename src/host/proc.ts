// SPDX-License-Identifier: Apache-2.0
// What /proc tells about processes. Everything here is a snapshot: a process may end between two
// reads, so a process that has gone reads as null, and identity is pid and start time together.
import { readdirSync, readFileSync } from 'node:fs';
import { PhosError } from '../errors/phos-error.ts';
import { type ProcessRow, processTree } from '../model/process-tree.ts';
import { errnoOf, waitUntil } from './wait.ts';

export interface ProcessFacts extends ProcessRow {
  readonly command: string;
  /** One letter of /proc/PID/stat: R, S, D, T, Z, ... */
  readonly state: string;
  readonly processGroup: number;
  readonly session: number;
}

export interface ProcessKey {
  readonly pid: number;
  readonly startTime: bigint;
}

// A process that ended while it was read answers one of these; its files may also turn unreadable
// for other users, which EACCES tells and callers that need the content report themselves.
const gone = new Set(['ENOENT', 'ESRCH']);

/** The text of a file under /proc, null when the process has gone. */
export function readProc(pid: number, name: string): string | null {
  try {
    return readFileSync(`/proc/${pid}/${name}`, 'utf8');
  } catch (thrown) {
    const errno = errnoOf(thrown);
    if (errno !== null && gone.has(errno)) return null;
    throw new PhosError(
      errno === 'EACCES' || errno === 'EPERM' ? 'PERMISSION' : 'INTERNAL',
      `reading /proc/${pid}/${name} failed (${errno}); run phosd as root or as the program's owner`,
      { cause: thrown },
    );
  }
}

/** Facts of one process, null when there is none of this number. */
export function readProcess(pid: number): ProcessFacts | null {
  const text = readProc(pid, 'stat');
  return text === null || text === '' ? null : parseStat(text);
}

/** Parses /proc/PID/stat (proc(5)). The name may hold blanks and brackets. */
export function parseStat(text: string): ProcessFacts {
  const open = text.indexOf('(');
  const close = text.lastIndexOf(')');
  const fields = text.slice(close + 2).split(' ');
  return {
    pid: Number(text.slice(0, open)),
    command: text.slice(open + 1, close),
    state: fields[0] ?? '?',
    parentPid: Number(fields[1]),
    processGroup: Number(fields[2]),
    session: Number(fields[3]),
    startTime: BigInt(fields[19] ?? '0'),
  };
}

/** Real user of a process, null when it has gone. */
export function readUid(pid: number): number | null {
  const text = /^Uid:\s*(\d+)/m.exec(readProc(pid, 'status') ?? '')?.[1];
  return text === undefined ? null : Number(text);
}

/** Pid of the process that traces this one, 0 when none does. */
export function readTracer(pid: number): number {
  return Number(/^TracerPid:\s*(\d+)/m.exec(readProc(pid, 'status') ?? '')?.[1] ?? 0);
}

/** Every process of this pid namespace. */
export function listProcesses(): ProcessFacts[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => readProcess(Number(name)) ?? []);
}

/**
 * The living tree of a root, root first. Zombies are left out: their parent has yet to reap them,
 * CRIU dumps them as such, and they hold nothing.
 *
 * @throws PhosError NOT_FOUND when the root does not exist or has ended
 */
export function readTree(rootPid: number): ProcessFacts[] {
  const tree = processTree(listProcesses(), rootPid).filter((row) => row.state !== 'Z');
  if (tree[0]?.pid !== rootPid) {
    throw new PhosError('NOT_FOUND', `there is no process ${rootPid}; see phos ps`, {
      details: { pid: rootPid },
    });
  }
  return tree;
}

/** True while this very process exists, dead but unreaped included (its pid is still taken). */
export function exists(key: ProcessKey): boolean {
  return readProcess(key.pid)?.startTime === key.startTime;
}

/** True while this very process runs or can run. */
export function isAlive(key: ProcessKey): boolean {
  const now = readProcess(key.pid);
  return now !== null && now.startTime === key.startTime && now.state !== 'Z' && now.state !== 'X';
}

/**
 * Waits until every one of these processes is dead and reaped, so that their pids are free.
 *
 * @throws PhosError TIMEOUT naming those that are left
 */
export async function waitReaped(keys: readonly ProcessKey[], deadlineMs: number): Promise<void> {
  let left: readonly ProcessKey[] = keys;
  await waitUntil(
    () => {
      left = left.filter(exists);
      return left.length === 0;
    },
    deadlineMs,
    `processes ${keys.map((key) => key.pid).join(', ')} were not ended and reaped by their parent`,
  );
}

/**
 * Memory of a process that is in no file: what a dump of it has to write, shared memory included
 * (/proc/PID/smaps_rollup). 0 when it has gone.
 */
export function readDirtyBytes(pid: number): bigint {
  const text = readProc(pid, 'smaps_rollup') ?? '';
  const kib = [...text.matchAll(/^(?:Private_Dirty|Shared_Dirty|Swap):\s*(\d+) kB$/gm)];
  return kib.reduce((sum, [, count]) => sum + BigInt(count ?? 0) * 1024n, 0n);
}

/** /proc/PID/environ as pairs, filtered by name; the program's environment when it was started. */
export function readEnvironment(
  pid: number,
  keep: (name: string) => boolean,
): Record<string, string> {
  const pairs = (readProc(pid, 'environ') ?? '').split('\0').flatMap((entry) => {
    const at = entry.indexOf('=');
    return at > 0 && keep(entry.slice(0, at)) ? [[entry.slice(0, at), entry.slice(at + 1)]] : [];
  });
  return Object.fromEntries(pairs) as Record<string, string>;
}

/** Variables that decide which devices a client sees and how its driver behaves. */
export function isDeviceVariable(name: string): boolean {
  return name.startsWith('CUDA_') || name.startsWith('PHOS_') || name.startsWith('NVIDIA_');
}

export interface Mapping {
  readonly start: bigint;
  readonly end: bigint;
  readonly permissions: string;
  readonly offset: bigint;
  readonly device: string;
  readonly inode: bigint;
  /** Path as the kernel prints it, '' for anonymous memory. */
  readonly path: string;
}

/** /proc/PID/maps; empty when the process has gone. */
export function readMappings(pid: number): Mapping[] {
  return (readProc(pid, 'maps') ?? '').split('\n').flatMap((line) => {
    const found =
      /^([0-9a-f]+)-([0-9a-f]+) (\S+) ([0-9a-f]+) (\S+) (\d+)\s*(.*)$/.exec(line) ?? null;
    if (found === null) return [];
    const [, start, end, permissions, offset, device, inode, path] = found;
    return [
      {
        start: BigInt(`0x${start}`),
        end: BigInt(`0x${end}`),
        permissions: permissions ?? '',
        offset: BigInt(`0x${offset}`),
        device: device ?? '',
        inode: BigInt(inode ?? '0'),
        path: path ?? '',
      },
    ];
  });
}

/** Effective capability bits of this process (capabilities(7)). */
export function effectiveCapabilities(): bigint {
  const text = /^CapEff:\s*([0-9a-f]+)$/m.exec(readProc(process.pid, 'status') ?? '')?.[1];
  return BigInt(`0x${text ?? '0'}`);
}
