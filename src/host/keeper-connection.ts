// SPDX-License-Identifier: Apache-2.0
// One connection to a keeper: asks, watches for the end of its job, or is the program's terminal.
import { connect, type Socket } from 'node:net';
import { z } from 'zod';
import { PhosError, type PhosErrorJson } from '../errors/phos-error.ts';
import {
  encodeFrame,
  encodeWindowSize,
  type FrameName,
  FrameReader,
  INPUT_WINDOW,
  type KeeperFrame,
} from './keeper-frames.ts';

const decimal = z
  .string()
  .regex(/^\d{1,20}$/)
  .transform(BigInt);
const counters = z.object({ stdoutBytes: decimal, stderrBytes: decimal });

export const jobExitSchema = z.object({
  pid: z.number().int(),
  /** Exit status, null after a signal. */
  code: z.number().int().nullable(),
  /** Signal number, null after an exit. */
  signal: z.number().int().nullable(),
  /** Why phos ended it, '' when it ended by itself. */
  note: z.string(),
});
export type JobExit = z.output<typeof jobExitSchema>;

/** Ends of the program by CRIU's names for them. */
export const stdioSchema = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('pipes'), stdin: z.string(), stdout: z.string(), stderr: z.string() }),
  z.object({ kind: z.literal('pty'), tty: z.string() }),
]);
export type StdioDescription = z.output<typeof stdioSchema>;

export const keeperStatusSchema = z.object({
  id: z.string(),
  keeperPid: z.number().int(),
  pid: z.number().int(),
  startTime: decimal,
  attached: z.boolean(),
  stdio: stdioSchema,
  /** Settings of the terminal in hexadecimal, '' for pipes. */
  termios: z.string(),
  stdinEof: z.boolean(),
  logOut: z.string(),
  logErr: z.string(),
  counters,
  /** Output that the disk of the log refused. */
  logLostBytes: decimal,
  exit: jobExitSchema.nullable(),
});
export type KeeperStatus = z.output<typeof keeperStatusSchema>;

/** Receives the job's output. A promise holds further output back until it is settled. */
export interface OutputSink {
  stdout(bytes: Buffer): void | Promise<void>;
  stderr(bytes: Buffer): void | Promise<void>;
}

interface Waiting {
  readonly resolve: (frame: KeeperFrame) => void;
  readonly reject: (error: PhosError) => void;
  readonly timer: NodeJS.Timeout;
}

const nothing = Buffer.alloc(0);

export class KeeperConnection {
  readonly path: string;
  /** The job's end, once watched or attached. Rejects (UNAVAILABLE) when the keeper goes before. */
  readonly exited: Promise<JobExit>;
  /** Resolves when the connection is over, whoever ended it. */
  readonly closed: Promise<void>;
  readonly #socket: Socket;
  readonly #reader = new FrameReader();
  readonly #waiting = new Map<number, Waiting>();
  #sink: OutputSink | null = null;
  #serial = 0;
  #inputUnderWay = 0;
  #creditWaiters: (() => void)[] = [];
  #deliveries: Promise<void> = Promise.resolve();
  #resolveExited: (exit: JobExit) => void = () => {};
  #rejectExited: (error: PhosError) => void = () => {};
  #resolveClosed: () => void = () => {};
  #gone: PhosError | null = null;

  private constructor(path: string, socket: Socket) {
    this.path = path;
    this.#socket = socket;
    this.exited = new Promise((resolve, reject) => {
      this.#resolveExited = resolve;
      this.#rejectExited = reject;
    });
    // Nobody need look at it; who does, gets the rejection.
    this.exited.catch(() => undefined);
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    socket.on('data', (data) => this.#receive(data));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => this.#end('the keeper has gone'));
  }

  /** @throws PhosError UNAVAILABLE when no keeper answers there, TIMEOUT, PERMISSION */
  static async open(path: string, deadlineMs: number): Promise<KeeperConnection> {
    const socket = connect({ path });
    const timer = setTimeout(() => socket.destroy(new Error('deadline')), deadlineMs);
    try {
      await new Promise<void>((resolve, reject) => {
        socket.once('connect', resolve);
        socket.once('error', reject);
      });
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException;
      const kind =
        code === 'EACCES' ? 'PERMISSION' : message === 'deadline' ? 'TIMEOUT' : 'UNAVAILABLE';
      throw new PhosError(
        kind,
        `no keeper answers at ${path} (${code ?? message}); its job is over`,
        {
          cause,
          details: { path },
        },
      );
    } finally {
      clearTimeout(timer);
    }
    return new KeeperConnection(path, socket);
  }

  async status(deadlineMs: number): Promise<KeeperStatus> {
    const { payload } = await this.#ask('status', nothing, deadlineMs);
    return keeperStatusSchema.parse(JSON.parse(payload.toString('utf8')));
  }

  /** From now on `exited` tells of the job's end (at once when it has ended already). */
  async watch(deadlineMs: number): Promise<void> {
    await this.#ask('watch', nothing, deadlineMs);
  }

  /**
   * Becomes the program's terminal: output goes to `sink`, in order, nothing twice.
   *
   * @throws PhosError CONFLICT when another one is attached
   */
  async attach(
    sink: OutputSink,
    size: { readonly rows: number; readonly columns: number } | null,
    deadlineMs: number,
  ): Promise<void> {
    this.#sink = sink;
    try {
      await this.#ask('attach', size === null ? nothing : encodeWindowSize(size), deadlineMs);
    } catch (thrown) {
      this.#sink = null;
      throw thrown;
    }
  }

  async detach(deadlineMs: number): Promise<void> {
    await this.#ask('detach', nothing, deadlineMs);
  }

  /** Sends input; resolves when the keeper has room again, so awaiting it is the back-pressure. */
  async writeInput(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length; ) {
      while (this.#inputUnderWay >= INPUT_WINDOW && this.#gone === null) {
        await new Promise<void>((resolve) => this.#creditWaiters.push(resolve));
      }
      if (this.#gone !== null) throw this.#gone;
      const part = bytes.subarray(at, at + Math.min(65_536, INPUT_WINDOW - this.#inputUnderWay));
      this.#inputUnderWay += part.length;
      this.#socket.write(encodeFrame('stdinData', 0, part));
      at += part.length;
    }
  }

  endInput(): void {
    this.#socket.write(encodeFrame('stdinEof', 0, nothing));
  }

  resize(size: { readonly rows: number; readonly columns: number }): void {
    this.#socket.write(encodeFrame('windowSize', 0, encodeWindowSize(size)));
  }

  /** Sends a signal to the job's process group. @throws PhosError NOT_FOUND when it has ended */
  async signal(number: number, deadlineMs: number): Promise<void> {
    const payload = Buffer.alloc(4);
    payload.writeUInt32LE(number, 0);
    await this.#ask('signal', payload, deadlineMs);
  }

  /** Makes the keeper take all output that is in the pipes now. Returns bytes taken in all. */
  async flush(deadlineMs: number): Promise<{ stdoutBytes: bigint; stderrBytes: bigint }> {
    const { payload } = await this.#ask('flush', nothing, deadlineMs);
    return counters.parse(JSON.parse(payload.toString('utf8')));
  }

  /** Input that the program has not read yet; it stays where it is. */
  async pendingInput(deadlineMs: number): Promise<Buffer> {
    return (await this.#ask('stdinPending', nothing, deadlineMs)).payload;
  }

  /** What the report of the job's end will say of the reason. */
  async noteEnd(note: string, deadlineMs: number): Promise<void> {
    await this.#ask('endNote', Buffer.from(note), deadlineMs);
  }

  /** The job's end was noted here: its keeper need not wait for anybody else. */
  async release(deadlineMs: number): Promise<void> {
    await this.#ask('release', nothing, deadlineMs);
  }

  close(): void {
    this.#socket.destroy();
    this.#end('closed by this side');
  }

  #ask(name: FrameName, payload: Uint8Array, deadlineMs: number): Promise<KeeperFrame> {
    if (this.#gone !== null) return Promise.reject(this.#gone);
    this.#serial += 1;
    const serial = this.#serial;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(serial);
        reject(
          new PhosError(
            'TIMEOUT',
            `the keeper at ${this.path} did not answer ${name} in ${deadlineMs} ms`,
          ),
        );
      }, deadlineMs);
      this.#waiting.set(serial, { resolve, reject, timer });
      this.#socket.write(encodeFrame(name, serial, payload));
    });
  }

  #receive(data: Buffer): void {
    let frames: KeeperFrame[];
    try {
      frames = this.#reader.push(data);
    } catch (thrown) {
      this.#socket.destroy();
      this.#end(thrown instanceof Error ? thrown.message : String(thrown));
      return;
    }
    for (const frame of frames) this.#take(frame);
  }

  #take(frame: KeeperFrame): void {
    switch (frame.name) {
      case 'stdoutData':
      case 'stderrData':
        this.#deliver(frame);
        return;
      case 'stdinCredit':
        this.#inputUnderWay -= frame.payload.readUInt32LE(0);
        for (const resume of this.#creditWaiters.splice(0)) resume();
        return;
      case 'exited': {
        const exit = jobExitSchema.parse(JSON.parse(frame.payload.toString('utf8')));
        // The end is told when the last output before it has been taken.
        void this.#deliveries.then(() => this.#resolveExited(exit));
        return;
      }
      default:
        this.#answer(frame);
    }
  }

  #answer(frame: KeeperFrame): void {
    const waiting = this.#waiting.get(frame.serial);
    // An answer that came after its deadline: nobody waits for it any more.
    if (waiting === undefined) return;
    this.#waiting.delete(frame.serial);
    clearTimeout(waiting.timer);
    if (frame.name === 'error') waiting.reject(parseProblem(frame.payload));
    else waiting.resolve(frame);
  }

  #deliver(frame: KeeperFrame): void {
    const sink = this.#sink;
    if (sink === null) return;
    const write = () =>
      frame.name === 'stdoutData' ? sink.stdout(frame.payload) : sink.stderr(frame.payload);
    this.#socket.pause();
    this.#deliveries = this.#deliveries
      .then(write)
      .catch((thrown: unknown) => {
        // The terminal cannot be written: the keeper learns it by the end of this connection, and
        // what comes from here on is in its log.
        this.#socket.destroy();
        this.#end(thrown instanceof Error ? thrown.message : String(thrown));
      })
      .finally(() => this.#socket.resume());
  }

  #end(reason: string): void {
    if (this.#gone !== null) return;
    this.#gone = new PhosError('UNAVAILABLE', `the keeper at ${this.path} is gone: ${reason}`);
    for (const waiting of this.#waiting.values()) {
      clearTimeout(waiting.timer);
      waiting.reject(this.#gone);
    }
    this.#waiting.clear();
    for (const resume of this.#creditWaiters.splice(0)) resume();
    const error = this.#gone;
    void this.#deliveries.then(() => this.#rejectExited(error));
    this.#resolveClosed();
  }
}

/** {"error":{"code","message"}} of a keeper as an error of this side. */
export function parseProblem(payload: Buffer | string): PhosError {
  const shape = z.object({ error: z.object({ code: z.string(), message: z.string() }) });
  const { error } = shape.parse(JSON.parse(payload.toString()));
  const json: PhosErrorJson = { ...error, details: {}, retryable: false };
  return PhosError.fromJSON(json);
}
