// SPDX-License-Identifier: Apache-2.0
// What no file may hold: paths of one machine, hosts of registries, marks of unfinished work.

import { dirname } from 'node:path';
import { expect, test } from 'vitest';
import { handWritten, isGenerated, root, textFiles } from './tree.ts';

const self = 'test/tidy/words.test.ts';

interface Ban {
  readonly what: string;
  readonly pattern: RegExp;
}

const everywhere: readonly Ban[] = [
  { what: 'a path of one machine', pattern: /(^|[\s"'`=(:])\/(home\/\w+|root|Users\/\w+|work)\// },
  {
    what: 'the host of a package registry',
    pattern: /registry\.npm|npmmirror|deb\.debian\.org|snapshot\.debian|pkg\.dev|pypi\.org/,
  },
  { what: 'a conflict mark', pattern: /^(<{7}|>{7}|={7})( |$)/ },
];

const inHandWritten: readonly Ban[] = [
  { what: 'a mark of unfinished work', pattern: /\b(TODO|FIXME|XXX|HACK)\b/ },
  { what: 'a tab or a blank at the end', pattern: /[ \t]$/ },
];

function findings(
  files: readonly { path: string; lines: readonly string[] }[],
  bans: readonly Ban[],
): string[] {
  return files.flatMap(({ path, lines }) =>
    lines.flatMap((line, index) =>
      bans
        .filter(({ pattern }) => pattern.test(line))
        .map(({ what }) => `${path}:${index + 1}: ${what}`),
    ),
  );
}

test('no file holds a path of this machine or the host of a registry', () => {
  const files = textFiles().filter(({ path }) => path !== self && path !== 'LICENSE');
  expect(findings(files, everywhere)).toEqual([]);
});

test('no file names the folder this clone happens to be in', () => {
  // A clone right under the root folder, or in a folder with a common name, proves nothing.
  const parent = dirname(root.replace(/\/$/, ''));
  const here = parent.split('/').length > 2 ? `${parent}/` : root;
  const holders = textFiles().filter(({ text }) => here.length > 5 && text.includes(here));
  expect(holders.map(({ path }) => path)).toEqual([]);
});

test('no hand-written file holds marks of unfinished work or trailing blanks', () => {
  const files = handWritten().filter(({ path }) => path !== self);
  expect(findings(files, inHandWritten)).toEqual([]);
});

test('every hand-written file names its licence in its first lines', () => {
  const without = handWritten().filter(
    ({ lines }) => !lines.slice(0, 3).join('\n').includes('SPDX-License-Identifier: Apache-2.0'),
  );
  expect(without.map(({ path }) => path)).toEqual([]);
});

test('generated files say that they are', () => {
  const silent = textFiles().filter(
    ({ path, lines }) =>
      /(^|\/)gen\//.test(path) &&
      isGenerated(path) &&
      !/generated/i.test(lines.slice(0, 6).join('\n')),
  );
  expect(silent.map(({ path }) => path)).toEqual([]);
});

test('the bans find what they are for', () => {
  const lines = ['cd /home/someone/x', 'from registry.npmjs.org', '// TODO later', 'fine'];
  expect(findings([{ path: 'x', lines }], [...everywhere, ...inHandWritten])).toHaveLength(3);
});
