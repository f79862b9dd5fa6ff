// SPDX-License-Identifier: Apache-2.0
import { existsSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { compareWithHeader } from '../../autogen/import/compare.ts';
import { readDriverHeader, readRefusedNames } from '../../autogen/import/header.ts';
import { parseHeader } from '../../autogen/import/parse.ts';
import { preprocess } from '../../autogen/import/preprocess.ts';
import { buildIr } from '../../autogen/ir.ts';
import { loadNotation } from '../../autogen/load.ts';
import { NOTATION, smallHeader, smallNotation } from './autogen-support.ts';

describe('the preprocessor', () => {
  const tokens = (text: string, defines = {}): string => preprocess(text, defines).tokens.join(' ');

  test('follows conditionals, and only the branch that holds', () => {
    const text = '#if defined(A) && !defined(B)\none\n#elif 1\ntwo\n#else\nthree\n#endif';
    expect(tokens(text, { A: '1' })).toBe('one');
    expect(tokens(text, { A: '1', B: '1' })).toBe('two');
  });

  test('pastes, and expands macros as they stand where they are used', () => {
    expect(tokens('#define P(x) x ## _ptsz\nP(a)\n#undef P\nP(a)')).toBe('a_ptsz P ( a )');
    expect(tokens('#define a b\n#define b a\na')).toBe('a');
  });

  test('leaves comments out, lines continued included', () => {
    expect(tokens('x /* #define x y */ // z\n#define q \\\n 3\nq')).toBe('x 3');
  });
});

describe('the parser', () => {
  const parse = (text: string) => parseHeader(preprocess(text, {}).tokens);

  test('writes types in one way only', () => {
    const { functions } = parse('int f(const struct A **a, unsigned b, void *const *c, char d);');
    expect(functions.get('f')?.params.map((p) => p.type)).toEqual([
      'const A **',
      'unsigned int',
      'void *const *',
      'char',
    ]);
  });

  test('counts enumerators on, and reads expressions over earlier ones', () => {
    const { enums } = parse('typedef enum E { A, B = 1 << 4, C, D = B | 2, } E;');
    expect([...(enums.get('E')?.values ?? [])]).toEqual([
      ['A', 0],
      ['B', 16],
      ['C', 17],
      ['D', 18],
    ]);
  });

  test('says where it stopped understanding', () => {
    expect(() => parse('typedef struct { int a : 3; } S;')).toThrow(/bit-fields/);
  });
});

describe('the comparison', () => {
  test('a notation that is right agrees with its header', () => {
    expect(compareWithHeader(buildIr(smallNotation()), readDriverHeader(smallHeader()))).toEqual(
      [],
    );
  });

  const lies: readonly [string, string, string, RegExp][] = [
    [
      'a parameter type',
      'name: size, type: size_t',
      'name: size, type: int',
      /cuBoxCreate_v2: par/,
    ],
    ['a version', 'since: 7000', 'since: 7010', /cuBoxQuery_ptsz: since: .*7010.*7000/],
    ['an old signature', 'unsigned int size', 'unsigned long long size', /cuBoxCreate: parameters/],
    ['a missing symbol', '- {since: 7000, symbol: cuBoxQuery_ptsz, flags: ptsz}', '', /lacks it/],
    [
      'an invented name',
      'name: cuBoxNothing',
      'name: cuBoxSomething',
      /cuBoxSomething: the header/,
    ],
  ];
  test.each(lies)('finds a lie about %s', (_, from, to, found) => {
    const ir = buildIr(smallNotation((text) => text.replace(from, to)));
    expect(compareWithHeader(ir, readDriverHeader(smallHeader())).join('\n')).toMatch(found);
  });

  const typeLies: readonly [string, string, string, RegExp][] = [
    ['an enumerator', 'CU_KIND_B: 4', 'CU_KIND_B: 5', /CUkind.CU_KIND_B: .*5.*4/],
    ['a field', 'float ratio', 'int ratio', /CUshape_v1.extra.ratio/],
    ['the length of an array', 'sides[2]', 'sides[3]', /CUshape_v1.sides/],
    ['a constant', '0x10', '0x11', /CU_BOX_MAX/],
    ['the order of fields', '- unsigned char corner', '- unsigned char edge', /CUshape_v1: fields/],
    ['an alias', 'CUshape: CUshape_v1', 'CUshape: int', /CUshape: .*int.*CUshape_v1/],
  ];
  test.each(typeLies)('finds a lie about %s', (_, from, to, found) => {
    const ir = buildIr(smallNotation(undefined, (text) => text.replace(from, to)));
    expect(compareWithHeader(ir, readDriverHeader(smallHeader())).join('\n')).toMatch(found);
  });

  test('finds what a newer header has more', () => {
    const header = smallHeader((text) => text.replace('CU_KIND_A,', 'CU_KIND_A, CU_KIND_NEW,'));
    const found = compareWithHeader(buildIr(smallNotation()), readDriverHeader(header));
    expect(found).toContain('enumerator CU_KIND_NEW: the notation lacks it');
  });

  test('refuses headers whose symbols and versions do not pair up', () => {
    const header = smallHeader((text) => text.replaceAll('cuBoxNothing', 'cuBoxNothing_v2'));
    expect(readDriverHeader(header).versions.get('cuBoxNothing')?.[0]?.symbol).toBe(
      'cuBoxNothing_v2',
    );
    const more = smallHeader((text) =>
      text.replace(
        'CUresult CUDAAPI cuBoxNothing(void);',
        '$&\n$&'.replace('$&\n', 'CUresult cuBoxNothing_v2(void);\n'),
      ),
    );
    expect(() => readDriverHeader(more)).toThrow(/cuBoxNothing: cuda.h has the symbols/);
  });
});

const installed = '/usr/local/cuda/include/cuda.h';
const hasHeader = existsSync(installed);
if (!hasHeader) console.warn(`SKIPPED: no ${installed}: the notation is NOT compared with it here`);

describe.skipIf(!hasHeader)('the real header', () => {
  test('agrees with the notation, and the refused names are counted', () => {
    const header = readDriverHeader(installed);
    if (header.cudaVersion !== 13000) return;
    expect(compareWithHeader(buildIr(loadNotation(NOTATION)), header)).toEqual([]);
    expect(header.versions.size).toBe(447);
    const refused = readRefusedNames(installed).flatMap((r) => r.names);
    for (const name of refused) expect(header.versions.has(name)).toBe(false);
  });
});
