// SPDX-License-Identifier: Apache-2.0
// A job under way: its actor, its record, and how it ends. The four verbs differ in their machine
// and effects only; what asks for a job sees the same thing each time.
import type { AnyActor, StateValue } from 'xstate';
import { PhosError } from '../errors/phos-error.ts';
import type { Failure, JobKind } from '../model/domain.ts';
import { leafState } from '../machines/leaf-state.ts';
import type { JobRecord } from './job-record.ts';
import type { Supervisor } from './supervisor.ts';

export interface JobOutcomeReport {
  readonly clientIds: readonly string[];
  readonly directory: string | null;
  readonly deviceBytes: bigint;
  readonly imageBytes: bigint;
  readonly attempts: number;
  readonly rootPid: number;
  readonly keeperId: string | null;
  readonly keeperSocket: string | null;
  /** Of a dump: how each client was saved, in tree order. */
  readonly modes?: readonly string[];
  /** Of a dump: what was predicted before it began. */
  readonly predictedStallMs?: number;
}

export interface Job {
  readonly jobId: string;
  readonly kind: JobKind;
  readonly uid: number;
  readonly startedAt: Date;
  readonly rootPid: number;
  readonly directory: string | null;
  readonly record: JobRecord;
  readonly actor: AnyActor;
  readonly clientIds: () => readonly string[];
  /** Cgroup of the tree, once the job has one. */
  readonly cgroup: () => string | null;
  /** Of a restore: the keeper it makes. */
  readonly keeperId: string | null;
  readonly outcome: () => JobOutcomeReport;
  /** What the job is about to do, named for people. */
  readonly stageOf: Readonly<Record<string, string>>;
}

/** Where its machine is, by the name of the innermost state. */
export function jobState(job: Job): string {
  return leafState(job.actor.getSnapshot().value as StateValue);
}

interface JobContext {
  readonly failure: Failure | null;
  readonly unrepaired: readonly Failure[];
}

/**
 * Runs a job to its end.
 *
 * @throws PhosError why it failed; what could not be put back is in its details and its message
 */
export function runJob(job: Job, supervisor: Supervisor): Promise<JobOutcomeReport> {
  supervisor.post.add('job', job.jobId, job.actor);
  return new Promise((resolve, reject) => {
    const follow = (snapshot: ReturnType<AnyActor['getSnapshot']>): void => {
      if (snapshot.status === 'active') {
        const stage = job.stageOf[jobState(job)];
        if (stage !== undefined) job.record.enter(stage);
        return;
      }
      job.record.enter(null);
      const { failure, unrepaired } = snapshot.context as JobContext;
      job.record.warnings.push(...unrepaired.map((one) => `${one.step}: ${one.message}`));
      if (snapshot.value !== 'failed') resolve(job.outcome());
      else reject(asError(job, failure, unrepaired));
    };
    job.actor.subscribe({ next: follow, error: reject });
    job.actor.start();
    follow(job.actor.getSnapshot());
  });
}

function asError(job: Job, failure: Failure | null, unrepaired: readonly Failure[]): PhosError {
  const left = unrepaired.map((one) => `${one.step}: ${one.message}`);
  const { code, message, step, retryable } = failure ?? {
    code: 'INTERNAL' as const,
    message: 'the job failed without a reason',
    step: 'unknown',
    retryable: false,
  };
  const notPutBack = left.length === 0 ? '' : `; could not be put back: ${left.join('; ')}`;
  return new PhosError(code, `${job.kind} failed at ${step}: ${message}${notPutBack}`, {
    details: { jobId: job.jobId, step, unrepaired: left },
    retryable,
  });
}
