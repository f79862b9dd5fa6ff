// SPDX-License-Identifier: Apache-2.0
// Which descriptors of a tree lead out of it. The keeper's pipes and terminal are expected, and
// get new ends at a restore; anything else is refused by name before anything is touched.
import { execFileSync } from 'node:child_process';
import { PhosError } from '../errors/phos-error.ts';
import { type FdFacts, holdersOf, isHarmlessDevice, masterOf, ptyIndex, ttyName } from './fds.ts';
import { keeperPath } from './keeper.ts';
import type { StdioDescription } from './keeper-connection.ts';
import { listProcesses, readProc } from './proc.ts';

export type StdioEnd = 'stdin' | 'stdout' | 'stderr' | 'pty';

/** What the tree holds of its keeper: CRIU's name for it and the end that takes its place. */
export interface KeeperEnd {
  readonly name: string;
  readonly stdio: StdioEnd;
}

export interface Leak {
  readonly pid: number;
  readonly fd: number;
  readonly target: string;
  readonly why: string;
}

export interface LeadsOut {
  readonly ends: readonly KeeperEnd[];
  readonly leaks: readonly Leak[];
}

const SOCKETS_DEADLINE_MS = 10_000;
// States of /proc/net/tcp: 07 is closed, 0A listens; both stay inside the tree.
const CALM_TCP = new Set(['07', '0A']);

/** Names of the keeper's ends, by the stream that each stands for. */
export function endsOf(stdio: StdioDescription | null): KeeperEnd[] {
  if (stdio === null) return [];
  if (stdio.kind === 'pty') return [{ name: stdio.tty, stdio: 'pty' }];
  return [
    { name: stdio.stdin, stdio: 'stdin' },
    { name: stdio.stdout, stdio: 'stdout' },
    { name: stdio.stderr, stdio: 'stderr' },
  ];
}

export interface LeadsOutOptions {
  readonly stdio: StdioDescription | null;
  /**
   * Pids outside the tree to which unix sockets may lead, because those connections are closed
   * before the dump: the executors of the tree's clients.
   */
  readonly closing: ReadonlySet<number>;
  /** TCP connections are accepted: they come back closed. */
  readonly closeTcp: boolean;
}

/** Sorts the descriptors of a tree into ends of the keeper and leaks. */
export function findLeadsOut(fds: readonly FdFacts[], options: LeadsOutOptions): LeadsOut {
  const { stdio, closing, closeTcp } = options;
  const known = new Map(endsOf(stdio).map((end) => [end.name, end]));
  const used = new Map<string, KeeperEnd>();
  const rest: FdFacts[] = [];
  for (const fd of fds) {
    const end = known.get(fd.kind === 'tty' ? ttyName(fd) : fd.target);
    if (end === undefined) rest.push(fd);
    else used.set(end.name, end);
  }
  const pids = new Set(fds.map((fd) => fd.pid));
  const leaks = [
    ...pipeLeaks(rest, pids),
    ...ttyLeaks(rest),
    ...unixLeaks(rest, closing),
    ...(closeTcp ? [] : tcpLeaks(rest)),
    ...otherLeaks(rest),
  ];
  return { ends: [...used.values()], leaks };
}

/** @throws PhosError UNSUPPORTED naming every descriptor that leads out of the tree */
export function refuseLeaks(leaks: readonly Leak[]): void {
  if (leaks.length === 0) return;
  const named = leaks.slice(0, 5).map((leak) => {
    return `process ${leak.pid} descriptor ${leak.fd} (${leak.target}) ${leak.why}`;
  });
  const more = leaks.length > named.length ? ` and ${leaks.length - named.length} more` : '';
  throw new PhosError(
    'UNSUPPORTED',
    `the program cannot be dumped while it holds what leads out of its tree: ${named.join('; ')}` +
      `${more}; close it, or start the program with phos run`,
    { details: { leaks } },
  );
}

function leak(fd: FdFacts, why: string): Leak {
  return { pid: fd.pid, fd: fd.fd, target: fd.target, why };
}

function pipeLeaks(fds: readonly FdFacts[], tree: ReadonlySet<number>): Leak[] {
  const pipes = fds.filter((fd) => fd.kind === 'pipe' && fd.target.startsWith('pipe:['));
  if (pipes.length === 0) return [];
  const outside = listProcesses()
    .map((row) => row.pid)
    .filter((pid) => !tree.has(pid));
  const holders = holdersOf(outside, new Set(pipes.map((fd) => fd.target)));
  return pipes.flatMap((fd) => {
    const pids = holders.get(fd.target);
    return pids === undefined ? [] : [leak(fd, `is a pipe that process ${[...pids][0]} holds too`)];
  });
}

function ttyLeaks(fds: readonly FdFacts[]): Leak[] {
  const masters = new Set(fds.flatMap((fd) => masterOf(fd) ?? []));
  return fds.flatMap((fd) => {
    if (fd.kind !== 'tty') return [];
    const index = ptyIndex(fd);
    if (index !== null && masters.has(index)) return [];
    return [leak(fd, 'is a terminal outside the tree')];
  });
}

/** Peer of every connected unix socket, by inode; asked of the kernel by the keeper program. */
function unixPeers(): Map<string, string> {
  const text = execFileSync(keeperPath(), ['sockets'], {
    encoding: 'utf8',
    timeout: SOCKETS_DEADLINE_MS,
    maxBuffer: 16 << 20,
  });
  return new Map(
    text
      .split('\n')
      .filter(Boolean)
      .map((line) => line.split(' ') as [string, string]),
  );
}

function socketInode(target: string): string {
  return /^socket:\[(\d+)\]$/.exec(target)?.[1] ?? '';
}

function unixLeaks(fds: readonly FdFacts[], closing: ReadonlySet<number>): Leak[] {
  const sockets = fds.filter((fd) => fd.kind === 'socket');
  if (sockets.length === 0) return [];
  const peers = unixPeers();
  const inside = new Set(sockets.map((fd) => socketInode(fd.target)));
  const leading = sockets.flatMap((fd) => {
    const peer = peers.get(socketInode(fd.target));
    return peer === undefined || inside.has(peer) ? [] : [{ fd, peer: `socket:[${peer}]` }];
  });
  if (leading.length === 0) return [];
  const pids = listProcesses().map((row) => row.pid);
  const holders = holdersOf(pids, new Set(leading.map(({ peer }) => peer)));
  return leading.flatMap(({ fd, peer }) => {
    const held = [...(holders.get(peer) ?? [])];
    if (held.length > 0 && held.every((pid) => closing.has(pid))) return [];
    const whom = held[0] === undefined ? 'a process that cannot be seen' : `process ${held[0]}`;
    return [leak(fd, `is a unix socket connected to ${whom}`)];
  });
}

function tcpLeaks(fds: readonly FdFacts[]): Leak[] {
  const sockets = fds.filter((fd) => fd.kind === 'socket');
  const connected = new Map<string, string>();
  for (const pid of new Set(sockets.map((fd) => fd.pid))) {
    for (const table of ['net/tcp', 'net/tcp6']) {
      for (const line of (readProc(pid, table) ?? '').split('\n').slice(1)) {
        // sl local remote state queues timer retransmits uid timeout inode
        const fields = line.trim().split(/\s+/);
        const [, , remote, state, , , , , , inode] = fields;
        if (inode === undefined || state === undefined || CALM_TCP.has(state)) continue;
        connected.set(inode, remote ?? '');
      }
    }
  }
  return sockets.flatMap((fd) => {
    const remote = connected.get(socketInode(fd.target));
    return remote === undefined ? [] : [leak(fd, `is a TCP connection (to ${remote})`)];
  });
}

function otherLeaks(fds: readonly FdFacts[]): Leak[] {
  return fds.flatMap((fd) => {
    if (fd.kind === 'anonymous' && /io_uring|perf_event|bpf/.test(fd.target)) {
      return [leak(fd, 'is a kernel object that CRIU cannot save')];
    }
    if (fd.kind === 'device' && !isHarmlessDevice(fd)) return [leak(fd, 'is a device')];
    return [];
  });
}
