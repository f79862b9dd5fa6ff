// SPDX-License-Identifier: Apache-2.0
// What build/addon/phos.node exports, raw: positional arguments, checked again in C++. Only
// native.ts imports this. The order is that of native/addon.
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { nativeUrl } from '../model/locate.ts';
import type {
  CompactResult,
  AttachRequest,
  DeviceFacts,
  DrainResult,
  DrainToResult,
  ExecutorEvent,
  ExecutorStatus,
  LoadResult,
  ObjectSummary,
  PeerCredentials,
  ReadOptions,
  SaveBegun,
  SaveMode,
  SaveResult,
  SuspendResult,
  VerifyResult,
  WriteOptions,
} from './dto.ts';

export type ProgressCallback = (doneBytes: bigint, totalBytes: bigint) => void;

export interface RawAttachServer {
  welcome(connection: number, token: string, executorPath: string): void;
  refuse(connection: number, status: number, message: string): void;
  close(): void;
}

export interface RawExecutor {
  key(): bigint;
  start(): DeviceFacts;
  expectClient(
    clientId: string,
    token: string,
    pid: number,
    uid: number,
    environment: readonly string[],
  ): void;
  /** 0 while there is no ring. */
  ringBytes(): number;
  /** Puts the ring's pages under a growable SharedArrayBuffer of at least ringBytes(). */
  mapRing(view: Uint8Array<SharedArrayBuffer>): void;
  stop(): void;
  closeGate(): void;
  openGate(): void;
  readHead(): bigint;
  drainTo(cut: bigint, deadlineMs: number): Promise<DrainToResult>;
  disconnectAgent(deadlineMs: number): Promise<void>;
  explain(): readonly ObjectSummary[];
  save(directory: string, options: WriteOptions, onProgress: ProgressCallback): Promise<SaveResult>;
  savePrepare(mode: SaveMode): Promise<bigint>;
  saveBegin(
    directory: string,
    options: WriteOptions,
    mode: SaveMode,
    openGate: boolean,
    deadlineMs: number,
  ): Promise<SaveBegun>;
  saveFinish(onProgress: ProgressCallback): Promise<SaveResult>;
  saveAbort(): Promise<void>;
  load(directory: string, options: ReadOptions, onProgress: ProgressCallback): Promise<LoadResult>;
  suspend(onProgress: ProgressCallback): Promise<SuspendResult>;
  resume(onProgress: ProgressCallback): Promise<SuspendResult>;
  status(): ExecutorStatus;
  close(): void;
}

export interface Addon {
  peerCredentials(fd: number): PeerCredentials;
  pidfdOpen(pid: number): number;
  processStartTime(pid: number): bigint;
  setCredentials(uid: number, gid: number): void;
  readonly AttachServer: new (
    path: string,
    onMessage: (request: AttachRequest) => void,
    onGone: (connection: number) => void,
  ) => RawAttachServer;
  readonly Executor: new (
    driver: string,
    ordinal: number,
    runtimeDir: string,
    id: string,
    ringSocketPath: string,
    memoryLimitBytes: bigint,
    onEvent: (event: ExecutorEvent) => void,
  ) => RawExecutor;
  drain(key: bigint, sliceMs: number): DrainResult;
  stopAll(): void;
  verifyImage(
    directory: string,
    options: ReadOptions,
    onProgress: ProgressCallback,
  ): Promise<VerifyResult>;
  compactImage(
    from: string,
    to: string,
    options: WriteOptions,
    onProgress: ProgressCallback,
  ): Promise<CompactResult>;
  faultPoint(name: string): number;
}

/** Loads the addon of this build; PHOS_BUILD_DIR names another build folder. */
export function loadAddon(): Addon {
  const path = fileURLToPath(nativeUrl('addon/phos.node', process.env['PHOS_BUILD_DIR'] ?? null));
  return createRequire(import.meta.url)(path) as Addon;
}
