// SPDX-License-Identifier: Apache-2.0
import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { buildIr } from '../../autogen/ir.ts';
import { layoutOfRecord, layoutOfType, offsetsOfRecord } from '../../autogen/layout.ts';
import { loadNotation } from '../../autogen/load.ts';
import { replyOf, requestOf, travels, type WireStruct } from '../../autogen/wire.ts';
import { callById, callByName, CALLS } from '../../src/gen/call-ids.ts';
import { NOTATION, smallNotation } from './autogen-support.ts';

const small = buildIr(smallNotation());
const ir = buildIr(loadNotation(NOTATION));

const names = (wire: WireStruct): string[] => wire.fields.map((f) => f.name);

describe('payloads', () => {
  const [create, query] = small.driverCalls;
  if (create === undefined || query === undefined) throw new Error('the small API has both');

  test('blobs come first, the new handle travels in the request, the rest in order', () => {
    expect(names(requestOf(small, create))).toEqual(['label', 'box', 'size', 'kind', 'pad0']);
    expect(requestOf(small, create).size).toBe(32);
    expect(names(replyOf(small, create))).toEqual(['reserved']);
  });

  test('outputs travel in the reply, with every gap padded', () => {
    expect(names(requestOf(small, query))).toEqual(['box', 'count', 'pad0']);
    expect(names(replyOf(small, query))).toEqual(['items', 'state', 'pad0', 'shape']);
    expect(replyOf(small, query).size).toBe(8 + 8 + 32);
  });

  test('no field of any call leaves a gap that the compiler would fill', () => {
    const structs = ir.calls.filter(travels).flatMap((c) => [requestOf(ir, c), replyOf(ir, c)]);
    expect(structs.length).toBeGreaterThan(100);
    for (const wire of structs) {
      let at = 0;
      for (const f of wire.fields) {
        expect(at % f.align).toBe(0);
        at += f.size * Math.max(1, f.count);
      }
      expect(at).toBe(wire.size);
      expect(wire.size % 8).toBe(0);
      expect(wire.fields.slice(0, wire.blobs.length)).toEqual(wire.blobs);
    }
  });
});

describe('layouts', () => {
  test('nested unions, arrays and trailing padding', () => {
    const shape = small.recordByName.get('CUshape_v1');
    if (shape === undefined) throw new Error('the small API has it');
    expect(layoutOfRecord(small, shape)).toEqual({ size: 32, align: 8, holdsPointer: false });
    expect(offsetsOfRecord(small, shape)).toEqual([
      { path: 'corner', offset: 0 },
      { path: 'sides', offset: 8 },
      { path: 'extra.ratio', offset: 24 },
      { path: 'extra.kind', offset: 24 },
      { path: 'extra', offset: 24 },
    ]);
  });

  test('sizes that the driver API promises', () => {
    const sizes = [
      'CUuuid',
      'CUipcMemHandle',
      'CUlaunchAttribute',
      'CUtensorMap',
      'CUgraphNodeParams',
    ];
    expect(sizes.map((name) => layoutOfType(ir, name).size)).toEqual([16, 64, 72, 128, 256]);
  });
});

describe('ids', () => {
  const golden = JSON.parse(
    readFileSync(new URL('../fixtures/autogen/call-ids.json', import.meta.url), 'utf8'),
  ) as Record<string, number>;

  test('an id in images never means another call', () => {
    expect(Object.keys(golden).length).toBeGreaterThan(446);
    for (const [name, id] of Object.entries(golden))
      expect([name, callByName(name)?.id]).toEqual([name, id]);
  });

  test('ids and names lead to each other', () => {
    for (const call of CALLS) expect(callById(call.id)).toBe(callByName(call.name));
    expect(callById(0)).toBeNull();
    expect(callByName('cuNothing')).toBeNull();
  });
});
