// SPDX-License-Identifier: Apache-2.0
// What a program's environment means for its device. The driver runs in the executor, so what the
// program was told about it must be told there; only what cannot do harm with the executor's rights
// is passed on: no variable that names a file or a library.
import { PhosError } from '../errors/phos-error.ts';

const passedOn = new Set([
  'CUDA_MODULE_LOADING',
  'CUDA_MODULE_DATA_LOADING',
  'CUDA_LAUNCH_BLOCKING',
  'CUDA_DEVICE_MAX_CONNECTIONS',
  'CUDA_SCALE_LAUNCH_QUEUES',
  'CUDA_DEVICE_DEFAULT_PERSISTING_L2_CACHE_PERCENTAGE_LIMIT',
  'CUDA_CACHE_DISABLE',
  'CUDA_CACHE_MAXSIZE',
  'CUDA_FORCE_PTX_JIT',
  'CUDA_FORCE_JIT',
  'CUDA_DISABLE_PTX_JIT',
  'CUDA_DISABLE_JIT',
]);

export type Environment = Readonly<Record<string, string>>;

/** The part of a program's environment that its executor is started with. */
export function driverEnvironment(environment: Environment): Environment {
  return Object.fromEntries(Object.entries(environment).filter(([name]) => passedOn.has(name)));
}

/**
 * The device that a program sees first.
 *
 * @param devices how many phosd has taken over; they are numbered from 0
 * @throws PhosError NOT_FOUND when CUDA_VISIBLE_DEVICES leaves the program none
 */
export function firstVisibleDevice(environment: Environment, devices: number): number {
  const list = environment['CUDA_VISIBLE_DEVICES'];
  if (list === undefined) return 0;
  const first = (list.split(',')[0] ?? '').trim();
  if (/^\d+$/.test(first) && Number(first) < devices) return Number(first);
  // A device by its name: where there is one only, it can be no other.
  if (/^GPU-[0-9a-f]/i.test(first) && devices === 1) return 0;
  throw new PhosError(
    'NOT_FOUND',
    `CUDA_VISIBLE_DEVICES='${list}' leaves the program no device of this phosd; ` +
      `name one of 0 to ${devices - 1}, or leave it out`,
  );
}
