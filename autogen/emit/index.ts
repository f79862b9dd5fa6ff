// SPDX-License-Identifier: Apache-2.0
/** Every emitter, in one list: a new kind of output is added here and nowhere else. */
import type { Ir } from '../ir.ts';
import { emitAbiCheck } from './abi-check.ts';
import { emitCallIds } from './call-ids.ts';
import { emitCodec } from './codec.ts';
import { emitCudaAbi } from './cuda-abi.ts';
import { emitDriverTable } from './driver-table.ts';
import { emitErrorCodes } from './error-codes.ts';
import { emitHandleTypes } from './handle-types.ts';
import type { Emitter, OutputFile } from './output.ts';

const EMITTERS: readonly Emitter[] = [emitCudaAbi, emitAbiCheck, emitCallIds, emitCodec, emitDriverTable, emitErrorCodes, emitHandleTypes];

export function emitAll(ir: Ir): readonly OutputFile[] {
  return EMITTERS.flatMap((emit) => emit(ir));
}
