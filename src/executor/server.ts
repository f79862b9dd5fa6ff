// SPDX-License-Identifier: Apache-2.0
// The executor's side of executors/ID.sock: any number of connections, all of the user who started
// this executor or of root; requests of one connection run at the same time.
import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { PhosError } from '../errors/phos-error.ts';
import { peerCredentials } from '../native/native.ts';
import { LineReader } from './line-reader.ts';
import {
  type ExecutorNotice,
  events,
  type MethodName,
  type MethodParams,
  type MethodResult,
  methods,
  request,
} from './protocol.ts';
import { toWire } from './wire-error.ts';

export type Handle = <M extends MethodName>(
  method: M,
  params: MethodParams<M>,
) => MethodResult<M> | Promise<MethodResult<M>>;

export class ControlServer {
  readonly #path: string;
  readonly #handle: Handle;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #owner: number = process.getuid?.() ?? 0;

  constructor(path: string, handle: Handle) {
    this.#path = path;
    this.#handle = handle;
    this.#server = createServer((socket) => this.#accept(socket));
  }

  listen(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', (cause) =>
        reject(
          new PhosError('CONFLICT', `Listening at ${this.#path} failed: ${cause.message}.`, {
            cause,
          }),
        ),
      );
      this.#server.listen(this.#path, () => {
        chmodSync(this.#path, 0o600);
        resolve();
      });
    });
  }

  /** Tells every connection. */
  tell(notice: ExecutorNotice): void {
    const params = events[notice.event].encode(notice.params as never);
    const line = `${JSON.stringify({ event: notice.event, params })}\n`;
    for (const socket of this.#sockets) socket.write(line);
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.end();
    rmSync(this.#path, { force: true });
  }

  #accept(socket: Socket): void {
    if (!this.#isAllowed(socket)) {
      socket.destroy();
      return;
    }
    const reader = new LineReader();
    this.#sockets.add(socket);
    socket.on('close', () => this.#sockets.delete(socket));
    // A peer that vanishes is seen by 'close'; its unread answers do not matter.
    socket.on('error', () => socket.destroy());
    socket.on('data', (data: Buffer) => {
      try {
        for (const line of reader.push(data)) void this.#take(socket, line);
      } catch {
        // It does not speak this protocol.
        socket.destroy();
      }
    });
  }

  #isAllowed(socket: Socket): boolean {
    const { fd } = (socket as unknown as { readonly _handle: { readonly fd: number } })._handle;
    const { uid } = peerCredentials(fd);
    return uid === 0 || uid === this.#owner;
  }

  async #take(socket: Socket, line: unknown): Promise<void> {
    const parsed = request.safeParse(line);
    if (!parsed.success) {
      socket.destroy();
      return;
    }
    const { id, method, params } = parsed.data;
    let answer: object;
    try {
      answer = { id, result: await this.#call(method, params) };
    } catch (thrown) {
      answer = { id, error: toWire(thrown) };
    }
    if (!socket.destroyed) socket.write(`${JSON.stringify(answer)}\n`);
  }

  async #call(method: MethodName, params: unknown): Promise<unknown> {
    const { params: accepts, result: answers } = methods[method];
    const decoded = accepts.safeDecode(params as never);
    if (!decoded.success) {
      throw new PhosError(
        'USAGE',
        `The parameters of ${method} are wrong: ${decoded.error.message}`,
      );
    }
    const result = await this.#handle(method, decoded.data as never);
    return answers.encode(result as never);
  }
}
