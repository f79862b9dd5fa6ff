// SPDX-License-Identifier: Apache-2.0
// Every number that bounds something in the control plane. SPECIFICATION.md promises them; a wait
// or a count that is not bounded by a name from here (or from native/include/phos) is a mistake.

/** Longest path that fits sockaddr_un.sun_path with its terminating zero (unix(7)). */
export const MAX_SOCKET_PATH_BYTES = 107;

export const limits = {
  /** Clients that one phosd serves at once. */
  maxClients: 256,
  /** Jobs (dump, restore, suspend, resume) under way at once on a node. */
  maxJobs: 64,
  /** Warm executors kept for each device. */
  poolTarget: 1,
  maxPoolTarget: 16,
  /** Executor starts that may fail in a row before a device is given up. */
  maxExecutorFailures: 5,
  /** Cuts that a dump or a suspend tries before it fails. */
  maxCuts: 5,
  /** Arguments and environment of `phos run`, as they travel. */
  maxRunBytes: 4 << 20,
  /** Images of a chain before one that is written on top of it; then it must be compacted. */
  maxChainDepth: 16,
  /** Connections of one user to the control socket. */
  maxControlConnections: 128,
  /** Finished jobs that `phos status` still tells about. */
  keptJobs: 32,
} as const;

/** Deadlines in milliseconds. */
export const deadlines = {
  daemonReadyMs: 20_000,
  daemonStopMs: 30_000,
  /** A control connection on which nothing has moved is asked whether it still lives ... */
  controlIdleMs: 15_000,
  /** ... and is ended when it does not answer. */
  controlAnswerMs: 10_000,
  prepareMs: 15_000,
  executorStartMs: 30_000,
  executorAssignMs: 20_000,
  executorEndMs: 15_000,
  executorRequestMs: 10_000,
  /** From a hello to an executor; wire.h lets an agent wait kAttachDeadlineMs in all. */
  executorWaitMs: 25_000,
  welcomeMs: 5_000,
  attachMs: 30_000,
  /** A lost socket is confirmed by the process's end within this time, else the client is lost. */
  exitConfirmMs: 10_000,
  planMs: 20_000,
  gateMs: 10_000,
  drainMs: 10_000,
  /** Added to what a drain is given, so that the executor answers first. */
  marginMs: 2_000,
  cutBackoffMs: 200,
  saveMs: 3_600_000,
  disconnectMs: 10_000,
  cpuDumpMs: 600_000,
  commitMs: 600_000,
  endTreeMs: 30_000,
  thawMs: 10_000,
  reattachMs: 30_000,
  settleMs: 30_000,
  discardMs: 60_000,
  readImageMs: 3_600_000,
  loadMs: 3_600_000,
  cpuRestoreMs: 600_000,
  suspendMs: 3_600_000,
  keeperStartMs: 15_000,
  keeperEndMs: 15_000,
  /** A temporary sibling of an image that names no writer is dead after this time. */
  partialIdleMs: 600_000,
} as const;

/** Pause before the next executor is started after `failures` failed starts in a row. */
export function poolBackoffMs(failures: number): number {
  return Math.min(250 * 2 ** Math.max(0, failures - 1), 10_000);
}
