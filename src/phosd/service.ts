// SPDX-License-Identifier: Apache-2.0
// The handlers of the control API: what was asked, checked against who asks.
import type { MessageInitShape } from '@bufbuild/protobuf';
import type { HandlerContext, ServiceImpl } from '@connectrpc/connect';
import type { ClientEntry } from '../actors/client-entry.ts';
import { jobState } from '../actors/job.ts';
import type { JobNews } from '../actors/job-record.ts';
import { callerOf, type Peer } from '../control/server.ts';
import type { MethodResult } from '../executor/protocol.ts';
import type {
  ClientSchema,
  Control,
  DeviceSchema,
  JobEventSchema,
  RunJobSchema,
} from '../gen/proto/phos/v1/control_pb.ts';
import { PhosError } from '../errors/phos-error.ts';
import { mayActOn, requireTrusted } from './access.ts';
import { EventQueue } from './event-queue.ts';
import { explain } from './explain.ts';
import type { JobHooks, JobReport } from './jobs.ts';
import type { ServedNode } from './served-node.ts';
import { VERSION } from './version.ts';

const ASK_MS = 2_000;
type JobEvent = MessageInitShape<typeof JobEventSchema>;

/** The service over a node. */
export function controlService(node: ServedNode): ServiceImpl<typeof Control> {
  return {
    status: (_, context) => statusOf(node, callerOf(context)),
    list: (_, context) => listFor(node, callerOf(context)),
    explain: (request, context) => explain(node, request, callerOf(context)),
    run: async (request, context) => {
      const { pty, argv, cwd, environment, umask, attach } = request;
      const size = pty === undefined ? null : { rows: pty.rows, columns: pty.columns };
      const entry = await node.runs.start(
        { argv, cwd, environment, umask, pty: size, attach },
        callerOf(context),
      );
      const { logDir } = node.settings.folders;
      return {
        keeperId: entry.keeperId,
        pid: entry.record?.root.pid ?? 0,
        socketPath: entry.socketPath,
        logOut: `${logDir}/${entry.keeperId}.out`,
        logErr: `${logDir}/${entry.keeperId}.err`,
      };
    },
    dump: (request, context) =>
      stream(context, (hooks) =>
        node.jobs.dump({ ...request, drainMs: orNull(request.drainMs) }, callerOf(context), hooks),
      ),
    restore: (request, context) =>
      stream(context, (hooks) =>
        node.jobs.restore(
          {
            directory: request.directory,
            truncate: request.truncate,
            attach: request.attach,
            pty:
              request.pty === undefined
                ? null
                : { rows: request.pty.rows, columns: request.pty.columns },
          },
          callerOf(context),
          hooks,
        ),
      ),
    suspend: (request, context) =>
      stream(context, (hooks) =>
        node.jobs.suspend(
          { pid: request.pid, drainMs: orNull(request.drainMs) },
          callerOf(context),
          hooks,
        ),
      ),
    resume: (request, context) =>
      stream(context, (hooks) => node.jobs.resume(request, callerOf(context), hooks)),
    cancelJob: ({ jobId }, context) => {
      node.jobs.cancel(jobId, callerOf(context));
      return {};
    },
    stop: async ({ force, keepClients }, context) => {
      requireTrusted(callerOf(context), 'stopping phosd');
      return { endedClients: await node.stop({ force, keepClients }) };
    },
  };
}

function orNull(value: number): number | null {
  return value === 0 ? null : value;
}

/** A job as a stream of events. The caller's going away cancels it. */
async function* stream(
  context: HandlerContext,
  begin: (hooks: JobHooks) => Promise<JobReport>,
): AsyncIterable<JobEvent> {
  const events = new EventQueue<JobEvent>();
  const job = begin({
    onStarted: (jobId) => events.push({ event: { case: 'started', value: { jobId } } }),
    onNews: (news) => events.push(eventOf(news)),
    signal: context.signal,
  });
  job.then(
    (report) => {
      events.push(resultOf(report));
      events.end(null);
    },
    (thrown: unknown) => events.end(PhosError.from(thrown, 'running the job')),
  );
  yield* events;
}

function eventOf(news: JobNews): JobEvent {
  if (news.type === 'stage') {
    return { event: { case: 'stage', value: { stage: news.stage } } };
  }
  return { event: { case: 'progress', value: news.progress } };
}

function resultOf({ jobId, record, outcome }: JobReport): JobEvent {
  const { directory, keeperId, keeperSocket, clientIds, modes = [], ...rest } = outcome;
  return {
    event: {
      case: 'result',
      value: {
        ...rest,
        jobId,
        stages: [...record.stages],
        totalMs: record.totalMs,
        stallMs: record.stallMs,
        stopMs: record.stopMs,
        drainMs: record.drainMs,
        holdMs: record.holdMs,
        gateWaitMs: record.gateWaitMs,
        modes: [...modes],
        warnings: record.warnings,
        clientIds: [...clientIds],
        directory: directory ?? '',
        keeperId: keeperId ?? '',
        keeperSocket: keeperSocket ?? '',
      },
    },
  };
}

async function statusOf(node: ServedNode, caller: Peer) {
  const { supervisor, jobs, settings } = node;
  const devices = await Promise.all([...supervisor.devices.keys()].map((n) => deviceOf(node, n)));
  return {
    version: VERSION,
    pid: process.pid,
    state: String(supervisor.node.getSnapshot().value),
    runtimeDir: node.paths.dir,
    started: node.startedAt.toISOString(),
    devices,
    jobs: [...jobs.active.values()]
      .filter((job) => mayActOn(caller, job.uid))
      .map((job) => ({
        jobId: job.jobId,
        kind: job.kind,
        state: jobState(job),
        clientIds: [...job.clientIds()],
        uid: job.uid,
        started: job.startedAt.toISOString(),
      })),
    clients: [...supervisor.clients.values()].filter((one) => mayActOn(caller, one.facts.uid))
      .length,
    logFile: settings.logFile ?? '',
  };
}

async function deviceOf(
  node: ServedNode,
  ordinal: number,
): Promise<MessageInitShape<typeof DeviceSchema>> {
  const snapshot = node.supervisor.devices.get(ordinal)?.getSnapshot();
  const context = snapshot?.context;
  const [first] = [...node.supervisor.executors.values()].filter(
    ({ process }) => process.ordinal === ordinal,
  );
  const status = first === undefined ? null : await ask(node, first.process.id);
  return {
    ordinal,
    driver: node.settings.driver,
    state: String(snapshot?.value ?? 'closed'),
    name: status?.device?.name ?? '',
    totalBytes: status?.device?.totalBytes ?? 0n,
    poolTarget: context?.poolTarget ?? 0,
    warmExecutors: context?.warm.length ?? 0,
    startingExecutors: context?.starting ?? 0,
    waitingClients: context?.waiting.length ?? 0,
    failure: context?.failure?.message ?? '',
  };
}

/** Status of an executor; null when it does not answer now, which its client's row shows. */
async function ask(node: ServedNode, executorId: string): Promise<MethodResult<'status'> | null> {
  const executor = node.supervisor.executors.get(executorId)?.process;
  if (executor === undefined) return null;
  try {
    return await executor.request('status', {}, ASK_MS);
  } catch (thrown) {
    if (thrown instanceof PhosError) return null;
    throw thrown;
  }
}

async function listFor(node: ServedNode, caller: Peer) {
  const visible = [...node.supervisor.clients.values()].filter((client) =>
    mayActOn(caller, client.facts.uid),
  );
  return {
    clients: await Promise.all(visible.map((client) => clientOf(node, client))),
    runs: [...node.runs.entries.values()].flatMap(
      (entry): MessageInitShape<typeof RunJobSchema>[] => {
        const { record, keeperId, socketPath } = entry;
        if (record === null || !mayActOn(caller, record.uid)) return [];
        const { root, uid, argv, stdio } = record;
        const state = String(entry.actor.getSnapshot().value);
        return [{ keeperId, pid: root.pid, uid, argv, stdio, state, socketPath }];
      },
    ),
  };
}

async function clientOf(
  node: ServedNode,
  client: ClientEntry,
): Promise<MessageInitShape<typeof ClientSchema>> {
  const { facts, executorId, failure, state, pid } = client;
  const executor = node.supervisor.executors.get(executorId ?? '')?.process;
  const status = executorId === null ? null : await ask(node, executorId);
  return {
    clientId: facts.clientId,
    pid,
    uid: facts.uid,
    command: facts.command,
    state,
    failure: failure?.message ?? '',
    executorId: executorId ?? '',
    executorPid: executor?.key?.pid ?? 0,
    ordinal: facts.ordinal,
    driver: node.settings.driver,
    deviceBytes: status?.deviceBytesUsed ?? 0n,
    arenaBytes: status?.arenaBytes ?? 0n,
    objects: status?.objects ?? 0,
    commands: status?.commands ?? 0n,
    syncCommands: status?.syncCommands ?? 0n,
    deferredErrors: status?.deferredErrors ?? 0n,
    contextError: status?.contextError ?? 0,
    unsupportedCalls: [...(status?.unsupportedCalls ?? [])],
    suspended: state === 'suspended',
    jobId: node.supervisor.ownerOf(facts.clientId) ?? '',
    keeperId: keeperOf(node, pid),
  };
}

/** The run job whose tree this process is in; '' for none. */
function keeperOf(node: ServedNode, pid: number): string {
  return node.runs.byRoot(pid)?.keeperId ?? '';
}
