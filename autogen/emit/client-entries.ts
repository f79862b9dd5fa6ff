// SPDX-License-Identifier: Apache-2.0
/** The exported symbols of libphos.so, the bodies they go to, and the version script. */
import { declare } from '../ctype.ts';
import type { Ir, IrCall, IrVersion } from '../ir.ts';
import { NotationError } from '../load.ts';
import { callLines, generated, type OutputFile } from './output.ts';

/** Old signatures with hand-written bodies, which are named after their symbols. */
function customVersions(call: IrCall): readonly IrVersion[] {
  return call.versions.filter((v) => !v.isNewestAbi && v.client === 'custom');
}

function implParams(call: IrCall): string[] {
  const params = call.params.map((p) => declare(p.type, p.name));
  return call.takesStreamMode ? [...params, 'StreamMode stream_mode'] : params;
}

function emitImplHeader(ir: Ir): OutputFile {
  const supported = ir.driverCalls.filter((c) => c.client !== 'unsupported');
  const declareAll = (state: IrCall['client']): string[] =>
    supported
      .filter((c) => c.client === state)
      .flatMap((c) => callLines(`CUresult ${c.name}`, implParams(c), ';'));
  const old = ir.driverCalls.flatMap((c) =>
    customVersions(c).flatMap((v) =>
      callLines(
        `CUresult ${v.symbol}`,
        v.params.map((p) => declare(p.type, p.name)),
        ';',
      ),
    ),
  );
  return generated(
    'native/gen/client_impl.h',
    'The bodies behind the exported symbols of libphos.so.',
    [
      '#pragma once',
      '',
      '#include <cstdint>',
      '',
      '#include "gen/call_ids.h"',
      '#include "phos/cuda_abi.h"',
      '',
      'namespace phos::client {',
      '',
      '// What stream 0 is, for calls in which no parameter carries the stream: a program built',
      '// for per-thread default streams comes in through other symbols (_ptds, _ptsz).',
      'enum class StreamMode : std::uint8_t { legacy, per_thread };',
      '',
      '// Answers CUDA_ERROR_NOT_SUPPORTED and reports the name once. Hand-written.',
      'CUresult report_unsupported(CallId id) noexcept;',
      '',
      '// Tells under PHOS_LOG what was answered. Hand-written.',
      'void log_answer(CallId id, CUresult result) noexcept;',
      '',
      '// CUDA_ERROR_NOT_READY is an answer like success: programs poll.',
      'inline CUresult answered(CallId id, CUresult result) noexcept {',
      '  if (result != CUDA_SUCCESS && result != CUDA_ERROR_NOT_READY) [[unlikely]] {',
      '    log_answer(id, result);',
      '  }',
      '  return result;',
      '}',
      '',
      'namespace impl {',
      '',
      '// Hand-written in native/client.',
      ...declareAll('custom'),
      '',
      '// Old signatures that no rule turns into the newest one; hand-written too.',
      ...old,
      '',
      '// Generated in client_calls.cc.',
      ...declareAll('generated'),
      '',
      '}  // namespace impl',
      '}  // namespace phos::client',
    ],
  );
}

/** The argument for each parameter of the newest signature, from what a version was given. */
function entryArguments(call: IrCall, v: IrVersion): string[] {
  const args = call.params.map((p, i) => {
    const adapted = v.adapt?.[p.name];
    if (adapted !== undefined) return adapted;
    const given = v.isNewestAbi ? v.params[i] : v.params.find((q) => q.name === p.name);
    if (given === undefined)
      throw new NotationError(`${v.symbol}: adapt does not say what ${p.name} is`);
    const isStream = v.perThread && p.type === 'CUstream' && p.dir === 'in';
    return isStream ? `per_thread(${given.name})` : given.name;
  });
  if (call.takesStreamMode) args.push(`StreamMode::${v.perThread ? 'per_thread' : 'legacy'}`);
  return args;
}

function emitEntry(call: IrCall, v: IrVersion): string[] {
  const isOld = !v.isNewestAbi && v.adapt === null;
  const unsupported = call.client === 'unsupported' || (isOld && v.client !== 'custom');
  const params = v.params.map((p) =>
    unsupported ? declare(p.type, `/*${p.name}*/`) : declare(p.type, p.name),
  );
  const head = callLines(`CUresult ${v.symbol}`, params, ' {');
  if (unsupported) return [...head, `  return report_unsupported(CallId::${call.name});`, '}'];
  if (isOld)
    return [
      ...head,
      ...callLines(
        `  return answered(CallId::${call.name}, impl::${v.symbol}`,
        v.params.map((p) => p.name),
        ');',
      ),
      '}',
    ];
  const start = `return answered(CallId::${call.name}, impl::${call.name}`;
  const body = callLines(start, entryArguments(call, v), ');', '  ');
  return [...head, ...body, '}'];
}

function emitEntries(ir: Ir): OutputFile {
  return generated(
    'native/gen/client_entries.cc',
    'Every symbol of the driver API, each ABI version of it, in its way to the body.',
    [
      '#include "gen/client_impl.h"',
      '',
      '// The version script decides what is seen; visibility must not hide it first.',
      '#pragma GCC visibility push(default)',
      '',
      'namespace {',
      '',
      'using phos::CallId;',
      'using phos::client::answered;',
      'using phos::client::report_unsupported;',
      'using phos::client::StreamMode;',
      'namespace impl = phos::client::impl;',
      '',
      'CUstream per_thread(CUstream stream) noexcept {',
      '  return stream == nullptr ? CU_STREAM_PER_THREAD : stream;',
      '}',
      '',
      '}  // namespace',
      '',
      'extern "C" {',
      '',
      ...ir.driverCalls.flatMap((c) => c.versions.flatMap((v) => emitEntry(c, v))),
      '',
      '}  // extern "C"',
      '',
      '#pragma GCC visibility pop',
    ],
  );
}

function emitExports(ir: Ir): OutputFile {
  const symbols = ir.driverCalls.flatMap((c) => c.versions.map((v) => v.symbol));
  return generated('native/gen/client_exports.map', 'What libphos.so exports, and nothing else.', [
    '{',
    '  global:',
    ...symbols.map((s) => `    ${s};`),
    ...ir.notation.exports.map((e) => `    ${e.symbol};`),
    '  local:',
    '    *;',
    '};',
  ]);
}

function emitProcTable(ir: Ir): OutputFile {
  const entries = [...ir.driverCalls]
    .sort((a, b) => (a.name < b.name ? -1 : 1))
    .flatMap((c) => c.versions.map((v) => ({ call: c, v })));
  return generated(
    'native/gen/proc_table.cc',
    'What cuGetProcAddress knows: name, oldest version, kind of default stream, function.',
    [
      '#include "gen/proc_table.h"',
      '',
      '#include <algorithm>',
      '#include <cstring>',
      '#include <iterator>',
      '',
      '#include "phos/cuda_abi.h"',
      '',
      'namespace phos {',
      'namespace {',
      '',
      '// SAFETY: a function pointer may be kept as one of another type; callers cast it back.',
      '#define PHOS_ADDRESS(symbol) reinterpret_cast<ProcAddress>(&::symbol)',
      '',
      '// By name; for each name the legacy versions before the per-thread ones, oldest first.',
      'const ProcEntry kEntries[] = {',
      ...entries.map(
        ({ call, v }) =>
          `    {"${call.name}", ${v.since}, ${v.perThread}, ` +
          `"${v.symbol}",\n     PHOS_ADDRESS(${v.symbol})},`,
      ),
      '};',
      '',
      'struct ByName {',
      '  bool operator()(const ProcEntry& e, const char* n) const {',
      '    return std::strcmp(e.name, n) < 0;',
      '  }',
      '  bool operator()(const char* n, const ProcEntry& e) const {',
      '    return std::strcmp(n, e.name) < 0;',
      '  }',
      '};',
      '',
      '}  // namespace',
      '',
      'std::span<const ProcEntry> proc_entries() noexcept { return kEntries; }',
      '',
      'ProcLookup look_up_proc(const char* name, int version, std::uint64_t flags) noexcept {',
      '  const auto [first, last] =',
      '      std::equal_range(std::begin(kEntries), std::end(kEntries), name, ByName{});',
      '  if (first == last) return {nullptr, CU_GET_PROC_ADDRESS_SYMBOL_NOT_FOUND};',
      '  constexpr std::uint64_t kPerThread = CU_GET_PROC_ADDRESS_PER_THREAD_DEFAULT_STREAM;',
      '  const bool per_thread = (flags & kPerThread) != 0 && (last - 1)->per_thread;',
      '  const ProcEntry* best = nullptr;',
      '  for (const ProcEntry* e = first; e != last; ++e) {',
      '    if (e->per_thread == per_thread && e->since <= version) best = e;',
      '  }',
      '  if (best == nullptr) return {nullptr, CU_GET_PROC_ADDRESS_VERSION_NOT_SUFFICIENT};',
      '  return {best, CU_GET_PROC_ADDRESS_SUCCESS};',
      '}',
      '',
      'const ProcEntry* find_proc(const char* name, int version, std::uint64_t flags) noexcept {',
      '  return look_up_proc(name, version, flags).entry;',
      '}',
      '',
      '}  // namespace phos',
    ],
  );
}

function emitProcHeader(ir: Ir): OutputFile {
  const count = ir.driverCalls.reduce((n, c) => n + c.versions.length, 0);
  return generated(
    'native/gen/proc_table.h',
    'The table behind cuGetProcAddress: the highest ABI version not above the one asked for.',
    [
      '#pragma once',
      '',
      '#include <cstddef>',
      '#include <cstdint>',
      '#include <span>',
      '',
      '#include "phos/cuda_abi.h"',
      '',
      'namespace phos {',
      '',
      'using ProcAddress = void (*)();',
      '',
      'struct ProcEntry {',
      '  const char* name;    // what cuGetProcAddress is asked for',
      '  int since;           // CUDA version from which this ABI is the answer',
      '  bool per_thread;     // the variant for per-thread default streams',
      '  const char* symbol;  // what the library exports it as',
      '  ProcAddress address;',
      '};',
      `inline constexpr std::size_t kProcEntries = ${count};`,
      '',
      'struct ProcLookup {',
      '  const ProcEntry* entry;  // null unless status is CU_GET_PROC_ADDRESS_SUCCESS',
      '  CUdriverProcAddressQueryResult status;',
      '};',
      '',
      '// `flags` are those of cuGetProcAddress; a name without per-thread variant ignores them.',
      'ProcLookup look_up_proc(const char* name, int version, std::uint64_t flags) noexcept;',
      'const ProcEntry* find_proc(const char* name, int version, std::uint64_t flags) noexcept;',
      'std::span<const ProcEntry> proc_entries() noexcept;',
      '',
      '}  // namespace phos',
    ],
  );
}

export function emitClientEntries(ir: Ir): readonly OutputFile[] {
  return [
    emitImplHeader(ir),
    emitEntries(ir),
    emitExports(ir),
    emitProcHeader(ir),
    emitProcTable(ir),
  ];
}
