// SPDX-License-Identifier: Apache-2.0
// phosd's side of executors/ID.sock. One connection, any number of requests at once, each with a
// deadline; events go to one listener. When the connection ends, every request under way fails
// with UNAVAILABLE and `closed` resolves, once.
import { connect, type Socket } from 'node:net';
import { PhosError } from '../errors/phos-error.ts';
import { LineReader } from './line-reader.ts';
import {
  type EventName,
  type ExecutorNotice,
  events,
  type MethodName,
  type MethodParams,
  type MethodResult,
  methods,
  serverLine,
} from './protocol.ts';
import { fromWire } from './wire-error.ts';

export interface ExecutorClientOptions {
  readonly connectDeadlineMs: number;
  readonly onNotice: (notice: ExecutorNotice) => void;
}

interface Waiting {
  readonly method: MethodName;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: PhosError) => void;
  readonly timer: NodeJS.Timeout;
}

export class ExecutorClient {
  readonly path: string;
  /** Resolves with the reason when the connection has ended; never rejects. */
  readonly closed: Promise<string>;
  readonly #socket: Socket;
  readonly #onNotice: (notice: ExecutorNotice) => void;
  readonly #reader = new LineReader();
  readonly #waiting = new Map<number, Waiting>();
  #nextId = 1;
  #ended: string | null = null;
  #resolveClosed: (reason: string) => void = () => {};

  private constructor(path: string, socket: Socket, options: ExecutorClientOptions) {
    this.path = path;
    this.#socket = socket;
    this.#onNotice = options.onNotice;
    this.closed = new Promise((resolve) => {
      this.#resolveClosed = resolve;
    });
    socket.on('data', (data: Buffer) => this.#receive(data));
    socket.on('error', (error) => this.#end(error.message));
    socket.on('close', () => this.#end('the executor closed the connection'));
  }

  /**
   * Connects.
   *
   * @throws PhosError UNAVAILABLE when nobody listens there, TIMEOUT at the deadline
   */
  static connect(path: string, options: ExecutorClientOptions): Promise<ExecutorClient> {
    return new Promise((resolve, reject) => {
      const socket = connect(path);
      const timer = setTimeout(() => {
        socket.destroy();
        reject(
          new PhosError(
            'TIMEOUT',
            `Connecting to the executor at ${path} took more than ${options.connectDeadlineMs} ms.`,
          ),
        );
      }, options.connectDeadlineMs);
      const failed = (cause: Error): void => {
        clearTimeout(timer);
        reject(
          new PhosError(
            'UNAVAILABLE',
            `No executor answers at ${path} (${cause.message}); it has ended or never started.`,
            { cause },
          ),
        );
      };
      socket.once('error', failed);
      socket.once('connect', () => {
        clearTimeout(timer);
        socket.off('error', failed);
        resolve(new ExecutorClient(path, socket, options));
      });
    });
  }

  /**
   * Asks for one thing.
   *
   * @throws PhosError what the executor answered; TIMEOUT at the deadline (the executor may still
   *   do it); UNAVAILABLE when the connection ends first; TRANSPORT for an answer out of form
   */
  request<M extends MethodName>(
    method: M,
    params: MethodParams<M>,
    deadlineMs: number,
  ): Promise<MethodResult<M>> {
    if (this.#ended !== null) {
      return Promise.reject(this.#unavailable(method, this.#ended));
    }
    const id = this.#nextId++;
    const line = JSON.stringify({
      id,
      method,
      params: methods[method].params.encode(params as never),
    });
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(
          new PhosError(
            'TIMEOUT',
            `The executor at ${this.path} did not answer ${method} within ${deadlineMs} ms.`,
            { details: { method, deadlineMs } },
          ),
        );
      }, deadlineMs);
      this.#waiting.set(id, {
        method,
        resolve: resolve as (result: unknown) => void,
        reject,
        timer,
      });
      this.#socket.write(`${line}\n`);
    });
  }

  close(): void {
    this.#end('closed by this side');
    this.#socket.destroy();
  }

  #receive(data: Buffer): void {
    try {
      for (const line of this.#reader.push(data)) this.#take(line);
    } catch (thrown) {
      this.#end(thrown instanceof Error ? thrown.message : String(thrown));
      this.#socket.destroy();
    }
  }

  #take(line: unknown): void {
    const message = serverLine.parse(line);
    if ('event' in message) {
      this.#onNotice(parseNotice(message.event, message.params));
      return;
    }
    const waiting = this.#waiting.get(message.id);
    // An answer that came after its deadline: nobody waits for it any more.
    if (waiting === undefined) return;
    this.#waiting.delete(message.id);
    clearTimeout(waiting.timer);
    if ('error' in message) {
      waiting.reject(fromWire(message.error));
      return;
    }
    const result = methods[waiting.method].result.safeDecode(message.result as never);
    if (result.success) {
      waiting.resolve(result.data);
    } else {
      waiting.reject(
        new PhosError(
          'TRANSPORT',
          `The executor at ${this.path} answered ${waiting.method} in a form unknown here: ` +
            result.error.message,
        ),
      );
    }
  }

  #unavailable(method: MethodName, reason: string): PhosError {
    return new PhosError(
      'UNAVAILABLE',
      `The executor at ${this.path} is gone (${reason}), so ${method} was not answered.`,
      { details: { method } },
    );
  }

  #end(reason: string): void {
    if (this.#ended !== null) return;
    this.#ended = reason;
    for (const waiting of this.#waiting.values()) {
      clearTimeout(waiting.timer);
      waiting.reject(this.#unavailable(waiting.method, reason));
    }
    this.#waiting.clear();
    this.#resolveClosed(reason);
  }
}

function parseNotice(event: EventName, params: unknown): ExecutorNotice {
  return { event, params: events[event].decode(params as never) } as ExecutorNotice;
}
