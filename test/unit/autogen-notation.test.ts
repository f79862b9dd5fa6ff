// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest';
import { emitClientCalls } from '../../autogen/emit/client-calls.ts';
import { emitClientEntries } from '../../autogen/emit/client-entries.ts';
import { buildIr } from '../../autogen/ir.ts';
import { loadNotation, NotationError, parseNotation } from '../../autogen/load.ts';
import { topicFileSchema } from '../../autogen/schema.ts';
import { NOTATION, SMALL_TOPIC, smallNotation } from './autogen-support.ts';

const parse = (text: string): unknown => parseNotation('small.yaml', text, topicFileSchema);

describe('errors of the schema are readable', () => {
  test('a wrong word names file, function and what is allowed', () => {
    const text = SMALL_TOPIC.replace('class: sync', 'class: quick');
    expect(() => parse(text)).toThrow(NotationError);
    expect(() => parse(text)).toThrow(
      /small.yaml is not valid.*functions > cuBoxCreate > class.*sync/s,
    );
  });

  test('an unknown key is named', () => {
    const text = SMALL_TOPIC.replace('dir: out, handle', 'direction: out, handle');
    expect(() => parse(text)).toThrow(/cuBoxCreate > params > box: .*direction/s);
  });

  test('text that is no YAML says where', () => {
    expect(() => parse('functions: [a, {')).toThrow(/small.yaml: not YAML: .*line 1/s);
  });
});

describe('the notation is checked as a whole', () => {
  const wrong: readonly [string, string, string, RegExp][] = [
    ['an id twice', 'id: 0x002', 'id: 0x001', /id 1 is used by cuBoxCreate and by cuBoxQuery/],
    ['a symbol twice', 'symbol: cuBoxQuery}', 'symbol: cuBoxNothing}', /symbol cuBoxNothing/],
    ['an unknown type', 'type: CUkind', 'type: CUkin', /cuBoxCreate > kind: type CUkin is not/],
    ['an unknown handle', 'handle: stream}', 'handle: box}', /handle box is not in handles.yaml/],
    ['an output that is no pointer', 'type: CUkind', 'type: CUkind, dir: out', /needs a pointer/],
    [
      'an object that is no parameter',
      'semantics: create',
      'semantics: create\n    object: it',
      /it, which is no parameter/,
    ],
    [
      'an adapt of no parameter',
      '          - unsigned int size',
      '          - unsigned int size\n        adapt: {colour: "0"}',
      /adapt names colour/,
    ],
  ];
  const sides: typeof wrong = [
    ['an unsupported call that travels', 'executor: none', 'executor: custom', /must be none/],
    ['a generated call without executor', 'executor: generated', 'executor: none', /cannot be/],
  ];
  test.each([...wrong, ...sides])('%s', (_, from, to, found) => {
    expect(() => buildIr(smallNotation((text) => text.replace(from, to)))).toThrow(found);
  });
});

describe('what cannot be generated is refused, never guessed', () => {
  const calls = (from: string, to: string): unknown =>
    emitClientCalls(buildIr(smallNotation((t) => t.replace(from, to))));

  test('an array without a size', () => {
    expect(() => calls(', dir: out, size: count', ', dir: out, size: count')).not.toThrow();
    expect(() =>
      calls('"unsigned short *", dir: out, size: count', '"unsigned short **", dir: out'),
    ).toThrow(/how unsigned short \*\* travels/);
  });

  test('an async call with outputs', () => {
    const from = 'id: 0x002\n    class: sync';
    expect(() => calls(from, from.replace('sync', 'async'))).toThrow(
      /class async, but it has outputs/,
    );
  });

  test('a record that holds pointers', () => {
    const notation = smallNotation(undefined, (t) => t.replace('float ratio', 'void *ratio'));
    expect(() => emitClientCalls(buildIr(notation))).toThrow(/CUshape holds pointers.*raw: true/);
  });

  test('an old signature that no rule adapts answers that it is not supported', () => {
    const entries = emitClientEntries(buildIr(smallNotation())).find((f) =>
      f.path.endsWith('client_entries.cc'),
    );
    expect(entries?.text).toMatch(
      /cuBoxCreate\(CUstream \*\/\*box\*\/[^}]*report_unsupported\(CallId::cuBoxCreate\)/,
    );
    expect(entries?.text).toMatch(
      /cuBoxCreate_v2\([^}]*answered\([^}]*impl::cuBoxCreate\(box, label, size, kind\)\)/,
    );
    expect(entries?.text).toMatch(/cuBoxNothing\(\) \{\s*return report_unsupported/);
  });
});

describe('the notation of the driver API', () => {
  const ir = buildIr(loadNotation(NOTATION));

  test('has every base name and symbol of 13.0', () => {
    expect(ir.driverCalls.length).toBe(447);
    expect(ir.driverCalls.flatMap((c) => c.versions).length).toBe(634);
  });

  test('versions of a name are listed oldest first, per-thread ones last', () => {
    for (const call of ir.driverCalls) {
      const keys = call.versions.map((v) => (v.perThread ? 1e6 : 0) + v.since);
      expect([call.name, keys]).toEqual([call.name, [...keys].sort((a, b) => a - b)]);
    }
  });
});
