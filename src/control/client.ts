// SPDX-License-Identifier: Apache-2.0
// The client end of the control API. Failures come out as PhosError; nobody listening is one too.
import { connect } from 'node:net';
import { type Client, createClient } from '@connectrpc/connect';
import { createConnectTransport } from '@connectrpc/connect-node';
import type { PhosError } from '../errors/phos-error.ts';
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
    (request: unknown, options?: { readonly signal?: AbortSignal }) => {
      const isAborted = (): boolean => options?.signal?.aborted === true;
      const rebuild = (thrown: unknown) => fromConnectError(thrown, socketPath, isAborted());
      return translate((method as Method).call(client, request, options), rebuild);
    },
  ]);
  return Object.fromEntries(translated) as ControlClient;
}

type Outcome = Promise<unknown> | AsyncIterable<unknown>;
type Method = (request: unknown, options: unknown) => Outcome;

function translate(outcome: Outcome, rebuild: (thrown: unknown) => PhosError): Outcome {
  if (Symbol.asyncIterator in outcome) return translateStream(outcome, rebuild);
  return outcome.catch((thrown: unknown) => {
    throw rebuild(thrown);
  });
}

async function* translateStream<T>(
  messages: AsyncIterable<T>,
  rebuild: (thrown: unknown) => PhosError,
): AsyncIterable<T> {
  try {
    yield* messages;
  } catch (thrown) {
    throw rebuild(thrown);
  }
}
