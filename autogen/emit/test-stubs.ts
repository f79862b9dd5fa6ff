// SPDX-License-Identifier: Apache-2.0
/**
 * native/test/autogen/gen: stand-ins for what is written by hand, so that entries and dispatch can
 * be tested alone. Each notes that it was called.
 */
import { declare } from '../ctype.ts';
import type { Ir, PlainParam } from '../ir.ts';
import { callLines, generated, type OutputFile } from './output.ts';

function stub(name: string, params: readonly PlainParam[], mode: boolean): string[] {
  const stream = params.find((p) => p.type === 'CUstream')?.name ?? null;
  const used = new Set([stream]);
  const args = params.map((p) => declare(p.type, used.has(p.name) ? p.name : `/*${p.name}*/`));
  if (mode) args.push('StreamMode stream_mode');
  const note = `note("${name}", ${stream ?? 'nullptr'}, ${mode ? 'stream_mode' : 'StreamMode::legacy'})`;
  return [...callLines(`CUresult ${name}`, args, ' {'), `  return ${note};`, '}'];
}

function implStubs(ir: Ir): OutputFile {
  const supported = ir.driverCalls.filter((c) => c.client !== 'unsupported');
  const old = ir.driverCalls.flatMap((c) =>
    c.versions.filter((v) => !v.isNewestAbi && v.client === 'custom'),
  );
  return generated('native/test/autogen/gen/impl_stubs.cc', 'Bodies that note their call.', [
    '#include "stubs.h"',
    '',
    'namespace phos::client {',
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

function handlerStubs(ir: Ir): OutputFile {
  const custom = ir.calls.filter((c) => c.executor === 'custom');
  return generated('native/test/autogen/gen/handler_stubs.cc', 'Handlers that do nothing.', [
    '#include "gen/executor_handlers.h"',
    '',
    'namespace phos::executor {',
    '',
    ...custom.map((c) => `void handle_${c.name}(Session&, const Command&, Reply&) {}`),
    '',
    '}  // namespace phos::executor',
  ]);
}

export function emitTestStubs(ir: Ir): readonly OutputFile[] {
  return [implStubs(ir), handlerStubs(ir)];
}
