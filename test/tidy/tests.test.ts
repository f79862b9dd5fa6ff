// SPDX-License-Identifier: Apache-2.0
// Tests that can fail: each file asserts, none is switched off, and none depends on the clock.

import { expect, test } from 'vitest';
import { handWritten } from './tree.ts';

const isTest = (path: string): boolean => path.endsWith('.test.ts');
const isNativeTest = (path: string): boolean => path.endsWith('_test.cc');
const self = 'test/tidy/tests.test.ts';

test('every test file asserts something', () => {
  const silent = handWritten().filter(({ path, text }) =>
    isTest(path)
      ? !/\bexpect\(|\bassert\b|\bfc\.assert\(/.test(text)
      : isNativeTest(path) && !/\b(EXPECT|ASSERT)_\w+\(/.test(text),
  );
  expect(silent.map(({ path }) => path)).toEqual([]);
});

test('no test is switched off or singled out', () => {
  const off = handWritten().filter(({ path, text }) => {
    if (path === self) return false;
    if (isTest(path)) return /\b(it|test|describe)\.(only|skip|todo|fails)\b/.test(text);
    // A native test may skip for want of hardware, and says so: GTEST_SKIP() << "why".
    return isNativeTest(path) && /\bDISABLED_|GTEST_SKIP\(\)\s*;/.test(text);
  });
  expect(off.map(({ path }) => path)).toEqual([]);
});

test('there are tests', () => {
  expect(handWritten().filter(({ path }) => isTest(path)).length).toBeGreaterThan(3);
});
