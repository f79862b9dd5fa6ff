// SPDX-License-Identifier: Apache-2.0
// The plain objects that cross the addon's door. Addresses and byte counts are bigint, absent
// values are null, never undefined. The order is that of native/addon.

/** Identity of the process at the other end of a connected unix socket (SO_PEERCRED). */
export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

/** An agent's Hello (native/include/phos/wire.h). `clientId` is 32 hexadecimal digits. */
export interface AttachHello {
  readonly clientId: string;
  /** As the client sees itself; `peer.pid` is the truth. */
  readonly pid: number;
  readonly reattach: boolean;
  readonly ringVersion: number;
  /** The client's CUDA_* and PHOS_* variables. */
  readonly environment: Readonly<Record<string, string>>;
}

/** One agent waiting for an answer on attach.sock. */
export interface AttachRequest {
  /** Names the connection in welcome() and refuse(); never reused by one server. */
  readonly connection: number;
  readonly hello: AttachHello;
  readonly peer: PeerCredentials;
}

/** What phosd answers to an agent: where its executor listens. `token` is 32 hexadecimal digits. */
export interface AttachWelcome {
  readonly token: string;
  readonly executorPath: string;
}

export type DriverName = 'sim' | 'cuda';

export interface DeviceFacts {
  readonly driver: DriverName;
  readonly ordinal: number;
  readonly name: string;
  /** 32 hexadecimal digits. */
  readonly uuid: string;
  readonly driverVersion: number;
  readonly computeMajor: number;
  readonly computeMinor: number;
  readonly totalBytes: bigint;
}

export interface ExecutorOptions {
  readonly driver: DriverName;
  readonly ordinal: number;
  readonly runtimeDir: string;
  readonly id: string;
  /** Path of the SEQPACKET socket on which the client hands its ring over. */
  readonly ringSocketPath: string;
  /** Device memory that phos may hand out; 0 = what the device has. */
  readonly memoryLimitBytes: bigint;
}

/** Who may hand a ring over. `token` and `clientId` are 32 hexadecimal digits. */
export interface ExpectedClient {
  readonly clientId: string;
  readonly token: string;
  readonly pid: number;
  readonly uid: number;
  readonly environment: Readonly<Record<string, string>>;
}

export type ClientLostReason = 'hang-up' | 'protocol' | 'disconnected' | 'exit';

export type ExecutorEvent =
  | { readonly type: 'client.attached'; readonly pid: number; readonly reattached: boolean }
  | { readonly type: 'client.lost'; readonly reason: ClientLostReason; readonly detail: string }
  | { readonly type: 'context.error'; readonly status: number; readonly diagnostic: string }
  | { readonly type: 'call.unsupported'; readonly name: string };

/** Why a drain came back: stop(), another consumer took the ring, or the slice is over. */
export type DrainEnd = 'stopped' | 'superseded' | 'slice';

export interface DrainResult {
  readonly end: DrainEnd;
  /** Commands run by this call. */
  readonly commands: bigint;
}

export interface DrainToResult {
  readonly reached: boolean;
  /** Ring position up to which every command has finished on the device. */
  readonly position: bigint;
  /** Names what is in the way when the cut was not reached, for people. */
  readonly waitingFor: string | null;
}

export interface ObjectSummary {
  /** Name of the handle type: stream, module, memory, ... */
  readonly type: string;
  /** The handle the program holds, or the device address of memory. */
  readonly handle: bigint;
  /** Device bytes, 0 for what has none. */
  readonly bytes: bigint;
  /** Name of the call that created it. */
  readonly createdBy: string;
  /** Why it cannot be saved; null when it can. */
  readonly unsaveable: string | null;
}

/** One file in an image's gpu-K folder. */
export interface ImageFile {
  readonly name: string;
  readonly bytes: bigint;
  /** XXH3-128 of the whole file for objects, blobs and chunks; null for data-L, whose every chunk
   * carries its own checksum in `chunks`. 32 hexadecimal digits. */
  readonly xxh3: string | null;
}

/** How a gpu-K folder is written. */
export interface WriteOptions {
  /** gpu-K folder of the parent image, whose unchanged chunks are not written again. */
  readonly parent: string | null;
  /** Writer threads, each with a data file of its own. */
  readonly lanes: number;
  /** Level of zstd, 1 to 19; 0: chunks are stored as they are. */
  readonly compress: number;
  /** SHA-256 of every chunk goes into the index: for signed images. */
  readonly content: boolean;
  /** The same bytes, by SHA-256, are stored once: in this image, its parent and the donors. */
  readonly share: boolean;
  /** gpu-K folders of the same owner. */
  readonly donors: readonly string[];
  /** 32 bytes: everything is encrypted. The parent and the donors have the same key. */
  readonly key: Buffer | null;
}

export interface SaveOptions extends WriteOptions {
  readonly directory: string;
}

/** How a gpu-K folder is read. */
export interface ReadOptions {
  readonly lanes: number;
  /** SHA-256 of the chunks is checked too, where the index has it. */
  readonly content: boolean;
  /** Of an encrypted image; others do without. */
  readonly key: Buffer | null;
}

/**
 * How device memory is saved: `stop` (the gate stays closed until it is), `snapshot` (the device
 * copies it at the cut), `cow` (chunks are copied aside before they change), `auto` (what fits).
 */
export type SaveMode = 'stop' | 'snapshot' | 'cow' | 'auto';

export interface SaveBeginOptions extends SaveOptions {
  readonly mode: SaveMode;
  /** Opens the gate as soon as the device holds the program by itself (not for mode `stop`). */
  readonly openGate: boolean;
  readonly deadlineMs: number;
}

/** What a save did to the program's streams at its cut. */
export interface HoldFigures {
  /** From the end of all work before the cut to the earliest start of what comes after it. */
  readonly gpuHoldNs: bigint;
  /** From the end of a stream's own work to the end of the others' (the longest). */
  readonly gpuWaitNs: bigint;
  /** Driver calls made for the hold. */
  readonly driverCalls: number;
  readonly streamsHeld: number;
}

export interface SaveBegun extends HoldFigures {
  readonly cut: bigint;
  /** What was chosen. */
  readonly mode: Exclude<SaveMode, 'auto'>;
  /** False: only once the save is finished. */
  readonly gateMayOpen: boolean;
  /** The gate was opened already, as asked. */
  readonly gateOpened: boolean;
  readonly objects: number;
  readonly deviceBytes: bigint;
  /** Copied on the device at the cut. */
  readonly copiedBytes: bigint;
  /** Hashed on the device at the cut. */
  readonly hashedBytes: bigint;
}

/** Chunks that changed before they were saved: the image of this cut is lost. */
export interface ValidationMiss {
  readonly chunks: number;
  /** Kernels that ran since the cut, one of which wrote what it was not expected to. */
  readonly kernels: readonly string[];
}

export interface SaveResult extends HoldFigures {
  readonly cut: bigint;
  readonly objects: number;
  readonly chunks: number;
  readonly zeroChunks: number;
  /** Chunks found in the parent. */
  readonly parentChunks: number;
  /** From the device to the host: what the parent has already stays where it is. */
  readonly movedBytes: bigint;
  /** Chunks whose bytes were stored elsewhere already. */
  readonly sharedChunks: number;
  readonly deviceBytes: bigint;
  readonly writtenBytes: bigint;
  readonly files: readonly ImageFile[];
  readonly objectsMs: number;
  readonly copyMs: number;
  readonly syncMs: number;
  readonly mode: Exclude<SaveMode, 'auto'>;
  readonly copiedBytes: bigint;
  readonly hashedBytes: bigint;
  /** Chunks that were copied aside on the device before the program wrote them. */
  readonly asideChunks: number;
  /** Times that a command had to wait because the pool for these copies was full. */
  readonly heldBack: number;
  /** Not null: what was written is no image, and the cut is lost. Save again in mode `stop`. */
  readonly validationMissed: ValidationMiss | null;
}

export interface LoadOptions extends ReadOptions {
  readonly directory: string;
}

export interface LoadResult {
  readonly cut: bigint;
  readonly clientId: string;
  readonly objects: number;
  readonly chunks: number;
  readonly deviceBytes: bigint;
  readonly readBytes: bigint;
  readonly verifyMs: number;
  readonly objectsMs: number;
  readonly copyMs: number;
}

export interface SuspendResult {
  readonly deviceBytes: bigint;
  readonly hostBytes: bigint;
  readonly durationMs: number;
}

export interface Progress {
  readonly doneBytes: bigint;
  readonly totalBytes: bigint;
}

export type ExecutorState =
  | 'created'
  | 'ready'
  | 'expecting'
  | 'attached'
  | 'disconnected'
  | 'suspended'
  | 'lost'
  | 'closed';

export interface ExecutorStatus {
  readonly state: ExecutorState;
  readonly device: DeviceFacts | null;
  readonly clientId: string | null;
  readonly clientPid: number | null;
  readonly commands: bigint;
  readonly syncCommands: bigint;
  readonly deferredErrors: bigint;
  /** Call whose deferred error came last; null when there was none. */
  readonly lastDeferredError: string | null;
  readonly head: bigint;
  readonly tail: bigint;
  readonly gateClosed: boolean;
  readonly deviceBytesUsed: bigint;
  readonly deviceBytesReserved: bigint;
  readonly arenaBytes: bigint;
  readonly objects: number;
  readonly pendingWaits: number;
  readonly parkedCommands: number;
  /** CUresult the context is stuck with; 0 = none. */
  readonly contextError: number;
  readonly unsupportedCalls: readonly string[];
  readonly gateWaits: bigint;
  readonly gateWaitNs: bigint;
}

export interface VerifyResult {
  readonly version: number;
  readonly clientId: string;
  readonly cut: bigint;
  readonly objects: number;
  readonly chunks: number;
  readonly deviceBytes: bigint;
  readonly readBytes: bigint;
}

/** What compactImage() wrote. */
export interface CompactResult {
  readonly deviceBytes: bigint;
  readonly writtenBytes: bigint;
}
