// SPDX-License-Identifier: Apache-2.0
/**
 * What travels for each call: the fields of its request and of its reply, with fixed widths and
 * explicit padding. References to blobs come first, in order, so that one piece of code on each
 * side can lay out and find every blob.
 */
import { splitType } from './ctype.ts';
import { type Ir, type IrCall, resolveAlias } from './ir.ts';
import { layoutOfType } from './layout.ts';
import { NotationError } from './load.ts';
import type { ParamNotation } from './schema.ts';

type WireRole = 'value' | 'handle' | 'new-handle' | 'record' | 'blob' | 'extent' | 'pad';

export interface WireField {
  readonly name: string;
  readonly cpp: string;
  readonly size: number;
  readonly align: number;
  /** Elements of an array field; 0 where it is none. */
  readonly count: number;
  readonly role: WireRole;
  readonly param: ParamNotation | null;
}

export interface WireStruct {
  readonly fields: readonly WireField[];
  readonly blobs: readonly WireField[];
  readonly size: number;
}

/** How one parameter travels. */
export type ParamKind =
  | 'value'
  | 'handle'
  | 'new-handle'
  | 'record'
  | 'record-pointer'
  | 'string'
  | 'array'
  | 'handle-array'
  | 'bytes'
  | 'out-value'
  | 'out-record'
  | 'out-array'
  | 'out-bytes'
  | 'inout-value'
  | 'inout-record';

const FIXED: Readonly<Record<string, readonly [string, number]>> = {
  char: ['std::uint8_t', 1],
  'signed char': ['std::int8_t', 1],
  'unsigned char': ['std::uint8_t', 1],
  short: ['std::int16_t', 2],
  'unsigned short': ['std::uint16_t', 2],
  int: ['std::int32_t', 4],
  'unsigned int': ['std::uint32_t', 4],
  'long long': ['std::int64_t', 8],
  'unsigned long long': ['std::uint64_t', 8],
  size_t: ['std::uint64_t', 8],
  uint32_t: ['std::uint32_t', 4],
  uint64_t: ['std::uint64_t', 8],
  cuuint32_t: ['std::uint32_t', 4],
  cuuint64_t: ['std::uint64_t', 8],
  float: ['float', 4],
  double: ['double', 8],
};

const WIRE_TYPES: Readonly<Record<string, readonly [string, number, WireRole]>> = {
  u8: ['std::uint8_t', 1, 'value'],
  u16: ['std::uint16_t', 2, 'value'],
  u32: ['std::uint32_t', 4, 'value'],
  u64: ['std::uint64_t', 8, 'value'],
  i32: ['std::int32_t', 4, 'value'],
  i64: ['std::int64_t', 8, 'value'],
  f32: ['float', 4, 'value'],
  f64: ['double', 8, 'value'],
  handle: ['std::uint64_t', 8, 'handle'],
  blob: ['BlobRef', 8, 'blob'],
  extent: ['Extent', 16, 'extent'],
};

function fixedOf(ir: Ir, base: string): readonly [string, number] | null {
  const name = resolveAlias(ir.types, base);
  return name in ir.types.enums ? ['std::uint32_t', 4] : (FIXED[name] ?? null);
}

function isRecord(ir: Ir, base: string): boolean {
  return ir.recordByName.has(resolveAlias(ir.types, base));
}

/** A record that travels as its bytes must not hold addresses of the client's own memory. */
function checkPlain(ir: Ir, call: IrCall, p: ParamNotation, base: string): void {
  if (p.raw || call.isInternal || !layoutOfType(ir, base).holdsPointer) return;
  throw new NotationError(
    `${call.name} > ${p.name}: ${base} holds pointers or handles; say raw: true if they mean the ` +
      'same on both sides, or give the call a wire: of its own',
  );
}

function inKind(ir: Ir, call: IrCall, p: ParamNotation): ParamKind | null {
  const { base, depth } = splitType(p.type);
  if (depth === 0) {
    if (p.handle !== undefined) return 'handle';
    if (fixedOf(ir, base) !== null) return 'value';
    if (!isRecord(ir, base)) return null;
    checkPlain(ir, call, p, base);
    return 'record';
  }
  if (depth > 1) return null;
  if (p.size === 'string') return 'string';
  if (p.size !== undefined) {
    if (p.handle !== undefined) return 'handle-array';
    if (base === 'void') return 'bytes';
    if (isRecord(ir, base)) checkPlain(ir, call, p, base);
    return fixedOf(ir, base) !== null || isRecord(ir, base) ? 'array' : null;
  }
  if (!isRecord(ir, base) || p.nullable) return null;
  checkPlain(ir, call, p, base);
  return 'record-pointer';
}

function outKind(ir: Ir, call: IrCall, p: ParamNotation): ParamKind | null {
  const { base, depth } = splitType(p.type);
  if (p.handle !== undefined)
    return call.object === p && call.semantics === 'create' ? 'new-handle' : null;
  if (depth !== 1) return null;
  const inout = p.dir === 'inout';
  if (p.size !== undefined) {
    if (inout) return null;
    return base === 'void'
      ? 'out-bytes'
      : fixedOf(ir, base) !== null || isRecord(ir, base)
        ? 'out-array'
        : null;
  }
  if (inout && p.nullable) return null;
  if (fixedOf(ir, base) !== null) return inout ? 'inout-value' : 'out-value';
  if (!isRecord(ir, base)) return null;
  checkPlain(ir, call, p, base);
  return inout ? 'inout-record' : 'out-record';
}

/** How a parameter travels. Throws NotationError where the notation does not say enough. */
export function kindOfParam(ir: Ir, call: IrCall, p: ParamNotation): ParamKind {
  const kind = p.dir === 'in' ? inKind(ir, call, p) : outKind(ir, call, p);
  if (kind !== null) return kind;
  throw new NotationError(
    `${call.name} > ${p.name}: how ${p.type} travels does not follow from the notation; ` +
      'give it a size, or give the call a wire: of its own',
  );
}

function field(
  name: string,
  cpp: string,
  size: number,
  role: WireRole,
  param: ParamNotation | null,
  count = 0,
  align = Math.min(size, 8),
): WireField {
  return { name, cpp, size, align, count, role, param };
}

function blobField(p: ParamNotation): WireField {
  return field(p.name, 'BlobRef', 8, 'blob', p, 0, 4);
}

function valueField(ir: Ir, p: ParamNotation): WireField {
  const { base } = splitType(p.type);
  const fixed = fixedOf(ir, base);
  if (fixed !== null) return field(p.name, fixed[0], fixed[1], 'value', p);
  const { size, align } = layoutOfType(ir, base);
  return field(p.name, base, size, 'record', p, 0, align);
}

function requestFields(ir: Ir, call: IrCall): WireField[] {
  return call.params.flatMap((p) => {
    switch (kindOfParam(ir, call, p)) {
      case 'string':
      case 'array':
      case 'handle-array':
      case 'bytes':
        return [blobField(p)];
      case 'handle':
        return [field(p.name, 'std::uint64_t', 8, 'handle', p)];
      case 'new-handle':
        return [field(p.name, 'std::uint64_t', 8, 'new-handle', p)];
      case 'value':
      case 'record':
      case 'record-pointer':
      case 'inout-value':
      case 'inout-record':
        return [valueField(ir, p)];
      case 'out-value':
      case 'out-record':
      case 'out-array':
      case 'out-bytes':
        return [];
    }
  });
}

function replyFields(ir: Ir, call: IrCall): WireField[] {
  return call.params.flatMap((p) => {
    switch (kindOfParam(ir, call, p)) {
      case 'out-array':
      case 'out-bytes':
        return [blobField(p)];
      case 'out-value':
      case 'out-record':
      case 'inout-value':
      case 'inout-record':
        return [valueField(ir, p)];
      default:
        return [];
    }
  });
}

function parseWire(ir: Ir, call: IrCall, items: readonly string[]): WireField[] {
  return items.map((item) => {
    const match = /^(\w+) (\w+)(?:\[(\d+)\])?$/.exec(item);
    const [type, name, count] = [match?.[1] ?? '', match?.[2] ?? '', Number(match?.[3] ?? 0)];
    const known = WIRE_TYPES[type];
    if (known !== undefined)
      return field(
        name,
        known[0],
        known[1],
        known[2],
        null,
        count,
        type === 'blob' ? 4 : Math.min(known[1], 8),
      );
    if (!isRecord(ir, type))
      throw new NotationError(`${call.name} > wire: ${type} is neither a wire type nor a record`);
    const { size, align } = layoutOfType(ir, type);
    return field(name, type, size, 'record', null, count, align);
  });
}

/** Puts blobs first, pads every gap, and rounds up to 8 bytes; an empty one has a reserved word. */
function layOut(fields: readonly WireField[]): WireStruct {
  const blobs = fields.filter((f) => f.role === 'blob');
  const ordered = [...blobs, ...fields.filter((f) => f.role !== 'blob')];
  if (ordered.length === 0) ordered.push(field('reserved', 'std::uint64_t', 8, 'pad', null));
  const padded: WireField[] = [];
  let at = 0;
  let pads = 0;
  const pad = (to: number): void => {
    const gap = (to - (at % to)) % to;
    if (gap === 0) return;
    padded.push(field(`pad${pads}`, 'std::uint8_t', 1, 'pad', null, gap));
    pads += 1;
    at += gap;
  };
  let align = 8;
  for (const f of ordered) {
    pad(f.align);
    padded.push(f);
    at += f.size * Math.max(1, f.count);
    align = Math.max(align, f.align);
  }
  pad(align);
  return { fields: padded, blobs, size: at };
}

/** Whether the call itself travels: the client may also answer it, or send internal commands. */
export function travels(call: IrCall): boolean {
  return call.executor !== 'none';
}

export function requestOf(ir: Ir, call: IrCall): WireStruct {
  return layOut(
    call.wire === null ? requestFields(ir, call) : parseWire(ir, call, call.wire.request),
  );
}

export function replyOf(ir: Ir, call: IrCall): WireStruct {
  return layOut(call.wire === null ? replyFields(ir, call) : parseWire(ir, call, call.wire.reply));
}
