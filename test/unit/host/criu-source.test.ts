// SPDX-License-Identifier: Apache-2.0
// The private apt source from which the set-up takes CRIU is the machine's own with another suite.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { deriveSource } from '../../../scripts/lib/criu.mjs';

let etc: string;
beforeEach(() => {
  etc = mkdtempSync(join(tmpdir(), 'phos-apt-'));
  mkdirSync(join(etc, 'sources.list.d'));
  writeFileSync(join(etc, 'os-release'), 'ID=debian\nVERSION_CODENAME=bookworm\n');
});
afterEach(() => rmSync(etc, { recursive: true, force: true }));
const derive = () => deriveSource(etc, join(etc, 'os-release'));

test('from deb822 files, with the keys that the machine trusts', async () => {
  writeFileSync(
    join(etc, 'sources.list.d/other.sources'),
    'Types: deb\nURIs: http://example.invalid/x\nSuites: stable\nComponents: main\n',
  );
  writeFileSync(
    join(etc, 'sources.list.d/debian.sources'),
    '# comment\nTypes: deb deb-src\n# another\nURIs: http://example.invalid/debian\n' +
      'Suites: bookworm bookworm-updates\nComponents: main contrib\nSigned-By: /keys.gpg\n\n' +
      'Types: deb\nURIs: http://example.invalid/security\nSuites: bookworm-security\n' +
      'Components: main\n',
  );
  const { name, text } = await derive();
  expect(name).toMatch(/\.sources$/);
  expect(text).toBe(
    'Types: deb\nURIs: http://example.invalid/debian\nSuites: trixie\nComponents: main\n' +
      'Signed-By: /keys.gpg\n',
  );
});

test('from one-line files, with their options', async () => {
  writeFileSync(
    join(etc, 'sources.list'),
    '# deb http://example.invalid/no bookworm main\n' +
      'deb-src http://example.invalid/src bookworm main\n' +
      'deb [signed-by=/k arch=amd64] http://example.invalid/debian bookworm main contrib\n',
  );
  const { name, text } = await derive();
  expect(name).toMatch(/\.list$/);
  expect(text).toBe('deb [signed-by=/k arch=amd64] http://example.invalid/debian trixie main\n');
});

test('a machine without a Debian source is told what to do', async () => {
  await expect(derive()).rejects.toThrow(/PHOS_CRIU/);
});
