// SPDX-License-Identifier: Apache-2.0
// How long each step of a job may take. A record in the input, so that tests and the model checker
// choose their own, and a user may ask for a longer drain.
import { deadlines, limits } from '../model/limits.ts';

export interface JobLimits {
  readonly maxCuts: number;
  readonly planMs: number;
  readonly gateMs: number;
  /** What the executors are given to reach the cut. */
  readonly drainMs: number;
  /** Added to a deadline that the executor also keeps, so that its answer comes first. */
  readonly marginMs: number;
  readonly backoffMs: number;
  readonly saveMs: number;
  readonly disconnectMs: number;
  readonly cpuDumpMs: number;
  readonly commitMs: number;
  readonly endTreeMs: number;
  readonly thawMs: number;
  readonly reattachMs: number;
  readonly settleMs: number;
  readonly discardMs: number;
  readonly readImageMs: number;
  readonly reserveMs: number;
  readonly loadMs: number;
  readonly cpuRestoreMs: number;
  readonly suspendMs: number;
}

export const defaultJobLimits: JobLimits = {
  maxCuts: limits.maxCuts,
  planMs: deadlines.planMs,
  gateMs: deadlines.gateMs,
  drainMs: deadlines.drainMs,
  marginMs: deadlines.marginMs,
  backoffMs: deadlines.cutBackoffMs,
  saveMs: deadlines.saveMs,
  disconnectMs: deadlines.disconnectMs,
  cpuDumpMs: deadlines.cpuDumpMs,
  commitMs: deadlines.commitMs,
  endTreeMs: deadlines.endTreeMs,
  thawMs: deadlines.thawMs,
  reattachMs: deadlines.reattachMs,
  settleMs: deadlines.settleMs,
  discardMs: deadlines.discardMs,
  readImageMs: deadlines.readImageMs,
  reserveMs: deadlines.executorStartMs,
  loadMs: deadlines.loadMs,
  cpuRestoreMs: deadlines.cpuRestoreMs,
  suspendMs: deadlines.suspendMs,
};
