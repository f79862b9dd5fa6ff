// SPDX-License-Identifier: Apache-2.0
/** native/gen/value_checks.h: which values are enumerators, and bytes of values behind `void *`. */
import { splitType } from '../ctype.ts';
import { type Ir, type IrCall, resolveAlias } from '../ir.ts';
import type { ParamNotation } from '../schema.ts';
import { generated, type OutputFile, wrap } from './output.ts';

/** The enum whose enumerators a parameter must have: the one it names, or the one it is. */
export function enumOfParam(ir: Ir, p: ParamNotation): string | null {
  if (p.enum !== undefined) return p.enum;
  const { base, depth } = splitType(p.type);
  const name = resolveAlias(ir.types, base);
  return depth === 0 && p.dir === 'in' && p.flags === undefined && name in ir.types.enums
    ? name
    : null;
}

/** Bits that a flags parameter may have, or null where the notation does not limit them. */
export function maskOfParam(ir: Ir, p: ParamNotation): number | null {
  if (p.flags === undefined) return null;
  if (typeof p.flags === 'number') return p.flags;
  const values = Object.values(ir.types.enums[p.flags]?.values ?? {});
  return Number(values.reduce((mask, v) => mask | BigInt(v), 0n));
}

function isGenerated(call: IrCall): boolean {
  return call.client === 'generated' || call.executor === 'generated';
}

function emitEnumCheck(ir: Ir, name: string): string[] {
  const values = [...new Set(Object.values(ir.types.enums[name]?.values ?? {}))];
  return [
    `constexpr bool is_${name}(std::int64_t value) noexcept {`,
    '  switch (value) {',
    ...wrap(
      values.map((v) => `case ${v}:`),
      '    ',
      ' ',
    ),
    '      return true;',
    '    default:',
    '      return false;',
    '  }',
    '}',
  ];
}

export function emitValueChecks(ir: Ir): readonly OutputFile[] {
  const enums = new Set(
    ir.driverCalls
      .filter(isGenerated)
      .flatMap((c) => c.params.map((p) => enumOfParam(ir, p)).filter((e) => e !== null)),
  );
  const sizes = ir.notation.sizes.flatMap((s) => [
    '',
    `// Bytes of the ${s.about}.`,
    `constexpr std::size_t ${s.name}(${s.type} attribute) noexcept {`,
    '  switch (static_cast<std::int64_t>(attribute)) {',
    ...Object.entries(s.values).flatMap(([name, bytes]) => [
      `    case ${name}:`,
      `      return ${bytes};`,
    ]),
    '    default:',
    '      return 0;',
    '  }',
    '}',
  ]);
  return [
    generated(
      'native/gen/value_checks.h',
      'Checks of values that client and executor make alike.',
      [
        '#pragma once',
        '',
        '#include <cstddef>',
        '#include <cstdint>',
        '',
        '#include "phos/cuda_abi.h"',
        '',
        '// The value is an enumerator of the type.',
        'namespace phos::check {',
        ...[...enums].sort().flatMap((name) => ['', ...emitEnumCheck(ir, name)]),
        '',
        '}  // namespace phos::check',
        '',
        '// Bytes of a value that is handed over as `void *`; 0 for an unknown attribute.',
        'namespace phos::value_size {',
        ...sizes,
        '',
        '}  // namespace phos::value_size',
      ],
    ),
  ];
}
