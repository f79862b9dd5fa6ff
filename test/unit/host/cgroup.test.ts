// SPDX-License-Identifier: Apache-2.0
import { expect, test } from 'vitest';
import { cgroup2Mounts } from '../../../src/host/cgroup.ts';

test('cgroup2 is found alone, beside version 1, and under a name with a blank', () => {
  const mounts = cgroup2Mounts(
    [
      '22 1 0:20 / /proc rw,nosuid - proc proc rw',
      '30 22 0:26 / /sys/fs/cgroup ro - tmpfs tmpfs ro,mode=755',
      '31 30 0:27 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory',
      '32 30 0:28 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw',
      '33 30 0:28 / /mnt/my\\040cgroup rw - cgroup2 none rw',
      '',
    ].join('\n'),
  );
  expect(mounts).toEqual(['/sys/fs/cgroup/unified', '/mnt/my cgroup']);
  expect(cgroup2Mounts('22 1 0:20 / /proc rw - proc proc rw\n')).toEqual([]);
});
