// SPDX-License-Identifier: Apache-2.0
// The client end of the control API. Failures come out as PhosError; nobody listening is one too.
import { connect } from 'node:net';
import { type Client, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import { Control } from '../gen/proto/phos/v1/control_pb.ts';
import { fromConnectError } from './rpc-error.ts';

export type ControlClient = Client<typeof Control>;

/**
 * A client of the phosd behind a socket. Nothing is sent before the first call, and a call has no
 * deadline unless it is given one (`timeoutMs` in its options).
 */
export function controlClient(socketPath: string): ControlClient {
  const client = createClient(
    Control,
    createConnectTransport({
      baseUrl: 'http://phosd',
      httpVersion: '2',
      // The node's own process serves it: an idle connection ends with the command.
      idleConnectionTimeoutMs: 1_000,
      nodeOptions: { createConnection: () => connect(socketPath) },
    }),
  );
  // The transport makes a ConnectError of whatever an interceptor throws, so errors are rebuilt
  // out here, around each method.
  const translated = Object.entries(client).map(([name, method]) => [
    name,
    (...args: unknown[]) =>
      translate((method as (...args: unknown[]) => Outcome).apply(client, args), socketPath),
  ]);
  return Object.fromEntries(translated) as ControlClient;
}

type Outcome = Promise<unknown> | AsyncIterable<unknown>;

function translate(outcome: Outcome, socketPath: string): Outcome {
  if (Symbol.asyncIterator in outcome) return translateStream(outcome, socketPath);
  return outcome.catch((thrown: unknown) => {
    throw fromConnectError(thrown, socketPath);
  });
}

async function* translateStream<T>(
  messages: AsyncIterable<T>,
  socketPath: string,
): AsyncIterable<T> {
  try {
    yield* messages;
  } catch (thrown) {
    throw fromConnectError(thrown, socketPath);
  }
}
