// SPDX-License-Identifier: Apache-2.0
// Every port of a job is a fault point before its effect (`dump.saveGpu.before`) and after it.
import { fromPromise, type PromiseActorLogic } from 'xstate';
import { passFault } from '../native/fault.ts';

// oxlint-disable-next-line no-explicit-any
type Ports = Readonly<Record<string, PromiseActorLogic<any, any>>>;

/** The same ports, with their points when PHOS_FAULT is set. */
export function withFaultPoints<P extends Ports>(kind: string, ports: P): P {
  if (process.env['PHOS_FAULT'] === undefined) return ports;
  const wrapped = Object.entries(ports).map(([name, port]) => {
    const create = port.config as (given: unknown) => PromiseLike<unknown>;
    const effect = fromPromise(async (given) => {
      passFault(`${kind}.${name}.before`);
      const output = await create(given);
      passFault(`${kind}.${name}.after`);
      return output;
    });
    return [name, effect] as const;
  });
  return Object.fromEntries(wrapped) as unknown as P;
}
