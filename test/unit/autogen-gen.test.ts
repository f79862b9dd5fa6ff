// SPDX-License-Identifier: Apache-2.0
import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { emitAll } from '../../autogen/emit/index.ts';
import { generated, wrap } from '../../autogen/emit/output.ts';
import { compareOutputs, writeOutputs } from '../../autogen/gen.ts';
import { buildIr } from '../../autogen/ir.ts';
import { loadNotation } from '../../autogen/load.ts';
import { NOTATION, ROOT, smallHeader } from './autogen-support.ts';

const folders: string[] = [];
const temporary = (): string => {
  const folder = mkdtempSync(join(tmpdir(), 'phos-gen-'));
  folders.push(folder);
  return folder;
};
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

describe('generated files', () => {
  test('those of this tree are fresh', () => {
    expect(compareOutputs(ROOT, emitAll(buildIr(loadNotation(NOTATION))))).toEqual([]);
  });

  test('missing, stale and left over ones are found and mended', () => {
    const root = temporary();
    const files = ['a', 'b'].map((name) => generated(`native/gen/${name}.h`, 'About it.', [name]));
    expect(compareOutputs(root, files).map((d) => d.why)).toEqual(['missing', 'missing']);
    writeOutputs(root, files);
    expect(compareOutputs(root, files)).toEqual([]);

    writeFileSync(join(root, 'native/gen/a.h'), 'edited by hand\n');
    const old = generated('native/gen/old.h', '', ['old']);
    writeFileSync(join(root, old.path), old.text);
    writeFileSync(join(root, 'native/gen/CMakeLists.txt'), '# written by hand\n');
    expect(compareOutputs(root, files)).toEqual([
      { path: 'native/gen/a.h', why: 'stale' },
      { path: 'native/gen/old.h', why: 'left over' },
    ]);
    writeOutputs(root, files);
    expect(compareOutputs(root, files)).toEqual([]);
    expect(existsSync(join(root, 'native/gen/CMakeLists.txt'))).toBe(true);
  });

  test('each says that it is generated', () => {
    for (const file of emitAll(buildIr(loadNotation(NOTATION)))) {
      expect(file.text.split('\n').slice(0, 2).join('\n')).toMatch(/Apache-2.0.*\n.*do not edit/);
    }
  });

  test('the words of the vendor are not in them', () => {
    const abi = readFileSync(join(ROOT, 'native/include/phos/cuda_abi.h'), 'utf8');
    expect(abi).not.toMatch(/\/\*\*|\\param|\\brief|deprecated|NVIDIA/i);
  });

  test('long lists are broken within 100 columns', () => {
    const lines = wrap(
      Array.from({ length: 50 }, (_, i) => `word${i}`),
      '    ',
    );
    expect(Math.max(...lines.map((l) => l.length))).toBeLessThanOrEqual(100);
    expect(lines.join(' ').match(/word\d+/g)).toHaveLength(50);
  });
});

describe('the command', () => {
  const run = (...args: string[]) =>
    spawnSync(process.execPath, ['--import', 'tsx', join(ROOT, 'autogen/main.ts'), ...args], {
      cwd: ROOT,
      encoding: 'utf8',
      timeout: 60_000,
    });

  test('gen --check fails on a stale file, names it, and says what to do', () => {
    const root = temporary();
    mkdirSync(join(root, 'autogen'));
    cpSync(NOTATION, join(root, 'autogen/notation'), { recursive: true });
    expect(run('--root', root, 'gen').status).toBe(0);
    expect(run('--root', root, 'gen', '--check').status).toBe(0);
    writeFileSync(join(root, 'native/gen/codec.h'), '// edited\n');
    const stale = run('--root', root, 'gen', '--check');
    expect([stale.status, stale.stderr]).toEqual([
      10,
      expect.stringMatching(/codec.h is stale\n.*npm run gen/),
    ]);

    writeFileSync(join(root, 'autogen/notation/errors.yaml'), 'errors: [{code: lower, exit: 3}]\n');
    const invalid = run('--root', root, 'gen');
    expect([invalid.status, invalid.stderr]).toEqual([
      7,
      expect.stringMatching(/errors.yaml.*code/s),
    ]);
  }, 120_000);

  test('import fails on differences, and on a header that is not there', () => {
    const other = run('import', '--header', smallHeader());
    expect([other.status, other.stderr]).toEqual([
      10,
      expect.stringMatching(/cuBoxCreate: the notation lacks it/),
    ]);
    const none = run('import', '--header', '/nowhere/cuda.h');
    expect([none.status, none.stderr]).toEqual([6, expect.stringMatching(/does not exist/)]);
    expect(run('translate').status).toBe(2);
  }, 120_000);
});
