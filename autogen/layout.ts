// SPDX-License-Identifier: Apache-2.0
/** Sizes, alignments and offsets of C types on the one ABI that phos knows: x86-64 Linux. */
import { splitType } from './ctype.ts';
import { type Ir, type IrRecord, resolveAlias } from './ir.ts';

export interface TypeLayout {
  readonly size: number;
  readonly align: number;
  /** An address of host memory, or a handle, lies somewhere inside. */
  readonly holdsPointer: boolean;
}

export interface FieldOffset {
  /** Path from the record, such as `srcArray` or `res.array.hArray`. */
  readonly path: string;
  readonly offset: number;
}

const POINTER: TypeLayout = { size: 8, align: 8, holdsPointer: true };

const SCALARS: Readonly<Record<string, number>> = {
  char: 1,
  'unsigned char': 1,
  'signed char': 1,
  short: 2,
  'unsigned short': 2,
  int: 4,
  'unsigned int': 4,
  'long long': 8,
  'unsigned long long': 8,
  size_t: 8,
  float: 4,
  double: 8,
  uint32_t: 4,
  uint64_t: 8,
  cuuint32_t: 4,
  cuuint64_t: 8,
};

const roundUp = (value: number, to: number): number => Math.ceil(value / to) * to;

export function layoutOfType(ir: Ir, type: string): TypeLayout {
  const { base, depth } = splitType(type);
  if (depth > 0) return POINTER;
  const name = resolveAlias(ir.types, base);
  if (name in ir.types.opaque || name in ir.types.callbacks) return POINTER;
  const scalar = name in ir.types.enums ? 4 : SCALARS[name];
  if (scalar !== undefined) return { size: scalar, align: scalar, holdsPointer: false };
  const record = ir.recordByName.get(name);
  if (record === undefined) throw new Error(`the size of ${type} is not known`);
  return layoutOfRecord(ir, record);
}

function walk(
  ir: Ir,
  record: IrRecord,
  prefix: string,
  at: number,
  offsets: FieldOffset[] | null,
): TypeLayout {
  let end = 0;
  let size = 0;
  let align = Math.max(1, record.align);
  let holdsPointer = false;
  for (const field of record.fields) {
    const path = field.name === '' ? prefix : `${prefix}${prefix === '' ? '' : '.'}${field.name}`;
    const element =
      field.nested === null
        ? layoutOfType(ir, field.type ?? '')
        : walk(ir, field.nested, '', 0, null);
    const start = record.kind === 'union' ? 0 : roundUp(end, element.align);
    if (field.nested !== null && field.array.length === 0)
      walk(ir, field.nested, path, at + start, offsets);
    if (field.name !== '') offsets?.push({ path, offset: at + start });
    end = start + element.size * field.array.reduce((a, b) => a * b, 1);
    size = Math.max(size, end);
    align = Math.max(align, element.align);
    holdsPointer ||= element.holdsPointer;
  }
  return { size: roundUp(size, align), align, holdsPointer };
}

export function layoutOfRecord(ir: Ir, record: IrRecord): TypeLayout {
  return walk(ir, record, '', 0, null);
}

/** Offsets of every named field, those of nested structures included. */
export function offsetsOfRecord(ir: Ir, record: IrRecord): FieldOffset[] {
  const offsets: FieldOffset[] = [];
  walk(ir, record, '', 0, offsets);
  return offsets;
}
