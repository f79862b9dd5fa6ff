// SPDX-License-Identifier: Apache-2.0
// Who hears what: the whole conversation of a node's machines in one pure function. The supervisor
// of phosd delivers by it, and so does the model checker, so that what is checked is what runs.
import type { ClientEvent } from './client.machine.ts';
import type { DeviceEvent } from './device.machine.ts';
import type { ExecutorEvent } from './executor.machine.ts';
import type { JobEvent } from './job-steps.ts';
import type { Message } from './messages.ts';
import type { NodeEvent } from './node.machine.ts';

export type Delivery =
  | { readonly to: 'node'; readonly event: NodeEvent }
  | { readonly to: 'device'; readonly ordinal: number; readonly event: DeviceEvent }
  | { readonly to: 'executor'; readonly executorId: string; readonly event: ExecutorEvent }
  | {
      readonly to: 'client';
      readonly clientId: string;
      readonly event: ClientEvent;
      /** Delivered instead when there is no such client any more. */
      readonly otherwise?: Delivery;
    }
  | { readonly to: 'job'; readonly jobId: string; readonly event: JobEvent }
  /** Not an actor: the supervisor makes an executor, or tells whoever asked for the job. */
  | {
      readonly to: 'supervisor';
      readonly event: Extract<Message, { type: 'executor.start' | 'job.granted' | 'job.refused' }>;
    };

/** Where a message goes. An actor that is no more hears nothing; that is never an error. */
export function route(message: Message): readonly Delivery[] {
  switch (message.type) {
    case 'executor.request':
    case 'executor.ready':
    case 'executor.failed':
    case 'executor.ended':
      return [{ to: 'device', ordinal: message.ordinal, event: message }];
    case 'executor.start':
    case 'job.granted':
    case 'job.refused':
      return [{ to: 'supervisor', event: message }];
    case 'executor.paired':
      return [
        {
          to: 'executor',
          executorId: message.executorId,
          event: { type: 'executor.assign', clientId: message.clientId },
        },
      ];
    case 'executor.bound':
      return [executorBound(message)];
    case 'executor.refused':
      return [{ to: 'client', clientId: message.clientId, event: message }];
    case 'executor.lost':
      return [{ to: 'client', clientId: message.clientId, event: { type: 'executor.lost' } }];
    case 'client.joined':
      return [{ to: 'node', event: message }];
    case 'client.gone':
      return clientGone(message);
    case 'job.broken':
      return [
        { to: 'job', jobId: message.jobId, event: { type: 'job.fail', failure: message.failure } },
      ];
    case 'job.ended':
      return [{ to: 'node', event: message }];
  }
}

/** A client that ended while its executor was being made ready must not leave it behind. */
function executorBound(message: Extract<Message, { type: 'executor.bound' }>): Delivery {
  const { clientId, executorId } = message;
  const release: Delivery = { to: 'executor', executorId, event: { type: 'client.gone' } };
  return { to: 'client', clientId, event: message, otherwise: release };
}

function clientGone(message: Extract<Message, { type: 'client.gone' }>): readonly Delivery[] {
  const told: Delivery[] = [
    { to: 'node', event: message },
    { to: 'device', ordinal: message.ordinal, event: message },
  ];
  if (message.executorId !== null) {
    const { executorId } = message;
    told.push({ to: 'executor', executorId, event: { type: 'client.gone' } });
  }
  return told;
}
