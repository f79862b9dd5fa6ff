// SPDX-License-Identifier: Apache-2.0
// The phosd that handlers of the control API see.
import type { Supervisor } from '../actors/supervisor.ts';
import type { PhosFolders, RuntimePaths } from '../model/runtime-dir.ts';
import type { Jobs } from './jobs.ts';
import type { Runs } from './runs.ts';

/** What the handlers need of a phosd; node.ts is it. */
export interface ServedNode {
  readonly settings: {
    readonly folders: PhosFolders;
    readonly driver: string;
    readonly logFile: string | null;
  };
  readonly startedAt: Date;
  readonly paths: RuntimePaths;
  readonly supervisor: Supervisor;
  readonly runs: Runs;
  readonly jobs: Jobs;
  stop(how: { readonly force: boolean; readonly keepClients: boolean }): Promise<number>;
}
