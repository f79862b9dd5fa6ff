// SPDX-License-Identifier: Apache-2.0
/** Ids, names and dispatch classes of the calls, for C++ and TypeScript. */
import type { Ir } from '../ir.ts';
import { CALL_CLASSES, SEMANTICS } from '../schema.ts';
import { generated, hex, type OutputFile } from './output.ts';

const cppName = (word: string): string => word.replaceAll('-', '_');

function header(ir: Ir): OutputFile {
  return generated(
    'native/gen/call_ids.h',
    'Ids of calls. Rings and images hold them, so the notation states each and none is used again.',
    [
      '#pragma once',
      '',
      '#include <cstddef>',
      '#include <cstdint>',
      '#include <string_view>',
      '',
      'namespace phos {',
      '',
      'enum class CallId : std::uint16_t {',
      '  none = 0,',
      ...ir.calls.map((c) => `  ${c.name} = ${hex(c.id)},`),
      '};',
      `inline constexpr std::size_t kDriverCallCount = ${ir.driverCalls.length};`,
      `inline constexpr std::size_t kInternalCallCount = ${ir.internalCalls.length};`,
      `inline constexpr std::uint16_t kMaxCallId = ${hex(Math.max(...ir.calls.map((c) => c.id)))};`,
      'inline constexpr std::uint16_t kFirstInternalCallId = 0x400;',
      '',
      `enum class CallClass : std::uint8_t { ${CALL_CLASSES.map(cppName).join(', ')} };`,
      `enum class CallSemantics : std::uint8_t { ${SEMANTICS.join(', ')} };`,
      '',
      '// "?" where the id is none that is known.',
      'const char* call_name(CallId id) noexcept;',
      '// CallId::none where no call has the name.',
      'CallId find_call(std::string_view name) noexcept;',
      'bool is_call(std::uint16_t id) noexcept;',
      'CallClass call_class(CallId id) noexcept;',
      'CallSemantics call_semantics(CallId id) noexcept;',
      '',
      '}  // namespace phos',
    ],
  );
}

function source(ir: Ir): OutputFile {
  return generated('native/gen/call_ids.cc', '', [
    '#include "gen/call_ids.h"',
    '',
    '#include <algorithm>',
    '#include <array>',
    '',
    'namespace phos {',
    'namespace {',
    '',
    'struct Entry {',
    '  std::uint16_t id;',
    '  CallClass call_class;',
    '  CallSemantics semantics;',
    '  const char* name;',
    '};',
    '',
    '// In the order of the ids.',
    `constexpr std::array<Entry, ${ir.calls.length}> kCalls{{`,
    ...ir.calls.map(
      (c) =>
        `    {${hex(c.id)}, CallClass::${cppName(c.class)}, ` +
        `CallSemantics::${c.semantics},\n     "${c.name}"},`,
    ),
    '}};',
    '',
    'const Entry* find(std::uint16_t id) noexcept {',
    '  const auto before = [](const Entry& e, std::uint16_t v) { return e.id < v; };',
    '  const auto* at = std::lower_bound(kCalls.begin(), kCalls.end(), id, before);',
    '  return at != kCalls.end() && at->id == id ? at : nullptr;',
    '}',
    '',
    '}  // namespace',
    '',
    'const char* call_name(CallId id) noexcept {',
    '  const Entry* entry = find(static_cast<std::uint16_t>(id));',
    '  return entry == nullptr ? "?" : entry->name;',
    '}',
    '',
    'CallId find_call(std::string_view name) noexcept {',
    '  for (const Entry& entry : kCalls) {',
    '    if (name == entry.name) return static_cast<CallId>(entry.id);',
    '  }',
    '  return CallId::none;',
    '}',
    '',
    'bool is_call(std::uint16_t id) noexcept { return find(id) != nullptr; }',
    '',
    'CallClass call_class(CallId id) noexcept {',
    '  const Entry* entry = find(static_cast<std::uint16_t>(id));',
    '  return entry == nullptr ? CallClass::sync : entry->call_class;',
    '}',
    '',
    'CallSemantics call_semantics(CallId id) noexcept {',
    '  const Entry* entry = find(static_cast<std::uint16_t>(id));',
    '  return entry == nullptr ? CallSemantics::query : entry->semantics;',
    '}',
    '',
    '}  // namespace phos',
  ]);
}

function typescript(ir: Ir): OutputFile {
  return generated(
    'src/gen/call-ids.ts',
    'Ids of the calls that travel in the ring, and what kind of call each is.',
    [
      '',
      `export type CallClass = ${CALL_CLASSES.map((c) => `'${c}'`).join(' | ')};`,
      '',
      'export interface CallInfo {',
      '  readonly id: number;',
      '  readonly name: string;',
      '  readonly callClass: CallClass;',
      '}',
      '',
      'export const CALLS: readonly CallInfo[] = [',
      ...ir.calls.map((c) => `  { id: ${c.id}, name: '${c.name}', callClass: '${c.class}' },`),
      '];',
      '',
      'const byId = new Map(CALLS.map((call) => [call.id, call]));',
      'const byName = new Map(CALLS.map((call) => [call.name, call]));',
      '',
      '/** The call with this id, or null where the id is none that is known. */',
      'export function callById(id: number): CallInfo | null {',
      '  return byId.get(id) ?? null;',
      '}',
      '',
      '/** The call with this base name, such as cuMemAlloc, or null. */',
      'export function callByName(name: string): CallInfo | null {',
      '  return byName.get(name) ?? null;',
      '}',
    ],
  );
}

export function emitCallIds(ir: Ir): readonly OutputFile[] {
  return [header(ir), source(ir), typescript(ir)];
}
