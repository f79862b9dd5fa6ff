// SPDX-License-Identifier: Apache-2.0
// A phosd that comes back finds what an earlier one left: executors and keepers through their
// sockets, names and environments in the registry, and jobs that were under way. Those are taken
// back: the tree thawed, agents let in again, gates opened, partial images removed.
import { closeSync, openSync, readdirSync, rmSync, statSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Supervisor } from '../actors/supervisor.ts';
import { PhosError } from '../errors/phos-error.ts';
import { ExecutorClient } from '../executor/client.ts';
import type { MethodResult } from '../executor/protocol.ts';
import { JobCgroup } from '../host/cgroup.ts';
import { thawAbandoned } from '../host/cpu-checkpoint.ts';
import { stopAbandonedCriu } from '../host/criu.ts';
import { KeeperConnection, type KeeperStatus } from '../host/keeper-connection.ts';
import { isAlive, isDeviceVariable, readEnvironment, readProc, readProcess } from '../host/proc.ts';
import { discardPartial, partialOf } from '../image/commit.ts';
import type { ClientRecord, JobRecordAtRest, KeeperRecord, Registry } from '../model/domain.ts';
import { isId } from '../model/ids.ts';
import { deadlines } from '../model/limits.ts';
import {
  executorRingSocket,
  executorSocket,
  keeperSocket,
  reattachFile,
  type RuntimePaths,
} from '../model/runtime-dir.ts';
import type { Runs } from './runs.ts';

const ASK_MS = 3_000;
const CRIU_ENDS_MS = 60_000;

type Status = MethodResult<'status'>;

export interface RecoverOptions {
  readonly supervisor: Supervisor;
  readonly runs: Runs;
  readonly paths: RuntimePaths;
  readonly registry: Registry;
}

/** An executor that answered. */
export interface FoundExecutor {
  readonly executorId: string;
  readonly status: Status;
}

/** Asks every executor that has a socket; what does not answer is cleared away. */
export async function findExecutors(options: RecoverOptions): Promise<FoundExecutor[]> {
  const ids = idsIn(options.paths.executorsDir, 'executor');
  const answers = await Promise.all(ids.map((id) => findExecutor(options, id)));
  const found = answers.flatMap((one) => one ?? []);
  endSilent(options, new Set(found.map((one) => one.executorId)));
  return found;
}

/**
 * Ends executors that the registry names and that do not answer: one that was still starting has
 * no socket yet, and nobody would ever find it again.
 */
function endSilent(options: RecoverOptions, answered: ReadonlySet<string>): void {
  for (const { executorId, process: key } of options.registry.executors) {
    if (answered.has(executorId)) continue;
    const startTime = BigInt(key.startTime);
    if (!isAlive({ pid: key.pid, startTime })) continue;
    options.supervisor.log('warn', 'an executor that does not answer is ended', { executorId });
    try {
      process.kill(key.pid, 'SIGKILL');
    } catch (thrown) {
      if ((thrown as { code?: unknown }).code !== 'ESRCH') throw thrown;
    }
  }
}

/** Warm executors by device: the pools need not start those again. */
export function warmByDevice(found: readonly FoundExecutor[]): Map<number, number> {
  const counts = new Map<number, number>();
  for (const { status } of found) {
    if (status.clientId !== null || status.device === null) continue;
    counts.set(status.device.ordinal, (counts.get(status.device.ordinal) ?? 0) + 1);
  }
  return counts;
}

/** Makes actors of found executors and their clients, and finds keepers. */
export async function adopt(
  options: RecoverOptions,
  found: readonly FoundExecutor[],
): Promise<void> {
  for (const one of found) adoptExecutor(options, one);
  const ids = idsIn(options.paths.keepersDir, 'keeper');
  await Promise.all(ids.map((id) => findKeeper(options, id)));
}

function idsIn(folder: string, kind: 'executor' | 'keeper'): string[] {
  const names = readdirSync(folder).map((name) => name.replace(/(\.ring)?\.sock$/, ''));
  return [...new Set(names)].filter((name) => isId(kind, name));
}

async function findExecutor(options: RecoverOptions, id: string): Promise<FoundExecutor | null> {
  const { supervisor, paths } = options;
  try {
    return { executorId: id, status: await askExecutor(executorSocket(paths, id)) };
  } catch (thrown) {
    if (!(thrown instanceof PhosError)) throw thrown;
    supervisor.log('info', 'an executor is gone', { executorId: id, reason: thrown.message });
    rmSync(executorSocket(paths, id), { force: true });
    rmSync(executorRingSocket(paths, id), { force: true });
    return null;
  }
}

function adoptExecutor(options: RecoverOptions, { executorId, status }: FoundExecutor): void {
  const { supervisor } = options;
  const client = status.clientId === null ? null : clientOf(options, executorId, status);
  if (client !== null) addClient(options, client, executorId, status);
  const { actor, process } = supervisor.addExecutor(executorId, status.device?.ordinal ?? 0, true);
  // Else the end below would find nothing to end, and the executor would stay for good.
  process.know({ pid: status.pid, startTime: status.startTime });
  // It was being made ready for a program that is not there: a restore that did not end.
  if (status.clientId !== null && client === null) actor.send({ type: 'executor.end' });
  supervisor.log('info', 'an executor was found again', { executorId, state: status.state });
}

async function askExecutor(path: string): Promise<Status> {
  const link = await ExecutorClient.connect(path, {
    connectDeadlineMs: ASK_MS,
    onNotice: () => undefined,
  });
  try {
    return await link.request('status', {}, ASK_MS);
  } finally {
    link.close();
  }
}

/** The client of an executor, from the registry, else from what its process tells. */
function clientOf(options: RecoverOptions, id: string, status: Status): ClientRecord | null {
  const recorded = options.registry.clients.find((one) => one.clientId === status.clientId);
  const pid = status.clientPid ?? recorded?.process.pid ?? null;
  const found = pid === null ? null : readProcess(pid);
  if (found === null || status.clientId === null) return null;
  if (recorded !== undefined) {
    return recorded.process.startTime === found.startTime.toString() ? recorded : null;
  }
  const { uid, gid } = statSync(`/proc/${found.pid}`);
  return {
    clientId: status.clientId,
    process: { pid: found.pid, startTime: found.startTime.toString() },
    uid,
    gid,
    command: found.command,
    executorId: id,
    suspended: status.state === 'suspended',
    environment: readEnvironment(found.pid, isDeviceVariable),
  };
}

function addClient(
  options: RecoverOptions,
  client: ClientRecord,
  executorId: string,
  status: Status,
): void {
  const { supervisor } = options;
  const { clientId, uid, gid, command, environment } = client;
  const key = { pid: client.process.pid, startTime: BigInt(client.process.startTime) };
  const suspended = status.state === 'suspended';
  supervisor.addClient(
    { clientId, uid, gid, command, environment, ordinal: status.device?.ordinal ?? 0 },
    { pid: key.pid, process: key },
    { origin: 'registry', executorId, suspended },
    null,
  );
  if (status.state === 'disconnected') {
    supervisor.post.tell({ to: 'client', clientId, event: { type: 'agent.away' } });
  }
}

async function findKeeper(options: RecoverOptions, id: string): Promise<void> {
  const path = keeperSocket(options.paths, id);
  let status: KeeperStatus;
  try {
    const link = await KeeperConnection.open(path, ASK_MS);
    status = await link.status(ASK_MS);
    link.close();
  } catch (thrown) {
    if (!(thrown instanceof PhosError)) throw thrown;
    options.supervisor.log('info', 'a keeper is gone', { keeperId: id, reason: thrown.message });
    rmSync(path, { force: true });
    return;
  }
  const recorded = options.registry.keepers.find((one) => one.keeperId === id);
  options.runs.adopt(recorded ?? keeperFromStatus(id, status), true);
}

function keeperFromStatus(id: string, status: KeeperStatus): KeeperRecord {
  const owner = readProcess(status.pid) === null ? null : statSync(`/proc/${status.pid}`);
  const argv = (readProc(status.pid, 'cmdline') ?? '').split('\0').filter(Boolean);
  return {
    keeperId: id,
    process: {
      pid: status.keeperPid,
      startTime: (readProcess(status.keeperPid)?.startTime ?? 0n).toString(),
    },
    root: { pid: status.pid, startTime: status.startTime.toString() },
    uid: owner?.uid ?? 0,
    gid: owner?.gid ?? 0,
    groups: [],
    stdio: status.stdio.kind,
    argv,
    cwd: '/',
    // The registry is lost: the next dump makes a cgroup of its own.
    cgroup: null,
    library: null,
  };
}

/** Undoes the jobs of an earlier phosd. Slow: a CRIU that is still at work is waited for. */
export async function takeBack(options: RecoverOptions): Promise<void> {
  const { supervisor, registry } = options;
  for (const job of registry.jobs) {
    try {
      await takeBackJob(job);
      supervisor.log('warn', 'a job of an earlier phosd was taken back', { job });
    } catch (thrown) {
      const reason = thrown instanceof Error ? thrown.message : String(thrown);
      supervisor.log('error', 'a job of an earlier phosd was not taken back', { job, reason });
    }
  }
  await Promise.all([...supervisor.clients.keys()].map((id) => letIn(options, id)));
}

async function takeBackJob(job: JobRecordAtRest): Promise<void> {
  if (job.kind === 'restore' && job.cgroup !== null) {
    const cgroup = new JobCgroup(job.cgroup);
    await cgroup.kill(deadlines.endTreeMs);
    await cgroup.remove(deadlines.endTreeMs);
  }
  const isDump = job.kind === 'dump' || job.kind === 'pre-dump';
  if (!isDump || job.directory === null) return;
  await stopAbandonedCriu(`${partialOf(job.directory)}/cpu`, CRIU_ENDS_MS);
  if (job.cgroup !== null) await thawAbandoned(new JobCgroup(job.cgroup), deadlines.thawMs);
  await discardPartial(job.directory);
}

/** An agent that was sent away comes back, and the gate of a client that no job holds opens. */
async function letIn(options: RecoverOptions, clientId: string): Promise<void> {
  const { supervisor, paths } = options;
  const entry = supervisor.clients.get(clientId);
  const executor = supervisor.executors.get(entry?.executorId ?? '')?.process;
  if (entry === undefined || executor === undefined) return;
  try {
    await executor.ready();
    const status = await executor.request('status', {}, ASK_MS);
    if (status.state === 'suspended') return;
    await executor.request('save.abort', {}, deadlines.executorRequestMs);
    if (entry.state === 'away') await invite(options, clientId);
    if (status.gateClosed) await executor.request('gate.open', {}, deadlines.gateMs);
  } catch (thrown) {
    const reason = thrown instanceof Error ? thrown.message : String(thrown);
    supervisor.log('error', 'a client was not brought back', { clientId, reason });
  } finally {
    rmSync(reattachFile(paths, clientId), { force: true });
  }
}

async function invite(options: RecoverOptions, clientId: string): Promise<void> {
  const path = reattachFile(options.paths, clientId);
  closeSync(openSync(path, 'w', 0o644));
  for (const end = performance.now() + deadlines.reattachMs; performance.now() < end; ) {
    const state = options.supervisor.clients.get(clientId)?.state;
    if (state !== 'away' && state !== 'welcoming' && state !== 'attaching') return;
    await sleep(10);
  }
  throw new PhosError('TIMEOUT', `client ${clientId} did not attach again`);
}
