// SPDX-License-Identifier: Apache-2.0
// CI's last lines: every failed test by its full name, with its error, from both kinds of reports.

import { describe, expect, test } from 'vitest';
import { lastLines, readJunit, readVitest, sum } from '../../../scripts/lib/test-report.mjs';

const testcase = (name: string, status: string, body: string) =>
  `<testcase name="${name}" classname="${name}" time="0" status="${status}">\n${body}\n</testcase>`;
const junit = (...cases: string[]) =>
  `<?xml version="1.0"?>\n<testsuite tests="${cases.length}">\n${cases.join('\n')}\n</testsuite>\n`;

const line = (name: string, state: string, error = ''): string =>
  `${JSON.stringify({ id: name, name, state, error })}\n`;
const vitestReport = [
  line('a.test.ts > good', 'running'),
  line('a.test.ts > bad', 'running'),
  line('a.test.ts > good', 'passed'),
  line('a.test.ts > off (no root)', 'skipped'),
  line(
    'a.test.ts > bad',
    'failed',
    `\u001B[31mError: one\u001B[39m\n\n  at x\n${'y\n'.repeat(40)}`,
  ),
  line('b.test.ts', 'failed', 'no c.ts'),
  line('d.test.ts > slow', 'running'),
  '{"name": "cut o',
].join('');

describe('a vitest report', () => {
  const verdict = readVitest(vitestReport);

  test('names failed tests with the first lines of their error, without colours', () => {
    expect(verdict.passed).toBe(1);
    expect(verdict.failed[0]?.name).toBe('a.test.ts > bad');
    expect(verdict.failed[0]?.error.slice(0, 2)).toEqual(['Error: one', '  at x']);
    expect(verdict.failed[0]?.error).toHaveLength(12);
  });

  test('names a file that could not be loaded, and what was skipped', () => {
    expect(verdict.failed[1]).toEqual({ name: 'b.test.ts', error: ['no c.ts'] });
    expect(verdict.skipped).toEqual(['a.test.ts > off (no root)']);
  });

  test('of a run that was ended names what was still running', () => {
    expect(verdict.failed.slice(2)).toEqual([
      { name: 'd.test.ts > slow', error: ['it was still running when the run was ended'] },
    ]);
  });
});

describe('a JUnit report of ctest', () => {
  const output = [
    '[ RUN      ] Ring.Wraps',
    '/x/ring.cc:12: Failure',
    'Expected &lt;a&gt; &amp; &quot;b&quot;',
    '[  FAILED  ] Ring.Wraps (0 ms)',
  ].join('\n');
  const verdict = readJunit(
    junit(
      testcase('Ring.Good', 'run', '<system-out>fine</system-out>'),
      testcase('Ring.Wraps', 'fail', `<failure message=""/><system-out>${output}</system-out>`),
      testcase('Ring.Crash', 'fail', '<failure message=""/><system-out></system-out>'),
      testcase('Ring.Missing', 'notrun', '<skipped message="Unable to find executable"/>'),
      testcase(
        'Nvcc.Build',
        'notrun',
        '<skipped message="SKIP_REGULAR_EXPRESSION_MATCHED"/>' +
          '<system-out>/x/n.cc:9: Skipped\nno nvcc\n</system-out>',
      ),
    ),
  );

  test('shows an error from its first line on', () => {
    expect(verdict.passed).toBe(1);
    expect(verdict.failed[0]?.name).toBe('Ring.Wraps');
    expect(verdict.failed[0]?.error.slice(0, 2)).toEqual([
      '/x/ring.cc:12: Failure',
      'Expected <a> & "b"',
    ]);
  });

  test('counts crashes and missing programs as failures, and says why others were skipped', () => {
    expect(verdict.failed.map(({ name }) => name).slice(1)).toEqual(['Ring.Crash', 'Ring.Missing']);
    expect(verdict.skipped).toEqual(['Nvcc.Build: no nvcc']);
  });
});

test('sums add up, and the end of an output is its last lines with something in them', () => {
  const all = sum([readVitest(vitestReport), readJunit(junit())]);
  expect([all.passed, all.failed.length, all.skipped.length]).toEqual([1, 3, 1]);
  expect(lastLines('a\n\n\u001B[32mb\u001B[39m\nc\n', 2)).toEqual(['b', 'c']);
});
