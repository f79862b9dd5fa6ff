// SPDX-License-Identifier: Apache-2.0
// The piscina worker: one task, one long native call. It ends by the stop word, never by an
// AbortSignal, which would leave a thread that goes on consuming the ring.
import { type DrainResult, drain } from '../native/native.ts';

export interface DrainTask {
  /** The executor's number in this process, as a decimal string. */
  readonly key: string;
}

export default function run(task: DrainTask): DrainResult {
  return drain(BigInt(task.key), 0);
}
