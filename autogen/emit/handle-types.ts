// SPDX-License-Identifier: Apache-2.0
/** native/gen/handle_types.h: the types of objects. */
import type { Ir } from '../ir.ts';
import { generated, type OutputFile } from './output.ts';

const noteOf = (visibility: 'host' | 'device'): string =>
  visibility === 'device' ? '; device code sees its value' : '';

export function emitHandleTypes(ir: Ir): readonly OutputFile[] {
  const { handles } = ir.notation;
  return [
    generated(
      'native/gen/handle_types.h',
      'Types of objects. Handles and images hold the numbers, so none is used again.',
      [
        '#pragma once',
        '',
        '#include <cstdint>',
        '',
        'namespace phos {',
        '',
        'enum class HandleType : std::uint8_t {',
        '  none = 0,',
        ...handles.map((h) => `  ${h.name} = ${h.id},  // ${h.about}${noteOf(h.visibility)}`),
        '};',
        `inline constexpr std::uint8_t kMaxHandleType = ${Math.max(...handles.map((h) => h.id))};`,
        '',
        '// "?" where the number is none that is known.',
        'constexpr const char* handle_type_name(HandleType type) noexcept {',
        '  switch (type) {',
        '    case HandleType::none: return "none";',
        ...handles.map((h) => `    case HandleType::${h.name}: return "${h.name}";`),
        '  }',
        '  return "?";',
        '}',
        '',
        "// Device code can see the value, so it is the driver's own and phos cannot choose it.",
        'constexpr bool is_device_visible(HandleType type) noexcept {',
        '  switch (type) {',
        ...handles
          .filter((h) => h.visibility === 'device')
          .map((h) => `    case HandleType::${h.name}:`),
        '      return true;',
        '    default:',
        '      return false;',
        '  }',
        '}',
        '',
        '}  // namespace phos',
      ],
    ),
  ];
}
