// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from 'vitest';
import {
  checkMayCheckpoint,
  checkMayDumpUsers,
  dumpArguments,
  isNewEnough,
} from '../../../src/host/criu.ts';
import { errorLines, explainLines } from '../../../src/host/criu-log.ts';

describe('which CRIU will do', () => {
  test.each([
    ['4.1', true],
    ['4.1.1', true],
    ['4.2', true],
    ['5.0', true],
    ['4.0', false],
    ['3.17.1', false],
  ])('%s: %s', (version, good) => {
    expect(isNewEnough(version)).toBe(good);
  });

  test('without the capabilities the cure is named', () => {
    expect(() => checkMayCheckpoint(0n)).toThrow('start phosd as root');
    expect(() => checkMayCheckpoint(1n << 21n)).not.toThrow();
    expect(() => checkMayCheckpoint(1n << 40n)).not.toThrow();
  });

  test('programs of other users need one more capability', () => {
    const uid = process.getuid?.() ?? 0;
    expect(() => checkMayDumpUsers([uid], 0n)).not.toThrow();
    expect(() => checkMayDumpUsers([uid, uid + 1], 0n)).toThrow('CAP_SYS_RESOURCE');
    expect(() => checkMayDumpUsers([uid, uid + 1], 1n << 24n)).not.toThrow();
  });

  test('a dump leaves the tree stopped unless it goes on, and hands terminals out', () => {
    const dump = {
      rootPid: 7,
      imagesDir: '/i',
      freezeCgroup: '/c',
      externalTtys: ['tty[8803:17]'],
      leaveRunning: false,
      shellJob: false,
      closeTcp: false,
      deadlineMs: 1,
      signal: null,
    };
    const stopped = dumpArguments(dump);
    expect(stopped).toContain('--leave-stopped');
    expect(stopped.join(' ')).toContain('--external tty[8803:17]');
    expect(stopped).not.toContain('--tcp-established');
    const running = dumpArguments({ ...dump, leaveRunning: true, closeTcp: true });
    expect(running).toContain('--leave-running');
    expect(running).not.toContain('--leave-stopped');
    expect(running).toContain('--tcp-established');
  });
});

describe('what CRIU’s log means', () => {
  const codeOf = (...lines: string[]) => explainLines(lines, 'restore', 'status 1', '/log').code;

  test.each([
    ["Can't write img file: No space left on device", 'STORAGE'],
    ['page-xfer: Unable to spice data: No space left on device', 'STORAGE'],
    ['File tmp/x has bad size 12 (expect 6)', 'CONFLICT'],
    ["Can't fork for 4711: File exists", 'CONFLICT'],
    ['inet: Connected TCP socket, consider using --tcp-established option.', 'UNSUPPORTED'],
    ["sk unix: Can't dump half of stream unix connection.; external socket is used", 'UNSUPPORTED'],
    ['tty: Found dangling tty with sid 1 pgid 2 (pts) on peer fd 0.', 'UNSUPPORTED'],
    ["Can't open file tmp/x on restore: No such file or directory", 'NOT_FOUND'],
    [
      'Read 8 bytes while 2280 expected from core-7.img: No such file or directory',
      'IMAGE_INVALID',
    ],
    ["Magic doesn't match for inventory.img", 'IMAGE_INVALID'],
    ['Something that nobody has seen before', 'INTERNAL'],
  ])('%s: %s', (line, code) => {
    expect(codeOf(line)).toBe(code);
  });

  test('the first line that is known decides; what it said is quoted', () => {
    const error = explainLines(
      ['unheard of', "Can't write img file: No space left on device", 'Dumping FAILED.'],
      'dump',
      'status 1',
      '/image/dump.log',
    );
    expect(error.code).toBe('STORAGE');
    expect(error.message).toContain('No space left');
    expect(error.message).toContain('/image/dump.log');
    expect(error.details).toMatchObject({ step: 'cpu-dump' });
  });

  test('only errors count, and a complaint that CRIU gets over does not', () => {
    const log = [
      '(00.000001) Version: 4.1.1',
      "(00.000002) Error (criu/rlimit.c:44): Can't setup RLIMIT_NOFILE: not permitted",
      '(00.000003) Warn  (criu/kerndat.c:1285): No space left on device',
      '(00.000004) 12: Error (criu/files.c:9): broken',
    ].join('\n');
    expect(errorLines(log)).toEqual(['broken']);
    expect(explainLines([], 'dump', 'signal SIGSEGV', '/log').message).toContain('SIGSEGV');
  });
});
