// SPDX-License-Identifier: Apache-2.0
// The server end of the control API: HTTP/2 in clear on a unix socket, every connection's peer
// asked of the kernel before a byte is read.
import { chmodSync, rmSync } from 'node:fs';
import { createServer as createHttp2, type ServerHttp2Session } from 'node:http2';
import { createServer, type Server, type Socket } from 'node:net';
import {
  type ConnectRouter,
  createContextKey,
  createContextValues,
  type HandlerContext,
  type Interceptor,
} from '@connectrpc/connect';
import { connectNodeAdapter } from '@connectrpc/connect-node';
import { PhosError } from '../errors/phos-error.ts';
import { deadlines, limits } from '../model/limits.ts';
import { toConnectError } from './rpc-error.ts';

/** Who is at the other end of a connection. */
export interface Peer {
  readonly pid: number;
  readonly uid: number;
  readonly gid: number;
}

const peerKey = createContextKey<Peer | null>(null);

/** The caller of a handler. @throws PhosError PERMISSION for a connection without credentials */
export function callerOf(context: HandlerContext): Peer {
  const peer = context.values.get(peerKey);
  if (peer === null) throw new PhosError('PERMISSION', 'the caller of this request is unknown');
  return peer;
}

export interface ControlServerOptions {
  readonly path: string;
  /** 0o600, or 0o666 where other users are served and told apart by their credentials. */
  readonly mode: number;
  /** SO_PEERCRED of a connected socket. */
  readonly peerOf: (fd: number) => Peer;
  readonly routes: (router: ConnectRouter) => void;
  readonly onError: (method: string, error: unknown) => void;
  /** How long a connection may be quiet before it is asked whether it lives, and then silent. */
  readonly idleMs?: number;
  readonly answerMs?: number;
}

export interface ControlServer {
  /** Stops listening, lets calls under way end until the deadline, then cuts them off. */
  close(deadlineMs: number): Promise<void>;
}

/** @throws PhosError CONFLICT when something listens there already */
export async function startControlServer(options: ControlServerOptions): Promise<ControlServer> {
  const peers = new WeakMap<ServerHttp2Session, Peer>();
  const errors: Interceptor = (next) => async (request) => {
    try {
      const response = await next(request);
      if (!response.stream) return response;
      return { ...response, message: translated(response.message, request.method.name, options) };
    } catch (thrown) {
      options.onError(request.method.name, thrown);
      throw toConnectError(thrown, request.method.name);
    }
  };
  const http2 = createHttp2(
    connectNodeAdapter({
      routes: options.routes,
      interceptors: [errors],
      readMaxBytes: 8 << 20,
      contextValues: (request) => {
        const session = (request as { stream?: { session?: ServerHttp2Session } }).stream?.session;
        const peer = session === undefined ? undefined : peers.get(session);
        return createContextValues().set(peerKey, peer ?? null);
      },
    }),
  );
  // The session of a connection is made inside emit('connection'), so its peer is known by then.
  let arriving: Peer | null = null;
  const sessions = new Set<ServerHttp2Session>();
  http2.on('session', (session) => {
    if (arriving !== null) peers.set(session, arriving);
    sessions.add(session);
    session.on('close', () => sessions.delete(session));
    endWhenSilent(session, options);
  });
  const connections = new Map<number, number>();
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    try {
      const peer = options.peerOf(fdOf(socket));
      arriving = peer;
      admit(connections, peer.uid, socket);
    } catch (thrown) {
      options.onError('connect', thrown);
      socket.destroy();
      return;
    }
    http2.emit('connection', socket);
    arriving = null;
  });
  await listen(server, options);
  return { close: (deadlineMs) => closeAll(server, sessions, deadlineMs) };
}

/** Counts a user's connections. @throws PhosError CONFLICT when he has too many already */
function admit(connections: Map<number, number>, uid: number, socket: Socket): void {
  const count = connections.get(uid) ?? 0;
  if (count >= limits.maxControlConnections) {
    throw new PhosError('CONFLICT', `user ${uid} has ${count} connections; close some`);
  }
  connections.set(uid, count + 1);
  socket.once('close', () => connections.set(uid, (connections.get(uid) ?? 1) - 1));
}

/**
 * Ends a connection whose peer is gone or does not speak HTTP/2. Node stops reading after a frame
 * that it refuses, and does not even notice then that the socket was closed: such connections
 * would stay for ever. A live peer answers a ping, however long its call takes.
 */
function endWhenSilent(session: ServerHttp2Session, options: ControlServerOptions): void {
  const { idleMs = deadlines.controlIdleMs, answerMs = deadlines.controlAnswerMs } = options;
  let timer: NodeJS.Timeout | null = null;
  session.on('close', () => clearTimeout(timer ?? undefined));
  session.setTimeout(idleMs, () => {
    if (timer !== null) return;
    timer = setTimeout(() => session.destroy(), answerMs);
    session.ping(() => {
      clearTimeout(timer ?? undefined);
      timer = null;
    });
  });
}

async function* translated<T>(
  messages: AsyncIterable<T>,
  method: string,
  options: ControlServerOptions,
): AsyncIterable<T> {
  try {
    yield* messages;
  } catch (thrown) {
    options.onError(method, thrown);
    throw toConnectError(thrown, method);
  }
}

/** The descriptor of a connected socket: Node has no public way to it. */
function fdOf(socket: Socket): number {
  const handle = (socket as unknown as { _handle: { fd: number } | null })._handle;
  if (handle === null) throw new PhosError('TRANSPORT', 'the connection has ended already');
  return handle.fd;
}

async function listen(server: Server, options: ControlServerOptions): Promise<void> {
  // The caller holds the node's lock: whatever is there is what a dead phosd left behind.
  rmSync(options.path, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(
        new PhosError('CONFLICT', `listening on ${options.path} failed: ${cause.message}`, {
          cause,
        }),
      ),
    );
    server.listen(options.path, resolve);
  });
  chmodSync(options.path, options.mode);
}

async function closeAll(
  server: Server,
  sessions: ReadonlySet<ServerHttp2Session>,
  deadlineMs: number,
): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  for (const session of sessions) session.close();
  const timer = setTimeout(() => {
    for (const session of sessions) session.destroy();
  }, deadlineMs);
  await closed;
  clearTimeout(timer);
}
