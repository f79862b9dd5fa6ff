// SPDX-License-Identifier: Apache-2.0
// The result of a job, for programs and for people.
import type { JobResult } from '../gen/proto/phos/v1/control_pb.ts';
import { bytes, duration, rate, table } from './format.ts';

export function jobData(result: JobResult) {
  const { keeperId, keeperSocket: _, stages, ...rest } = result;
  return {
    ...rest,
    runJobId: keeperId,
    stages: stages.map((one) => ({
      stage: one.stage,
      ms: one.ms,
      bytes: one.bytes,
      bytesPerSecond: one.ms > 0 ? Math.round((Number(one.bytes) / one.ms) * 1000) : 0,
    })),
  };
}

export function stageTable(result: JobResult): string {
  return table(
    ['STAGE', 'TIME', 'BYTES', 'RATE'],
    result.stages.map((one) => [
      one.stage,
      duration(one.ms),
      one.bytes === 0n ? '' : bytes(one.bytes),
      rate(one.bytes, one.ms),
    ]),
  );
}

export function jobWarnings(result: JobResult): string[] {
  return result.warnings.map((one) => `warning: ${one}`);
}
