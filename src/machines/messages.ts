// SPDX-License-Identifier: Apache-2.0
// What the machines of a node say to each other. A machine emits; wiring.ts tells who hears it.
import type { Failure } from '../model/domain.ts';

/** A client wants an executor on its device. */
export interface ExecutorRequest {
  readonly type: 'executor.request';
  readonly clientId: string;
  readonly ordinal: number;
}
/** The pool wants one more executor process. */
export interface ExecutorStart {
  readonly type: 'executor.start';
  readonly ordinal: number;
}
export interface ExecutorReady {
  readonly type: 'executor.ready';
  readonly executorId: string;
  readonly ordinal: number;
}
/** A start failed: nothing runs. */
export interface ExecutorFailed {
  readonly type: 'executor.failed';
  readonly executorId: string;
  readonly ordinal: number;
  readonly failure: Failure;
}
/** The pool gives a warm executor to a client. */
export interface ExecutorPaired {
  readonly type: 'executor.paired';
  readonly executorId: string;
  readonly clientId: string;
}
export interface ExecutorBound {
  readonly type: 'executor.bound';
  readonly executorId: string;
  readonly clientId: string;
}
export interface ExecutorRefused {
  readonly type: 'executor.refused';
  readonly clientId: string;
  readonly failure: Failure;
}
/** The process of an executor that served a client is gone. */
export interface ExecutorLost {
  readonly type: 'executor.lost';
  readonly executorId: string;
  readonly clientId: string;
}
export interface ExecutorEnded {
  readonly type: 'executor.ended';
  readonly executorId: string;
  readonly ordinal: number;
  /** The process may still be there: it could not be ended in time. */
  readonly leaked: boolean;
}
export interface ClientJoined {
  readonly type: 'client.joined';
  readonly clientId: string;
}
/** The client needs its executor no more. */
export interface ClientGone {
  readonly type: 'client.gone';
  readonly clientId: string;
  readonly executorId: string | null;
  readonly ordinal: number;
}
export interface JobGranted {
  readonly type: 'job.granted';
  readonly jobId: string;
}
export interface JobRefused {
  readonly type: 'job.refused';
  readonly jobId: string;
  readonly failure: Failure;
}
/** A client of this job is gone. */
export interface JobBroken {
  readonly type: 'job.broken';
  readonly jobId: string;
  readonly failure: Failure;
}
export interface JobEnded {
  readonly type: 'job.ended';
  readonly jobId: string;
  readonly outcome: 'done' | 'failed';
}

export type Message =
  | ExecutorRequest
  | ExecutorStart
  | ExecutorReady
  | ExecutorFailed
  | ExecutorPaired
  | ExecutorBound
  | ExecutorRefused
  | ExecutorLost
  | ExecutorEnded
  | ClientJoined
  | ClientGone
  | JobGranted
  | JobRefused
  | JobBroken
  | JobEnded;
