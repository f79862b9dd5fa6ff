// SPDX-License-Identifier: Apache-2.0
// The things a node is made of, as the registry keeps them and the control API shows them. Plain
// data that survives JSON: byte counts and ring positions are decimal strings at rest.
import { z } from 'zod';
import type { ErrorCode } from '../errors/phos-error.ts';

const count = z.number().int().nonnegative();
const bytesText = z.string().regex(/^\d{1,20}$/);

/** A process, named so that a reused pid cannot be mistaken for it. */
export const processIdentity = z.object({ pid: count, startTime: bytesText });
export type ProcessIdentity = z.output<typeof processIdentity>;

export const clientState = z.enum([
  'waiting',
  'welcoming',
  'attaching',
  'running',
  'away',
  'suspended',
  'lost',
  'exited',
]);
export type ClientState = z.output<typeof clientState>;

export const clientRecord = z.object({
  clientId: z.string().regex(/^[0-9a-f]{32}$/),
  process: processIdentity,
  uid: count,
  gid: count,
  /** Program name as /proc/PID/comm tells it. */
  command: z.string(),
  executorId: z.string(),
  /** Kept so that a phosd that comes back knows what it must not run twice. */
  suspended: z.boolean(),
  /** CUDA_* and PHOS_* variables of its hello: a restore gives them to the new executor. */
  environment: z.record(z.string(), z.string()),
});
export type ClientRecord = z.output<typeof clientRecord>;

export const executorRecord = z.object({
  executorId: z.string(),
  process: processIdentity,
  driver: z.enum(['sim', 'cuda']),
  ordinal: count,
});
export type ExecutorRecord = z.output<typeof executorRecord>;

/** What restore needs to bring a job back, and what a foreground `phos run` needs to follow it. */
export const keeperRecord = z.object({
  keeperId: z.string(),
  process: processIdentity,
  /** The program that it started or restored: the root of its job's tree. */
  root: processIdentity,
  uid: count,
  gid: count,
  groups: z.array(count),
  stdio: z.enum(['pipes', 'pty']),
  argv: z.array(z.string()),
  cwd: z.string(),
  cgroup: z.string().nullable(),
  /** Content hash of the client library that the program loads. */
  library: z.string().nullable(),
});
export type KeeperRecord = z.output<typeof keeperRecord>;

/** A job under way: what a phosd that comes back has to take back. */
export const jobRecord = z.object({
  jobId: z.string(),
  kind: z.enum(['dump', 'pre-dump', 'restore', 'suspend', 'resume']),
  rootPid: count,
  directory: z.string().nullable(),
  /** Cgroup of the tree: frozen by a dump, filled by a restore. */
  cgroup: z.string().nullable(),
  /** Of a restore: the keeper it makes. */
  keeperId: z.string().nullable(),
  clients: z.array(z.string()),
});
export type JobRecordAtRest = z.output<typeof jobRecord>;

/** registry.json. Written atomically after every change; read when phosd starts. */
export const registrySchema = z.object({
  schema: z.literal('phos-registry'),
  version: z.literal(1),
  executors: z.array(executorRecord),
  clients: z.array(clientRecord),
  keepers: z.array(keeperRecord),
  jobs: z.array(jobRecord),
});
export type Registry = z.output<typeof registrySchema>;

export const emptyRegistry: Registry = {
  schema: 'phos-registry',
  version: 1,
  executors: [],
  clients: [],
  keepers: [],
  jobs: [],
};

export type JobKind = JobRecordAtRest['kind'];

/** What went wrong, in a form that a machine may keep and a socket may carry. */
export interface Failure {
  readonly code: ErrorCode;
  readonly message: string;
  /** The step that failed, such as 'drain' or 'cpu-dump'. */
  readonly step: string;
  readonly retryable: boolean;
}

/** How far a stage has come. */
export interface StageProgress {
  readonly stage: string;
  readonly doneBytes: bigint;
  readonly totalBytes: bigint;
}

/** One finished stage of a job: what it moved and how long it took. */
export interface StageReport {
  readonly stage: string;
  readonly ms: number;
  /** 0 for stages that move nothing. */
  readonly bytes: bigint;
}
