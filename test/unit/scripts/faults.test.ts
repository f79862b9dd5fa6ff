// SPDX-License-Identifier: Apache-2.0
// The list of fault points is whole: every port of every job and every native point is on it, and
// the page shows them.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { pageOf } from '../../../scripts/faults/page.ts';
import {
  faultPoints,
  jobMachines,
  methodsOf,
  nameOf,
  quick,
} from '../../../scripts/faults/points.ts';
import { methods } from '../../../src/executor/protocol.ts';

const names = new Set(faultPoints.map((one) => one.name));

it('has at least 40 points with different names', () => {
  expect(names.size).toBe(faultPoints.length);
  expect(names.size).toBeGreaterThanOrEqual(40);
});

it('has a point before and after every port of every job', () => {
  for (const [kind, machine] of Object.entries(jobMachines)) {
    for (const port of Object.keys(machine.implementations.actors)) {
      expect(names).toContain(`${kind}.${port}.before`);
      expect(names).toContain(`${kind}.${port}.after`);
    }
  }
});

it('has points only of methods that executors know', () => {
  const asked = Object.values(methodsOf).flat();
  expect(asked.filter((method) => !(method in methods))).toEqual([]);
});

it('has every point of native code', () => {
  const folder = fileURLToPath(new URL('../../../native/executor', import.meta.url));
  const found = readdirSync(folder).flatMap((file) =>
    [...readFileSync(`${folder}/${file}`, 'utf8').matchAll(/fault_point\("([\w.]+)"\)/g)].map(
      (match) => match[1] ?? '',
    ),
  );
  expect(found.length).toBeGreaterThan(8);
  // Allocations happen at any time, not in one operation: that point is for native tests.
  const missing = found.filter((name) => !names.has(name) && name !== 'memory.map');
  expect(missing).toEqual([]);
});

it('tries in CI what exists, and lists everything in the page', () => {
  const faults = faultPoints.flatMap((point) => point.kinds.map((kind) => nameOf(point, kind)));
  expect(quick.filter((one) => !faults.includes(one))).toEqual([]);
  const page = pageOf([]);
  expect(faultPoints.filter((point) => !page.includes(`| ${point.name} |`))).toEqual([]);
});
