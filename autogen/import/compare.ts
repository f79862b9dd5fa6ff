// SPDX-License-Identifier: Apache-2.0
/** Compares the notation with the vendor's headers and says, one a line, where they differ. */
import type { Ir, IrRecord, IrVersion } from '../ir.ts';
import { parseDeclaration } from '../ctype.ts';
import type { AbiVersion, DriverHeader } from './header.ts';
import type { CFunctionType, CRecord } from './parse.ts';

const signature = (params: readonly { readonly type: string }[]): string =>
  `(${params.map((p) => p.type).join(', ') || 'void'})`;

/** Reports what only one side has, and hands the pairs on. */
function compareNames<A, B>(
  kind: string,
  ours: ReadonlyMap<string, A>,
  theirs: ReadonlyMap<string, B>,
  compare: (name: string, our: A, their: B) => readonly string[],
): string[] {
  const out: string[] = [];
  for (const [name, their] of theirs) {
    const our = ours.get(name);
    if (our === undefined) out.push(`${kind} ${name}: the notation lacks it`);
    else out.push(...compare(name, our, their));
  }
  for (const name of ours.keys()) {
    if (!theirs.has(name)) out.push(`${kind} ${name}: the header has no such ${kind}`);
  }
  return out;
}

function same(what: string, our: unknown, their: unknown): string[] {
  return our === their
    ? []
    : [`${what}: the notation says ${String(our)}, the header ${String(their)}`];
}

function compareVersions(
  name: string,
  ours: readonly IrVersion[],
  theirs: readonly AbiVersion[],
): string[] {
  const bySymbol = <T extends { readonly symbol: string }>(list: readonly T[]): Map<string, T> =>
    new Map(list.map((v) => [v.symbol, v]));
  return compareNames('symbol', bySymbol(ours), bySymbol(theirs), (symbol, our, their) => [
    ...same(`${name} > ${symbol}: since`, our.since, their.since),
    ...same(`${name} > ${symbol}: per-thread variant`, our.perThread, their.perThread),
    ...same(`${name} > ${symbol}: result`, 'CUresult', their.type.result),
    ...same(`${name} > ${symbol}: parameters`, signature(our.params), signature(their.type.params)),
  ]);
}

function sourceSymbolOf(
  header: DriverHeader,
  name: string,
  versions: readonly AbiVersion[],
): string {
  const named = header.sourceSymbols.get(name);
  if (named !== undefined) return named;
  return header.header.functions.has(name)
    ? name
    : (versions.filter((v) => !v.perThread).at(-1)?.symbol ?? '');
}

function compareFunctions(ir: Ir, header: DriverHeader): string[] {
  const ours = new Map(ir.driverCalls.map((c) => [c.name, c]));
  return compareNames('function', ours, header.versions, (name, our, their) => [
    ...compareVersions(name, our.versions, their),
    ...same(`${name}: source_symbol`, our.sourceSymbol, sourceSymbolOf(header, name, their)),
  ]);
}

interface FlatField {
  readonly path: string;
  readonly text: string;
}

/** A record as a list of fields with their paths, so that a difference can be named. */
function flatten(record: IrRecord | CRecord, prefix = ''): FlatField[] {
  return record.fields.flatMap((f, i) => {
    const path = `${prefix}${f.name === '' ? `#${i}` : f.name}`;
    const lengths = f.array.map((n) => `[${n}]`).join('');
    if (f.nested === null) return [{ path, text: `${f.type ?? ''}${lengths}` }];
    return [
      { path, text: `${f.nested.kind} ${f.nested.tag}${lengths}` },
      ...flatten(f.nested, `${path}.`),
    ];
  });
}

function compareRecords(ir: Ir, header: DriverHeader): string[] {
  return compareNames('record', ir.recordByName, header.header.records, (name, our, their) => {
    const [left, right] = [flatten(our), flatten(their)];
    const order = same(
      `${name}: fields`,
      left.map((f) => f.path).join(' '),
      right.map((f) => f.path).join(' '),
    );
    const byPath = new Map(right.map((f) => [f.path, f.text]));
    return [
      ...same(`${name}: tag`, our.tag, their.tag),
      ...same(`${name}: kind`, our.kind, their.kind),
      ...same(`${name}: align`, our.align, their.align),
      ...order,
      ...left
        .filter((f) => byPath.has(f.path))
        .flatMap((f) => same(`${name}.${f.path}`, f.text, byPath.get(f.path))),
    ];
  });
}

function compareEnums(ir: Ir, header: DriverHeader): string[] {
  const ours = new Map(Object.entries(ir.types.enums));
  return compareNames('enum', ours, header.header.enums, (name, our, their) => [
    ...same(`${name}: tag`, our.tag, their.tag),
    ...compareNames('enumerator', new Map(Object.entries(our.values)), their.values, (key, a, b) =>
      same(`${name}.${key}`, a, b),
    ),
  ]);
}

function normalConstant(value: string | number): string {
  const text = String(value).replaceAll(' ', '');
  return /^(0[xX][\da-fA-F]+|\d+)$/.test(text) ? String(Number(text)) : text;
}

function compareRest(ir: Ir, header: DriverHeader): string[] {
  const { types } = ir;
  const callbacks = new Map(Object.entries(types.callbacks));
  return [
    ...compareNames(
      'constant',
      new Map(Object.entries(types.constants)),
      header.constants,
      (name, a, b) => same(name, normalConstant(a), normalConstant(b)),
    ),
    ...compareNames(
      'handle',
      new Map(Object.entries(types.opaque)),
      header.header.opaque,
      (name, a, b) => same(name, a, b),
    ),
    ...compareNames(
      'alias',
      new Map(Object.entries(types.aliases)),
      header.header.aliases,
      (name, a, b) => same(name, a, b),
    ),
    ...compareNames(
      'callback',
      callbacks,
      header.header.callbacks,
      (name, our, their: CFunctionType) => [
        ...same(`${name}: result`, our.result, their.result),
        ...same(
          `${name}: parameters`,
          signature(our.params.map(parseDeclaration)),
          signature(their.params),
        ),
      ],
    ),
  ];
}

/** Every difference, in words. Empty where notation and headers agree. */
export function compareWithHeader(ir: Ir, header: DriverHeader): string[] {
  return [
    ...compareFunctions(ir, header),
    ...compareEnums(ir, header),
    ...compareRecords(ir, header),
    ...compareRest(ir, header),
  ];
}
