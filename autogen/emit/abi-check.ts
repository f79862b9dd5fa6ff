// SPDX-License-Identifier: Apache-2.0
/**
 * native/gen/cuda_abi_check.cc: compiles only where cuda_abi.h lays types out as the notation says,
 * and, on a machine that has the vendor's cuda.h, as that header does.
 */
import type { Ir, IrRecord } from '../ir.ts';
import { layoutOfRecord, offsetsOfRecord } from '../layout.ts';
import { emitPrototype } from './cuda-abi.ts';
import { generated, type OutputFile } from './output.ts';

const sizeAssert = (left: string, right: string): string =>
  `static_assert(sizeof(${left}) == ${right});`;

function recordAsserts(ir: Ir, record: IrRecord): string[] {
  const { size, align } = layoutOfRecord(ir, record);
  return [
    sizeAssert(record.name, String(size)),
    `static_assert(alignof(${record.name}) == ${align});`,
    ...offsetsOfRecord(ir, record).map(
      (f) => `static_assert(offsetof(${record.name}, ${f.path}) == ${f.offset});`,
    ),
  ];
}

function vendorAsserts(ir: Ir): string[] {
  const records = ir.records.flatMap((r) => [
    sizeAssert(`ours::${r.name}`, `sizeof(::${r.name})`),
    ...offsetsOfRecord(ir, r).map(
      (f) =>
        `static_assert(offsetof(ours::${r.name}, ${f.path}) == offsetof(::${r.name}, ${f.path}));`,
    ),
  ]);
  const values = Object.values(ir.types.enums)
    .flatMap((e) => Object.keys(e.values))
    .map(
      (v) => `static_assert(static_cast<long long>(ours::${v}) == static_cast<long long>(::${v}));`,
    );
  return [...records, ...values];
}

export function emitAbiCheck(ir: Ir): readonly OutputFile[] {
  return [
    generated(
      'native/gen/cuda_abi_check.cc',
      'Assertions about the layouts of cuda_abi.h; there is nothing here to run.',
      [
        '#include <stddef.h>',
        '#include <stdint.h>',
        '#include <stdlib.h>',
        '',
        '#if defined(PHOS_CHECK_VENDOR_HEADER) && __has_include(<cuda.h>)',
        "// The old layouts are declared by the vendor's header only under these names.",
        '#define __CUDA_API_VERSION_INTERNAL',
        '#define __CUDA_API_VERSION_INTERNAL_ODR',
        '#pragma GCC diagnostic push',
        '#pragma GCC diagnostic ignored "-Wpedantic"',
        '#include <cuda.h>',
        '#pragma GCC diagnostic pop',
        '#define PHOS_CUDA_TYPES_ONLY',
        'namespace ours {',
        '#include "phos/cuda_abi.h"',
        '}  // namespace ours',
        '',
        ...vendorAsserts(ir),
        '',
        '// Declared again as the notation has them: a difference does not compile.',
        'extern "C" {',
        ...ir.driverCalls.flatMap((c) =>
          c.versions.flatMap((v) => emitPrototype(v.symbol, v.params)),
        ),
        '}',
        '',
        '#else',
        '#include "phos/cuda_abi.h"',
        '',
        ...ir.records.flatMap((r) => recordAsserts(ir, r)),
        '#endif',
      ],
    ),
  ];
}
