// SPDX-License-Identifier: Apache-2.0
/**
 * native/test/autogen/gen: what the native tests of the generator are compiled from. `sample/` is
 * generated as if these functions, and no others, were implemented in these ways, so that the
 * tests do not depend on how far the product is; `impl_stubs.cc` stands in for every body.
 */
import { declare } from '../ctype.ts';
import { buildIr, type Ir, type PlainParam } from '../ir.ts';
import { emitClientCalls } from './client-calls.ts';
import { emitClientEntries } from './client-entries.ts';
import { emitCodec } from './codec.ts';
import { emitExecutorDispatch } from './executor-dispatch.ts';
import { callLines, generated, type OutputFile } from './output.ts';
import { emitValueChecks } from './value-checks.ts';

const FOLDER = 'native/test/autogen/gen';

const GENERATED = new Set([
  'cuCtxGetLimit',
  'cuCtxSetLimit',
  'cuEventCreate',
  'cuEventDestroy',
  'cuEventElapsedTime',
  'cuEventRecord',
  'cuFuncSetCacheConfig',
  'cuMemPoolGetAttribute',
  'cuMemPoolSetAccess',
  'cuMemPoolSetAttribute',
  'cuModuleGetGlobal',
]);
const CUSTOM = new Set([
  'cuCtxSynchronize',
  'cuLaunchKernelEx',
  'cuMemAlloc',
  'cuMemcpyHtoD',
  'cuStreamBeginCapture',
  'cuStreamDestroy',
  'cuStreamGetCtx',
  'cuStreamQuery',
]);
const UNSUPPORTED = new Set(['cuGreenCtxDestroy']);

function sampleIr(ir: Ir): Ir {
  const all = ir.notation.functions;
  const functions = [
    ...all
      .filter((f) => GENERATED.has(f.name))
      .map((f) => ({ ...f, client: 'generated' as const, executor: 'generated' as const })),
    ...all
      .filter((f) => CUSTOM.has(f.name))
      .map((f) => ({ ...f, client: 'custom' as const, executor: 'none' as const })),
    ...all
      .filter((f) => UNSUPPORTED.has(f.name))
      .map((f) => ({ ...f, client: 'unsupported' as const, executor: 'none' as const })),
  ];
  return buildIr({ ...ir.notation, functions, internal: [], exports: [] });
}

function stub(name: string, params: readonly PlainParam[], mode: boolean): string[] {
  const stream = params.find((p) => p.type === 'CUstream')?.name ?? null;
  const args = params.map((p) => declare(p.type, p.name === stream ? p.name : `/*${p.name}*/`));
  if (mode) args.push('StreamMode stream_mode');
  const given = mode ? 'stream_mode' : 'StreamMode::legacy';
  return [
    ...callLines(`CUresult ${name}`, args, ' {'),
    `  return note("${name}", ${stream ?? 'nullptr'}, ${given});`,
    '}',
  ];
}

function implStubs(ir: Ir, path: string): OutputFile {
  const supported = ir.driverCalls.filter((c) => c.client !== 'unsupported');
  const old = ir.driverCalls.flatMap((c) =>
    c.versions.filter((v) => !v.isNewestAbi && v.client === 'custom'),
  );
  return generated(path, 'Bodies that note their call.', [
    '#include "stubs.h"',
    '',
    'namespace phos::client {',
    '',
    'void log_answer(CallId, CUresult) noexcept {}',
    '',
    'CUresult report_unsupported(CallId id) noexcept {',
    '  note(call_name(id), nullptr, StreamMode::legacy);',
    '  return CUDA_ERROR_NOT_SUPPORTED;',
    '}',
    '',
    'namespace impl {',
    '',
    ...supported.flatMap((c) => stub(c.name, c.params, c.takesStreamMode)),
    ...old.flatMap((v) => stub(v.symbol, v.params, false)),
    '',
    '}  // namespace impl',
    '}  // namespace phos::client',
  ]);
}

export function emitTestSamples(ir: Ir): readonly OutputFile[] {
  const sample = sampleIr(ir);
  const emitters = [
    emitCodec,
    emitValueChecks,
    emitClientEntries,
    emitClientCalls,
    emitExecutorDispatch,
  ];
  const files = emitters
    .flatMap((emit) => emit(sample))
    .filter((file) => /\.(h|cc)$/.test(file.path) && !file.path.includes('proc_table'))
    .map((file) => ({ ...file, path: file.path.replace('native/gen/', `${FOLDER}/sample/gen/`) }));
  return [
    ...files,
    implStubs(sample, `${FOLDER}/sample/impl_stubs.cc`),
    implStubs(ir, `${FOLDER}/impl_stubs.cc`),
  ];
}
