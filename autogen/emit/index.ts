// SPDX-License-Identifier: Apache-2.0
/** Every emitter, in one list: a new kind of output is added here and nowhere else. */
import type { Ir } from '../ir.ts';
import { emitAbiCheck } from './abi-check.ts';
import { emitCallIds } from './call-ids.ts';
import { emitClientCalls } from './client-calls.ts';
import { emitClientEntries } from './client-entries.ts';
import { emitCodec } from './codec.ts';
import { emitCoverage } from './coverage.ts';
import { emitCudaAbi } from './cuda-abi.ts';
import { emitDriverTable } from './driver-table.ts';
import { emitErrorCodes } from './error-codes.ts';
import { emitExecutorDispatch } from './executor-dispatch.ts';
import { emitHandleTypes } from './handle-types.ts';
import type { Emitter, OutputFile } from './output.ts';
import { emitSimEntries } from './sim-entries.ts';
import { emitTestSamples } from './test-samples.ts';
import { emitValueChecks } from './value-checks.ts';

const EMITTERS: readonly Emitter[] = [
  emitCudaAbi,
  emitAbiCheck,
  emitCallIds,
  emitHandleTypes,
  emitErrorCodes,
  emitDriverTable,
  emitCodec,
  emitValueChecks,
  emitClientEntries,
  emitClientCalls,
  emitSimEntries,
  emitExecutorDispatch,
  emitCoverage,
  emitTestSamples,
];

export function emitAll(ir: Ir): readonly OutputFile[] {
  return EMITTERS.flatMap((emit) => emit(ir));
}
