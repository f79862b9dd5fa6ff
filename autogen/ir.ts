// SPDX-License-Identifier: Apache-2.0
/**
 * The notation with everything worked out that more than one emitter needs, and checked as a
 * whole: ids and names are unique, types, handles and parameters that are named exist.
 */
import { parseDeclaration, splitType } from './ctype.ts';
import { type Notation, NotationError } from './load.ts';
import type {
  FieldNotation,
  FunctionNotation,
  InternalCommand,
  ParamNotation,
  TypeFile,
  VersionNotation,
  WireNotation,
} from './schema.ts';

export interface PlainParam {
  readonly name: string;
  readonly type: string;
}

export interface IrVersion {
  readonly since: number;
  readonly symbol: string;
  readonly perThread: boolean;
  readonly params: readonly PlainParam[];
  /** The signature has the same types as the newest one, names of parameters aside. */
  readonly isNewestAbi: boolean;
  readonly adapt: Readonly<Record<string, string>> | null;
  readonly client: 'custom' | 'unsupported' | null;
}

export interface IrCall {
  readonly name: string;
  readonly id: number;
  readonly topic: string;
  readonly isInternal: boolean;
  readonly class: FunctionNotation['class'];
  readonly semantics: FunctionNotation['semantics'];
  readonly client: FunctionNotation['client'] | 'none';
  readonly executor: FunctionNotation['executor'];
  readonly needs: FunctionNotation['needs'];
  readonly params: readonly ParamNotation[];
  readonly conditions: FunctionNotation['conditions'];
  /** The parameter whose object is created, changed or destroyed. */
  readonly object: ParamNotation | null;
  /** The object is the calling thread's current context, which no parameter names. */
  readonly onCurrentContext: boolean;
  readonly wire: WireNotation | null;
  readonly versions: readonly IrVersion[];
  readonly newestSymbol: string;
  readonly sourceSymbol: string;
  /** An entry for per-thread default streams exists, but no parameter carries the stream. */
  readonly takesStreamMode: boolean;
}

export interface IrField {
  readonly name: string;
  /** Type of a plain field, null for a nested structure or union. */
  readonly type: string | null;
  readonly array: readonly number[];
  readonly nested: IrRecord | null;
}

export interface IrRecord {
  readonly name: string;
  readonly tag: string;
  readonly kind: 'struct' | 'union';
  readonly align: number;
  readonly fields: readonly IrField[];
}

export interface Ir {
  readonly notation: Notation;
  readonly types: TypeFile;
  /** Records in an order in which each stands after the records that it holds. */
  readonly records: readonly IrRecord[];
  readonly recordByName: ReadonlyMap<string, IrRecord>;
  readonly driverCalls: readonly IrCall[];
  readonly internalCalls: readonly IrCall[];
  readonly calls: readonly IrCall[];
}

const BUILT_IN = new Set([
  'void',
  'char',
  'unsigned char',
  'signed char',
  'short',
  'unsigned short',
  'int',
  'unsigned int',
  'long long',
  'unsigned long long',
  'size_t',
  'float',
  'double',
  'cuuint32_t',
  'cuuint64_t',
]);

/** Follows other names of a type to the one that is declared: CUdevice_v1 -> int. */
export function resolveAlias(types: TypeFile, name: string): string {
  let here = name;
  for (let next = types.aliases[here]; next !== undefined; next = types.aliases[here]) {
    if (BUILT_IN.has(here)) break;
    here = next;
  }
  return here;
}

function sameType(types: TypeFile, a: string, b: string): boolean {
  const [left, right] = [splitType(a), splitType(b)];
  return (
    left.depth === right.depth &&
    left.isConst === right.isConst &&
    resolveAlias(types, left.base) === resolveAlias(types, right.base)
  );
}

function buildVersion(types: TypeFile, call: FunctionNotation, v: VersionNotation): IrVersion {
  const newest = call.params.map(({ name, type }) => ({ name, type }));
  const params = v.params?.map((text) => {
    const { name, type } = parseDeclaration(text);
    return { name, type };
  });
  const isNewestAbi =
    params === undefined ||
    (params.length === newest.length &&
      params.every((p, i) => sameType(types, p.type, newest[i]?.type ?? '')));
  return {
    since: v.since,
    symbol: v.symbol,
    perThread: v.flags === 'ptsz',
    params: params ?? newest,
    isNewestAbi,
    adapt: v.adapt ?? null,
    client: v.client ?? null,
  };
}

const CURRENT_CONTEXT = 'current_context';

function findObject(call: {
  name: string;
  object?: string | undefined;
  semantics: string;
  params: readonly ParamNotation[];
}): ParamNotation | null {
  if (call.object === CURRENT_CONTEXT) return null;
  if (call.object !== undefined) {
    const named = call.params.find((p) => p.name === call.object);
    if (named === undefined)
      throw new NotationError(`${call.name}: object names ${call.object}, which is no parameter`);
    return named;
  }
  if (call.semantics === 'create')
    return call.params.find((p) => p.handle !== undefined && p.dir === 'out') ?? null;
  if (call.semantics === 'destroy' || call.semantics === 'mutate') {
    return call.params.find((p) => p.handle !== undefined && p.dir === 'in') ?? null;
  }
  return null;
}

function buildDriverCall(types: TypeFile, f: FunctionNotation & { topic: string }): IrCall {
  const versions = f.versions.map((v) => buildVersion(types, f, v));
  const newest = versions.filter((v) => !v.perThread).at(-1);
  if (newest === undefined) throw new NotationError(`${f.name}: no version without flags: ptsz`);
  if (!newest.isNewestAbi)
    throw new NotationError(`${f.name}: the newest version ${newest.symbol} differs from params`);
  const carriesStream = f.params.some((p) => p.type === 'CUstream' && p.dir === 'in');
  return {
    ...f,
    isInternal: false,
    object: findObject(f),
    onCurrentContext: f.object === CURRENT_CONTEXT,
    wire: f.wire ?? null,
    versions,
    newestSymbol: newest.symbol,
    sourceSymbol: f.source_symbol ?? newest.symbol,
    takesStreamMode: versions.some((v) => v.perThread) && !carriesStream,
  };
}

function buildInternalCall(c: InternalCommand): IrCall {
  return {
    ...c,
    topic: 'internal',
    isInternal: true,
    client: 'none',
    needs: 'nothing',
    conditions: [],
    object: findObject(c),
    onCurrentContext: false,
    wire: c.wire ?? null,
    executor: 'custom',
    versions: [],
    newestSymbol: '',
    sourceSymbol: '',
    takesStreamMode: false,
  };
}

function buildField(text: FieldNotation): IrField {
  if (typeof text === 'string') {
    const { name, type, array } = parseDeclaration(text);
    return { name, type, array, nested: null };
  }
  const kind = 'struct' in text ? 'struct' : 'union';
  const tag = 'struct' in text ? text.struct : text.union;
  const declared = text.name === '' ? { name: '', array: [] } : parseDeclaration(`x ${text.name}`);
  const nested: IrRecord = { name: '', tag, kind, align: 0, fields: text.fields.map(buildField) };
  return { name: declared.name, type: null, array: declared.array, nested };
}

/** Names of the records whose values (not pointers) lie inside a record. */
function heldRecords(types: TypeFile, record: IrRecord): string[] {
  return record.fields.flatMap((field) => {
    if (field.nested !== null) return heldRecords(types, field.nested);
    const { base, depth } = splitType(field.type ?? '');
    return depth === 0 ? [resolveAlias(types, base)] : [];
  });
}

function orderRecords(types: TypeFile): IrRecord[] {
  const all = new Map(
    Object.entries(types.records).map(([name, r]) => [
      name,
      { name, tag: r.tag, kind: r.kind, align: r.align ?? 0, fields: r.fields.map(buildField) },
    ]),
  );
  const ordered: IrRecord[] = [];
  const visiting = new Set<string>();
  const visit = (name: string): void => {
    const record = all.get(name);
    if (record === undefined || ordered.includes(record)) return;
    if (visiting.has(name)) throw new NotationError(`types: ${name} holds itself`);
    visiting.add(name);
    for (const held of heldRecords(types, record)) visit(held);
    ordered.push(record);
  };
  for (const name of all.keys()) visit(name);
  return ordered;
}

function checkUnique(kind: string, values: readonly (readonly [unknown, string])[]): void {
  const seen = new Map<unknown, string>();
  for (const [value, owner] of values) {
    const other = seen.get(value);
    if (other !== undefined)
      throw new NotationError(`${kind} ${String(value)} is used by ${other} and by ${owner}`);
    seen.set(value, owner);
  }
}

function checkTypeExists(types: TypeFile, type: string, where: string): void {
  const { base } = splitType(type);
  const known =
    BUILT_IN.has(base) ||
    [types.opaque, types.aliases, types.callbacks, types.enums, types.records].some(
      (s) => base in s,
    );
  if (!known) throw new NotationError(`${where}: type ${base} is not declared in notation/types`);
}

/** The two sides of a call must fit: what is generated travels, what is unsupported does not. */
function checkSides(call: IrCall): void {
  if (call.client === 'unsupported' && call.executor !== 'none') {
    throw new NotationError(`${call.name}: client is unsupported, so executor must be none`);
  }
  if (call.client === 'generated' && call.executor === 'none') {
    throw new NotationError(`${call.name}: client is generated, so executor cannot be none`);
  }
}

function checkCalls(notation: Notation, calls: readonly IrCall[]): void {
  const { types } = notation;
  checkUnique(
    'id',
    calls.map((c) => [c.id, c.name]),
  );
  checkUnique(
    'name',
    calls.map((c) => [c.name, c.name]),
  );
  checkUnique(
    'symbol',
    calls.flatMap((c) => c.versions.map((v) => [v.symbol, c.name] as const)),
  );
  checkUnique(
    'handle id',
    notation.handles.map((h) => [h.id, h.name]),
  );
  const handles = new Set(notation.handles.map((h) => h.name));
  for (const call of calls) {
    checkSides(call);
    for (const p of call.params) {
      const where = `${call.name} > ${p.name}`;
      checkTypeExists(types, p.type, where);
      if (p.handle !== undefined && !handles.has(p.handle))
        throw new NotationError(`${where}: handle ${p.handle} is not in handles.yaml`);
      if (p.dir !== 'in' && splitType(p.type).depth === 0)
        throw new NotationError(`${where}: dir ${p.dir} needs a pointer`);
      for (const named of [p.enum, p.flags]) {
        if (typeof named === 'string' && !(named in types.enums))
          throw new NotationError(`${where}: ${named} is no enum`);
      }
    }
    for (const v of call.versions) {
      for (const p of v.params) checkTypeExists(types, p.type, `${v.symbol} > ${p.name}`);
      for (const key of Object.keys(v.adapt ?? {})) {
        if (!call.params.some((p) => p.name === key))
          throw new NotationError(`${v.symbol}: adapt names ${key}, which is no parameter`);
      }
    }
  }
}

export function buildIr(notation: Notation): Ir {
  const driverCalls = notation.functions.map((f) => buildDriverCall(notation.types, f));
  const internalCalls = notation.internal.map(buildInternalCall).sort((a, b) => a.id - b.id);
  const calls = [...driverCalls, ...internalCalls];
  checkCalls(notation, calls);
  const records = orderRecords(notation.types);
  return {
    notation,
    types: notation.types,
    records,
    recordByName: new Map(records.map((r) => [r.name, r])),
    driverCalls,
    internalCalls,
    calls,
  };
}
