// SPDX-License-Identifier: Apache-2.0
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PhosError } from '../../src/errors/phos-error.ts';
import { cancelled, timedOut, toFailure } from '../../src/model/failure.ts';
import { isClientId, isId, makeId } from '../../src/model/ids.ts';
import { MAX_SOCKET_PATH_BYTES, poolBackoffMs } from '../../src/model/limits.ts';
import { clientsOfTree, processTree, sameTree } from '../../src/model/process-tree.ts';
import {
  executorRingSocket,
  longestSocketPath,
  phosFolders,
  runtimePaths,
} from '../../src/model/runtime-dir.ts';

const facts = { environment: {}, uid: 1000, homeDir: '/u', tempDir: '/tmp' };
const row = (pid: number, parentPid: number, startTime = BigInt(pid)) => ({
  pid,
  parentPid,
  startTime,
});

describe('folders', () => {
  it('are those of the system for root', () => {
    expect(phosFolders({ ...facts, uid: 0 })).toEqual({
      runtimeDir: '/run/phos',
      stateDir: '/var/lib/phos',
      logDir: '/var/log/phos',
    });
  });

  it('are those of XDG for others, else the temporary folder by uid', () => {
    const environment = { XDG_RUNTIME_DIR: '/run/user/1000', XDG_STATE_HOME: '/s' };
    expect(phosFolders({ ...facts, environment })).toEqual({
      runtimeDir: '/run/user/1000/phos',
      stateDir: '/s/phos',
      logDir: '/s/phos/log',
    });
    expect(phosFolders(facts)).toEqual({
      runtimeDir: '/tmp/phos-1000',
      stateDir: '/u/.local/state/phos',
      logDir: '/u/.local/state/phos/log',
    });
  });

  it('are what the environment names, unless it names nothing', () => {
    const environment = { PHOS_RUNTIME_DIR: '/a', PHOS_STATE_DIR: '/b', PHOS_LOG_DIR: '/c' };
    expect(phosFolders({ ...facts, uid: 0, environment })).toEqual({
      runtimeDir: '/a',
      stateDir: '/b',
      logDir: '/c',
    });
    expect(
      phosFolders({ ...facts, uid: 0, environment: { PHOS_RUNTIME_DIR: '' } }).runtimeDir,
    ).toBe('/run/phos');
  });

  it('leave room for the longest socket path in the usual places', () => {
    for (const dir of ['/run/phos', '/run/user/4294967295/phos', '/tmp/phos-4294967295']) {
      expect(longestSocketPath(runtimePaths(dir)).length).toBeLessThan(MAX_SOCKET_PATH_BYTES);
    }
    const paths = runtimePaths('/run/phos');
    const real = executorRingSocket(paths, makeId('executor', 'deadbeef'));
    expect(longestSocketPath(paths).length).toBe(real.length);
  });
});

describe('ids', () => {
  it('tell their kind', () => {
    expect(isId('executor', makeId('executor', '00ff00ff'))).toBe(true);
    expect(isId('keeper', makeId('executor', '00ff00ff'))).toBe(false);
    expect(isId('job', 'j../../etc')).toBe(false);
    expect(isClientId('a'.repeat(32))).toBe(true);
    expect(isClientId('A'.repeat(32))).toBe(false);
  });
});

describe('process trees', () => {
  const rows = [row(1, 0), row(5, 4), row(2, 1), row(4, 2), row(3, 1), row(9, 1)];

  it('hold the root and all below it, parents first', () => {
    expect(processTree(rows, 2).map((one) => one.pid)).toEqual([2, 4, 5]);
    expect(processTree(rows, 7)).toEqual([]);
  });

  it('hold each process once, whatever the table', () => {
    const pids = fc.uniqueArray(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(pids, fc.infiniteStream(fc.nat()), (list, choices) => {
        const table = list.map((pid, index) => {
          const parent = index === 0 ? 0 : list[(choices.next().value ?? 0) % index];
          return row(pid, parent ?? 0);
        });
        const tree = processTree(table, list[0] ?? 0).map((one) => one.pid);
        expect(new Set(tree)).toEqual(new Set(list));
        expect(tree).toHaveLength(list.length);
        for (const one of table.slice(1)) {
          expect(tree.indexOf(one.parentPid)).toBeLessThan(tree.indexOf(one.pid));
        }
      }),
      { seed: Number(process.env['PHOS_SEED'] ?? 1) },
    );
  });

  it('tell their clients in the order of the tree', () => {
    const clients = [{ pid: 5 }, { pid: 9 }, { pid: 2 }];
    expect(clientsOfTree(processTree(rows, 2), clients)).toEqual([{ pid: 2 }, { pid: 5 }]);
  });

  it('are told from trees with a reused pid', () => {
    expect(sameTree([row(1, 0), row(2, 1)], [row(2, 1), row(1, 0)])).toBe(true);
    expect(sameTree([row(1, 0), row(2, 1)], [row(1, 0), row(2, 1, 99n)])).toBe(false);
    expect(sameTree([row(1, 0)], [row(1, 0), row(2, 1)])).toBe(false);
  });
});

describe('failures', () => {
  it('keep what a PhosError says', () => {
    const thrown = new PhosError('STORAGE', 'no space left', { retryable: false });
    expect(toFailure(thrown, 'save')).toEqual({
      code: 'STORAGE',
      message: 'no space left',
      step: 'save',
      retryable: false,
    });
  });

  it('take foreign codes for none', () => {
    const thrown = Object.assign(new Error('x'), { code: 'ENOENT' });
    expect(toFailure(thrown, 'save').code).toBe('INTERNAL');
    expect(toFailure('text', 'save').message).toBe('text');
  });

  it('name the step and the cure', () => {
    expect(timedOut('drain', 5, 'try again').message).toBe(
      'drain did not finish within 5 ms; try again',
    );
    expect(cancelled('save')).toMatchObject({ code: 'CANCELLED', step: 'save' });
  });
});

describe('pool', () => {
  it('waits longer after each failure, up to a bound', () => {
    const waits = [1, 2, 3, 4, 5, 6, 7, 20].map(poolBackoffMs);
    expect(waits).toEqual([...waits].sort((a, b) => a - b));
    expect(waits.at(-1)).toBe(10_000);
    expect(waits[0]).toBeGreaterThan(0);
  });
});
