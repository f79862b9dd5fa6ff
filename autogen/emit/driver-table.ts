// SPDX-License-Identifier: Apache-2.0
/** The driver table: one pointer for each base name, with the newest signature of 13.0. */
import { declare } from '../ctype.ts';
import type { Ir } from '../ir.ts';
import { callLines, generated, type OutputFile } from './output.ts';

function header(ir: Ir): OutputFile {
  const slots = ir.driverCalls.flatMap((c) =>
    callLines(
      `  CUresult (*${c.name})`,
      c.params.map((p) => declare(p.type, p.name)),
      ';',
    ).map((l, i) => (i === 0 ? l : `  ${l}`)),
  );
  return generated(
    'native/gen/driver_table.h',
    'A CUDA driver as a table of functions: the real one, or the simulated one.',
    [
      '#pragma once',
      '',
      '#include <cstddef>',
      '#include <span>',
      '',
      '#include "gen/call_ids.h"',
      '#include "phos/cuda_abi.h"',
      '',
      '#ifdef PHOS_CUDA_SOURCE_NAMES',
      '#error "the slots have the names of the API; include this without PHOS_CUDA_SOURCE_NAMES"',
      '#endif',
      '',
      'namespace phos {',
      '',
      'struct DriverTable {',
      '  std::size_t size;  // bytes of this structure as its builder knows it',
      ...slots,
      '};',
      '',
      '// A slot, and the symbol of the newest ABI that it has the signature of.',
      'struct DriverSymbol {',
      '  CallId id;',
      '  const char* name;    // what cuGetProcAddress calls it',
      '  const char* symbol;  // what the library exports',
      '  int since;           // the version to ask cuGetProcAddress for',
      '  std::size_t offset;  // of the slot in DriverTable',
      '};',
      'std::span<const DriverSymbol> driver_symbols() noexcept;',
      '',
      '// Makes every slot answer CUDA_ERROR_NOT_SUPPORTED and report its name (once a process).',
      'void fill_unsupported(DriverTable& table) noexcept;',
      '',
      '// Who hears of calls to unsupported slots; null hears nothing. The callback runs on the',
      '// calling thread, once for each name.',
      'using UnsupportedReporter = void (*)(void* user, CallId id);',
      'void set_unsupported_reporter(UnsupportedReporter reporter, void* user) noexcept;',
      '',
      '// Fills the slots for which the resolver has an address and leaves the others as they are',
      '// (so call fill_unsupported first). Returns how many were filled.',
      'using DriverResolver = void* (*)(void* user, const DriverSymbol& symbol);',
      'std::size_t load_driver_table(DriverTable& table, DriverResolver resolve, void* user);',
      '',
      '}  // namespace phos',
    ],
  );
}

const SUPPORT = `namespace phos {
namespace {

std::atomic<UnsupportedReporter> g_reporter{nullptr};
std::atomic<void*> g_reporter_user{nullptr};
std::array<std::atomic<bool>, kFirstInternalCallId> g_reported{};

CUresult report(CallId id) noexcept {
  if (!g_reported[static_cast<std::size_t>(id)].exchange(true, std::memory_order_relaxed)) {
    const UnsupportedReporter reporter = g_reporter.load(std::memory_order_acquire);
    if (reporter != nullptr) reporter(g_reporter_user.load(std::memory_order_relaxed), id);
  }
  return CUDA_ERROR_NOT_SUPPORTED;
}

template <CallId id, class F>
struct Unsupported;
template <CallId id, class... Args>
struct Unsupported<id, CUresult (*)(Args...)> {
  static CUresult answer(Args... /*args*/) { return report(id); }
};
`.split('\n');

function source(ir: Ir): OutputFile {
  return generated('native/gen/driver_table.cc', '', [
    '#include "gen/driver_table.h"',
    '',
    '#include <array>',
    '#include <atomic>',
    '#include <cstring>',
    '',
    ...SUPPORT,
    `constexpr std::array<DriverSymbol, ${ir.driverCalls.length}> kSymbols{{`,
    ...ir.driverCalls.map((c) => {
      const since = c.versions.find((v) => v.symbol === c.newestSymbol)?.since ?? 0;
      const names = `CallId::${c.name}, "${c.name}",\n     "${c.newestSymbol}"`;
      return `    {${names}, ${since}, offsetof(DriverTable, ${c.name})},`;
    }),
    '}};',
    '',
    '}  // namespace',
    '',
    'std::span<const DriverSymbol> driver_symbols() noexcept { return kSymbols; }',
    '',
    'void set_unsupported_reporter(UnsupportedReporter reporter, void* user) noexcept {',
    '  g_reporter.store(nullptr, std::memory_order_release);',
    '  g_reporter_user.store(user, std::memory_order_relaxed);',
    '  g_reporter.store(reporter, std::memory_order_release);',
    '}',
    '',
    'void fill_unsupported(DriverTable& table) noexcept {',
    '  table.size = sizeof(DriverTable);',
    ...ir.driverCalls.flatMap((c) => [
      `  table.${c.name} =`,
      `      &Unsupported<CallId::${c.name}, decltype(table.${c.name})>::answer;`,
    ]),
    '}',
    '',
    'std::size_t load_driver_table(DriverTable& table, DriverResolver resolve, void* user) {',
    '  table.size = sizeof(DriverTable);',
    '  std::size_t filled = 0;',
    '  for (const DriverSymbol& symbol : kSymbols) {',
    '    void* const address = resolve(user, symbol);',
    '    if (address == nullptr) continue;',
    '    // SAFETY: offset is that of a function pointer, and POSIX gives both pointers one size.',
    '    std::memcpy(reinterpret_cast<char*>(&table) + symbol.offset, &address, sizeof(address));',
    '    ++filled;',
    '  }',
    '  return filled;',
    '}',
    '',
    '}  // namespace phos',
  ]);
}

export function emitDriverTable(ir: Ir): readonly OutputFile[] {
  return [header(ir), source(ir)];
}
