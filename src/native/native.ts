// SPDX-License-Identifier: Apache-2.0
// The only door to the addon, and the whole contract with it. Errors thrown in C++ are rebuilt as
// PhosError here and nowhere else. Every class may be closed twice; any other use after close()
// throws CONFLICT.
import { type Addon, loadAddon, type RawAttachServer, type RawExecutor } from './addon.ts';
import type {
  AttachRequest,
  AttachWelcome,
  CompactResult,
  DeviceFacts,
  DrainResult,
  DrainToResult,
  ExecutorEvent,
  ExecutorOptions,
  ExecutorStatus,
  ExpectedClient,
  LoadOptions,
  LoadResult,
  ObjectSummary,
  PeerCredentials,
  Progress,
  ReadOptions,
  SaveBeginOptions,
  SaveBegun,
  SaveMode,
  SaveOptions,
  SaveResult,
  SuspendResult,
  VerifyResult,
  WriteOptions,
} from './dto.ts';
import { guard, guardAsync } from './native-error.ts';

export type * from './dto.ts';

let loaded: Addon | null = null;

/** Loads on first use, so that commands without native needs run where nothing is built. */
function addon(): Addon {
  loaded ??= guard('load the addon', loadAddon);
  return loaded;
}

export type OnProgress = (progress: Progress) => void;

function progressCallback(onProgress: OnProgress): (done: bigint, total: bigint) => void {
  return (doneBytes, totalBytes) => onProgress({ doneBytes, totalBytes });
}

/** Who is at the other end of a connected unix socket. */
export function peerCredentials(fd: number): PeerCredentials {
  return guard('read peer credentials', () => addon().peerCredentials(fd));
}

/**
 * Opens a pidfd (CLOEXEC). The caller closes it.
 *
 * @throws PhosError NOT_FOUND when there is no such process
 */
export function pidfdOpen(pid: number): number {
  return guard('open a pidfd', () => addon().pidfdOpen(pid));
}

/**
 * Clock ticks since boot at which a process started (field 22 of /proc/PID/stat).
 *
 * @throws PhosError NOT_FOUND when there is no such process
 */
export function processStartTime(pid: number): bigint {
  return guard('read a process start time', () => addon().processStartTime(pid));
}

/**
 * Becomes another user for good: drops supplementary groups, gid and uid of every thread, clears
 * capabilities, and checks that none of it can be taken back.
 *
 * @throws PhosError PERMISSION when the kernel refuses or the check fails
 */
export function setCredentials(uid: number, gid: number): void {
  guard('drop privileges', () => addon().setCredentials(uid, gid));
}

export interface AttachServerEvents {
  readonly onMessage: (request: AttachRequest) => void;
  /** The agent hung up before it was answered. */
  readonly onGone: (connection: number) => void;
}

/** The SOCK_SEQPACKET server of attach.sock; Node itself has none. */
export class AttachServer {
  readonly #raw: RawAttachServer;

  /** Listens at once; `path` is replaced if nobody listens there, else CONFLICT. */
  constructor(path: string, events: AttachServerEvents) {
    const { AttachServer: Raw } = addon();
    this.#raw = guard('listen for agents', () => new Raw(path, events.onMessage, events.onGone));
  }

  /** Sends the agent to its executor and closes the connection. NOT_FOUND when it is gone. */
  welcome(connection: number, answer: AttachWelcome): void {
    guard('welcome a client', () =>
      this.#raw.welcome(connection, answer.token, answer.executorPath),
    );
  }

  /** `status` is the CUresult that the client's cuInit answers. NOT_FOUND when it is gone. */
  refuse(connection: number, status: number, message: string): void {
    guard('refuse a client', () => this.#raw.refuse(connection, status, message));
  }

  close(): void {
    guard('stop listening for agents', () => this.#raw.close());
  }
}

/** Node 20 has it; the type library of ES2023 does not know its option. */
const GrowableSharedArrayBuffer = SharedArrayBuffer as unknown as new (
  bytes: number,
  options: { readonly maxByteLength: number },
) => SharedArrayBuffer;

/** One executor: a device context, its objects, and the ring of at most one client. */
export class Executor {
  readonly #raw: RawExecutor;

  constructor(options: ExecutorOptions, onEvent: (event: ExecutorEvent) => void) {
    const { Executor: Raw } = addon();
    this.#raw = guard(
      'create an executor',
      () =>
        new Raw(
          options.driver,
          options.ordinal,
          options.runtimeDir,
          options.id,
          options.ringSocketPath,
          options.memoryLimitBytes,
          onEvent,
        ),
    );
  }

  /** Names this executor to drain() in another thread of this process. */
  get key(): bigint {
    return this.#raw.key();
  }

  /** Loads the driver, creates the context, listens for the client. DEVICE when it cannot. */
  start(): DeviceFacts {
    return guard('start the executor', () => this.#raw.start());
  }

  /** Who may hand a ring over next; replaces what was expected before. `pid` 0 = any process. */
  expectClient(client: ExpectedClient): void {
    const environment = Object.entries(client.environment).map(
      ([name, value]) => `${name}=${value}`,
    );
    guard('expect a client', () =>
      this.#raw.expectClient(client.clientId, client.token, client.pid, client.uid, environment),
    );
  }

  /** The client's ring, or null while there is none. Valid until the client is lost. */
  ringMemory(): SharedArrayBuffer | null {
    return guard('share the ring', () => {
      const bytes = this.#raw.ringBytes();
      if (bytes === 0) return null;
      // Only a growable buffer lies on pages of its own, which the ring's pages can replace.
      const buffer = new GrowableSharedArrayBuffer(bytes, { maxByteLength: bytes });
      this.#raw.mapRing(new Uint8Array(buffer));
      return buffer;
    });
  }

  /** Ends a running drain() within a millisecond. Idempotent, callable in an exit hook. */
  stop(): void {
    guard('stop the drain', () => this.#raw.stop());
  }

  /** From here on the client publishes nothing more (what it is publishing now still counts). */
  closeGate(): void {
    guard('close the gate', () => this.#raw.closeGate());
  }

  openGate(): void {
    guard('open the gate', () => this.#raw.openGate());
  }

  /** Position after the client's last published record; a cut once the gate is closed. */
  readHead(): bigint {
    return guard('read the head of the ring', () => this.#raw.readHead());
  }

  /** Resolves once everything before `cut` has finished on the device, or at the deadline. */
  drainTo(cut: bigint, deadlineMs: number): Promise<DrainToResult> {
    return guardAsync('drain to the cut', () => this.#raw.drainTo(cut, deadlineMs));
  }

  /** Asks the agent to close its socket; rejects with TIMEOUT when it does not. */
  disconnectAgent(deadlineMs: number): Promise<void> {
    return guardAsync('disconnect the agent', () => this.#raw.disconnectAgent(deadlineMs));
  }

  /** Every live object, and why it cannot be saved where that is so. */
  explain(): readonly ObjectSummary[] {
    return guard('list the objects', () => this.#raw.explain());
  }

  /**
   * Writes objects and device memory into `directory` (created by the caller, empty). The drain
   * must have reached a cut and the gate be closed. Bounded host memory.
   *
   * @throws PhosError STORAGE on ENOSPC or EIO, UNSUPPORTED naming an object that cannot be saved
   */
  save(options: SaveOptions, onProgress: OnProgress): Promise<SaveResult> {
    return guardAsync('save the device state', () =>
      this.#raw.save(options.directory, options, progressCallback(onProgress)),
    );
  }

  /**
   * Sets device memory aside for a save that is to begin soon; the program runs on. It is given
   * back when the gate opens without a save, by saveAbort(), and to a program that needs it.
   *
   * @returns its bytes; 0 where the mode needs none or the device has none
   */
  savePrepare(mode: SaveMode): Promise<bigint> {
    return guardAsync('set memory aside for a save', () => this.#raw.savePrepare(mode));
  }

  /**
   * First phase of a save, with the gate closed and the drain at the cut. Resolves when the gate
   * may open, or (`gateMayOpen` false) with what must be finished first. A failure leaves no save
   * behind and the program free.
   *
   * @throws PhosError CONFLICT while another save is under way, DEVICE without enough free device
   *   memory, TIMEOUT naming what the device is still at, CANCELLED after saveAbort()
   */
  saveBegin(options: SaveBeginOptions): Promise<SaveBegun> {
    return guardAsync('begin to save the device state', () =>
      this.#raw.saveBegin(
        options.directory,
        options,
        options.mode,
        options.openGate,
        options.deadlineMs,
      ),
    );
  }

  /**
   * Second phase: streams what was begun into its folder. Ends the save, also by a failure.
   *
   * @throws PhosError as save(); CONFLICT when none was begun, CANCELLED after saveAbort()
   */
  saveFinish(onProgress: OnProgress): Promise<SaveResult> {
    return guardAsync('save the device state', () =>
      this.#raw.saveFinish(progressCallback(onProgress)),
    );
  }

  /** Gives a save up, in either phase; nothing happens when there is none. */
  saveAbort(): Promise<void> {
    return guardAsync('give up the save', () => this.#raw.saveAbort());
  }

  /**
   * Verifies `directory`, then recreates its objects at the same addresses in this fresh executor.
   *
   * @throws PhosError IMAGE_INVALID naming file and offset, UNSUPPORTED for another version
   */
  load(options: LoadOptions, onProgress: OnProgress): Promise<LoadResult> {
    return guardAsync('load the device state', () =>
      this.#raw.load(options.directory, options, progressCallback(onProgress)),
    );
  }

  /** Moves device state into host memory and frees the device. */
  suspend(onProgress: OnProgress): Promise<SuspendResult> {
    return guardAsync('suspend', () => this.#raw.suspend(progressCallback(onProgress)));
  }

  /** Brings back what suspend() moved out. */
  resume(onProgress: OnProgress): Promise<SuspendResult> {
    return guardAsync('resume', () => this.#raw.resume(progressCallback(onProgress)));
  }

  status(): ExecutorStatus {
    return guard('read the status', () => this.#raw.status());
  }

  /** Stops, frees the device, removes the socket. Idempotent. */
  close(): void {
    guard('close the executor', () => this.#raw.close());
  }
}

/**
 * Consumes a client's ring in the calling thread until stop(). Meant for a worker thread: it does
 * not return to the event loop meanwhile. A slice of 0 means no limit.
 */
export function drain(key: bigint, sliceMs: number): DrainResult {
  return guard('drain the ring', () => addon().drain(key, sliceMs));
}

/** Stops every drain of this process: for exit hooks (a native drain makes process.exit hang). */
export function stopAll(): void {
  guard('stop every drain', () => loaded?.stopAll());
}

/** Checks every size and checksum of a gpu-K folder. IMAGE_INVALID names file and offset. */
export function verifyImage(
  directory: string,
  options: ReadOptions,
  onProgress: OnProgress,
): Promise<VerifyResult> {
  return guardAsync('verify the image', () =>
    addon().verifyImage(directory, options, progressCallback(onProgress)),
  );
}

/**
 * Writes a gpu-K folder anew into `to`, a new empty folder, so that it needs no other image.
 *
 * @throws PhosError IMAGE_INVALID naming file and offset, STORAGE, PERMISSION
 */
export function compactImage(
  from: string,
  to: string,
  options: WriteOptions,
  onProgress: OnProgress,
): Promise<CompactResult> {
  return guardAsync('compact the image', () =>
    addon().compactImage(from, to, options, progressCallback(onProgress)),
  );
}

/**
 * Passes a numbered fault point (PHOS_FAULT=point:nth[:kind]), counted together with native code.
 *
 * @returns the errno to fail with, 0 to go on
 */
export function faultPoint(name: string): number {
  return guard('pass a fault point', () => addon().faultPoint(name));
}
