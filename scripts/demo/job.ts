// SPDX-License-Identifier: Apache-2.0
// What a job of phos reports with --json, told in a line for each stage.

import { line, mib, rate, seconds } from './tell.ts';

export interface JobReport {
  readonly stages: readonly {
    readonly stage: string;
    readonly ms: number;
    readonly bytes: number;
  }[];
  readonly totalMs: number;
  readonly stallMs: number;
  readonly stopMs: number;
  readonly deviceBytes: number;
  readonly imageBytes: number;
}

export function tellJob(job: JobReport): void {
  for (const { stage, ms, bytes } of job.stages) {
    const moved = bytes === 0 ? '' : `, ${mib(bytes)}, ${rate(bytes, ms)}`;
    line(`  ${stage.padEnd(14)}${seconds(ms)}${moved}`);
  }
  line(`  ${'in all'.padEnd(14)}${seconds(job.totalMs)}`);
}
