// SPDX-License-Identifier: Apache-2.0
/** native/include/phos/cuda_abi.h: the driver API in our own declarations, for C and C++. */
import { declare, parseDeclaration, splitType } from '../ctype.ts';
import type { Ir, IrField, IrRecord, PlainParam } from '../ir.ts';
import { callLines, generated, type OutputFile } from './output.ts';

const ABOUT = `The CUDA driver API, version 13.0: types, layouts, values and prototypes of every
ABI version, for C11 and C++. Define PHOS_CUDA_SOURCE_NAMES before including it to write programs
with the names of the API (cuMemAlloc) where the symbol is another one (cuMemAlloc_v2), and
CUDA_API_PER_THREAD_DEFAULT_STREAM for per-thread default streams; define PHOS_CUDA_TYPES_ONLY
to leave the prototypes out.`;

function emitField(field: IrField, indent: string): string[] {
  const lengths = field.array.map((n) => `[${n}]`).join('');
  if (field.nested === null)
    return [`${indent}${declare(field.type ?? '', field.name)}${lengths};`];
  const { kind, tag, fields } = field.nested;
  return [
    `${indent}${kind}${tag === '' ? '' : ` ${tag}`} {`,
    ...fields.flatMap((f) => emitField(f, `${indent}  `)),
    `${indent}}${field.name === '' ? '' : ` ${field.name}`}${lengths};`,
  ];
}

function emitRecord(record: IrRecord): string[] {
  const fields = record.fields.flatMap((f) => emitField(f, '  '));
  if (record.align > 0)
    fields[0] = `  PHOS_CUDA_ALIGNAS(${record.align}) ${(fields[0] ?? '').trim()}`;
  return [
    `typedef ${record.kind}${record.tag === '' ? '' : ` ${record.tag}`} {`,
    ...fields,
    `} ${record.name};`,
  ];
}

function emitEnums(ir: Ir): string[] {
  return Object.entries(ir.types.enums).flatMap(([name, e]) => [
    `typedef enum${e.tag === '' ? '' : ` ${e.tag}`} {`,
    ...Object.entries(e.values).map(
      ([key, value]) =>
        `  ${key} = ${value > 0xffff ? `0x${value.toString(16).toUpperCase()}` : value},`,
    ),
    `} ${name};`,
  ]);
}

export function emitPrototype(symbol: string, params: readonly PlainParam[]): string[] {
  const args = params.length === 0 ? ['void'] : params.map((p) => declare(p.type, p.name));
  return callLines(`CUresult ${symbol}`, args, ';');
}

function typesOfRecord(record: IrRecord): string[] {
  return record.fields.flatMap((f) =>
    f.nested === null ? [splitType(f.type ?? '').base] : typesOfRecord(f.nested),
  );
}

/** Aliases, records and callbacks, each after every name that it mentions. */
function emitDeclarations(ir: Ir): string[] {
  const items = new Map<
    string,
    { readonly uses: readonly string[]; readonly lines: readonly string[] }
  >();
  for (const [name, type] of Object.entries(ir.types.aliases)) {
    items.set(name, { uses: [splitType(type).base], lines: [`typedef ${type} ${name};`] });
  }
  for (const record of ir.records)
    items.set(record.name, { uses: typesOfRecord(record), lines: emitRecord(record) });
  for (const [name, c] of Object.entries(ir.types.callbacks)) {
    const params = c.params.map(parseDeclaration);
    const lines = callLines(
      `typedef ${c.result} (*${name})`,
      params.map((p) => declare(p.type, p.name)),
      ';',
    );
    items.set(name, { uses: params.map((p) => splitType(p.type).base), lines });
  }
  const out: string[] = [];
  const done = new Set<string>();
  const visit = (name: string): void => {
    const item = items.get(name);
    if (item === undefined || done.has(name)) return;
    done.add(name);
    for (const used of item.uses) visit(used);
    out.push(...item.lines);
  };
  for (const name of items.keys()) visit(name);
  return out;
}

function emitSourceNames(ir: Ir): string[] {
  const plain: string[] = [];
  const threaded: string[] = [];
  const legacy: string[] = [];
  for (const call of ir.driverCalls) {
    const perThread = call.versions.find(
      (v) => v.perThread && v.symbol.replace(/_pt[sd][sz]$/, '') === call.sourceSymbol,
    );
    const macro = (symbol: string): string => `#define ${call.name} ${symbol}`;
    if (perThread !== undefined) {
      threaded.push(macro(perThread.symbol));
      if (call.sourceSymbol !== call.name) legacy.push(macro(call.sourceSymbol));
    } else if (call.sourceSymbol !== call.name) {
      plain.push(macro(call.sourceSymbol));
    }
  }
  return [
    '#ifdef PHOS_CUDA_SOURCE_NAMES',
    ...plain,
    '#ifdef CUDA_API_PER_THREAD_DEFAULT_STREAM',
    ...threaded,
    '#else',
    ...legacy,
    '#endif',
    '#endif',
  ];
}

const PROLOGUE = [
  '#ifndef PHOS_CUDA_ABI_H',
  '#define PHOS_CUDA_ABI_H',
  '',
  '#ifdef __cuda_cuda_h__',
  '#ifndef PHOS_CUDA_TYPES_ONLY',
  '#error "phos/cuda_abi.h replaces cuda.h; a file may include one of them only"',
  '#endif',
  '#endif',
  '',
  '#include <stddef.h>',
  '#include <stdint.h>',
  '',
  '/* The layouts need unnamed unions that hold structures, which strict ISO C++ has not. */',
  '#pragma GCC diagnostic push',
  '#pragma GCC diagnostic ignored "-Wpedantic"',
  '',
  '#ifdef __cplusplus',
  '#define PHOS_CUDA_ALIGNAS(n) alignas(n)',
  'extern "C" {',
  '#else',
  '#define PHOS_CUDA_ALIGNAS(n) _Alignas(n)',
  '#endif',
];

const EPILOGUE = [
  '#ifdef __cplusplus',
  '}',
  '#endif',
  '',
  '#pragma GCC diagnostic pop',
  '',
  '#endif  /* PHOS_CUDA_ABI_H */',
];

export function emitCudaAbi(ir: Ir): readonly OutputFile[] {
  const constants = Object.entries(ir.types.constants).flatMap(([name, value]) => [
    `#ifndef ${name}`,
    `#define ${name} ${value}`,
    '#endif',
  ]);
  const opaque = Object.entries(ir.types.opaque).map(
    ([name, tag]) => `typedef struct ${tag} *${name};`,
  );
  const prototypes = ir.driverCalls.flatMap((call) =>
    call.versions.flatMap((v) => emitPrototype(v.symbol, v.params)),
  );
  const lines = [
    ...PROLOGUE,
    '',
    ...constants,
    '',
    ...opaque,
    '',
    ...emitEnums(ir),
    '',
    ...emitDeclarations(ir),
    '',
    '#ifndef PHOS_CUDA_TYPES_ONLY',
    ...prototypes,
    '#endif',
    '',
    ...emitSourceNames(ir),
    '',
    ...EPILOGUE,
  ];
  return [generated('native/include/phos/cuda_abi.h', ABOUT, lines)];
}
