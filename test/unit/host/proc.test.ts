// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest';
import { endsOf } from '../../../src/host/leads-out.ts';
import { openForWriting } from '../../../src/host/open-files.ts';
import {
  exists,
  isDeviceVariable,
  parseStat,
  readMappings,
  readProcess,
  readTree,
} from '../../../src/host/proc.ts';
import { readFds } from '../../../src/host/fds.ts';

describe('/proc/PID/stat', () => {
  test.each(['sh', 'a b', ') R 1 2', '((', 'x) S 9 9 9'])(
    'a program may be called "%s"',
    (name) => {
      const tail = 'S 10 11 12 34816 11 4194304 1 2 3 4 5 6 7 8 20 0 1 0 987654 1 2';
      expect(parseStat(`42 (${name}) ${tail}\n`)).toEqual({
        pid: 42,
        command: name,
        state: 'S',
        parentPid: 10,
        processGroup: 11,
        session: 12,
        startTime: 987_654n,
      });
    },
  );

  test('this process is found, with another start time it is somebody else', () => {
    const self = readProcess(process.pid);
    expect(self?.pid).toBe(process.pid);
    if (self === null) return;
    expect(exists(self)).toBe(true);
    expect(exists({ ...self, startTime: self.startTime + 1n })).toBe(false);
    expect(readTree(process.pid)[0]?.pid).toBe(process.pid);
    expect(readProcess(4_194_304)).toBeNull();
    expect(() => readTree(4_194_304)).toThrow(/4194304/);
  });
});

test('mappings have addresses, offsets and paths', () => {
  const mappings = readMappings(process.pid);
  expect(mappings.length).toBeGreaterThan(10);
  const stack = mappings.find((mapping) => mapping.path === '[stack]');
  expect(stack?.permissions).toMatch(/^rw/);
  expect((stack?.end ?? 0n) > (stack?.start ?? 0n)).toBe(true);
  expect(readMappings(4_194_304)).toEqual([]);
});

test('descriptors of this process can be read, and files for writing told from the rest', () => {
  const fds = readFds(process.pid);
  expect(fds.length).toBeGreaterThan(3);
  const base = { pid: 1, fd: 3, inode: 5n, rdev: 0n, device: 1n, bytes: 30n, offset: 20n } as const;
  const files = openForWriting([
    { ...base, target: '/tmp/a', kind: 'file', flags: 0o102001 },
    { ...base, target: '/tmp/read-only', kind: 'file', flags: 0o100000 },
    { ...base, target: '/tmp/gone (deleted)', kind: 'file', flags: 0o100002 },
    { ...base, target: '/proc/self/comm', kind: 'file', flags: 0o100001 },
    { ...base, target: 'pipe:[7]', kind: 'pipe', flags: 0o1 },
    { ...base, target: '/memfd:ring (deleted)', kind: 'memfd', flags: 0o2 },
  ]);
  expect(files).toEqual([
    { pid: 1, fd: 3, path: '/tmp/a', offset: '20', bytes: '30', append: true },
  ]);
});

test('variables that a device needs are told from the rest', () => {
  const names = ['CUDA_VISIBLE_DEVICES', 'PHOS_LOG', 'NVIDIA_TF32_OVERRIDE', 'HOME', 'XCUDA_A'];
  expect(names.filter(isDeviceVariable)).toEqual(names.slice(0, 3));
});

test('ends of a keeper carry CRIU’s names', () => {
  expect(endsOf(null)).toEqual([]);
  expect(endsOf({ kind: 'pty', tty: 'tty[8803:17]' })).toEqual([
    { name: 'tty[8803:17]', stdio: 'pty' },
  ]);
  const pipes = {
    kind: 'pipes',
    stdin: 'pipe:[1]',
    stdout: 'pipe:[2]',
    stderr: 'pipe:[3]',
  } as const;
  expect(endsOf(pipes).map((end) => end.stdio)).toEqual(['stdin', 'stdout', 'stderr']);
});
