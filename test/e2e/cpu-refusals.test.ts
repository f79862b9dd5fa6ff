// SPDX-License-Identifier: Apache-2.0
// What a dump or a restore of a CPU-only program must refuse, by a typed error that names the
// cause, with the program running on as if nothing had been asked.
import { execFile, execFileSync } from 'node:child_process';
import { appendFileSync, chmodSync, readdirSync, truncateSync, writeFileSync } from 'node:fs';
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { PhosError } from '../../src/errors/phos-error.ts';
import {
  type CpuDumpRequest,
  dumpCpu,
  endTree,
  planCpuDump,
  thawAbandoned,
} from '../../src/host/cpu-checkpoint.ts';
import { planCpuRestore } from '../../src/host/cpu-restore.ts';
import {
  criuEnvironment,
  dumpArguments,
  findCriu,
  stopAbandonedCriu,
} from '../../src/host/criu.ts';
import { listProcesses } from '../../src/host/proc.ts';
import { keeperPath, startKeeper } from '../../src/host/keeper.ts';
import { waitUntil } from '../../src/host/wait.ts';
import { whyNoCheckpoint, whyNoMount } from '../support/checkpointing.ts';
import { Bench, compileSubject, DEADLINE_MS, type Running } from '../support/counter.ts';
import {
  dumpAndEnd,
  dumpAndThaw,
  dumpLimits,
  dumpRequest,
  restoreFrom,
  wholeCount,
} from '../support/cpu-round.ts';

const missing = await whyNoCheckpoint();
const noMount = whyNoMount();
const LINES = 150;
const STEP_US = '4000';

async function refusal(action: Promise<unknown>): Promise<PhosError> {
  const outcome = await action.then(
    () => null,
    (thrown: unknown) => thrown,
  );
  expect(outcome).toBeInstanceOf(PhosError);
  return outcome as PhosError;
}

/** Some kernels let CRIU 4.1 save no network socket at all; then it must say just that. */
async function closesTcpOrSaysWhyNot(
  bench: Bench,
  first: Running,
  request: CpuDumpRequest,
): Promise<void> {
  const outcome = await dumpCpu(request, bench.folder('image'), dumpLimits).catch(
    (thrown: unknown) => thrown as PhosError,
  );
  const reason = 'cannot save network sockets on this kernel';
  expect(outcome instanceof PhosError ? outcome.message : reason).toContain(reason);
  if (outcome instanceof PhosError) return runsToTheEnd(bench, first);
  await endTree(first.cgroup, outcome.tree, DEADLINE_MS);
  await first.keeper.exited;
  bench.openGate();
  const second = await restoreFrom(bench, 'image');
  expect(await second.keeper.exited).toMatchObject({ code: 7 });
  expect([...first.output.lines(), ...second.output.lines()]).toEqual(wholeCount(LINES));
}

async function runsToTheEnd(bench: Bench, running: Running): Promise<void> {
  bench.openGate();
  expect(await running.keeper.exited).toMatchObject({ code: 7 });
  expect(running.output.lines()).toEqual(wholeCount(LINES));
}

describe.skipIf(missing !== null)(
  `refusals of CPU dump and restore${missing ? ` (skipped: ${missing})` : ''}`,
  () => {
    let bench: Bench;
    let counter: string;
    const run = (...options: string[]) =>
      bench.run([counter, String(LINES), STEP_US, '--gate', bench.gate, ...options]);
    beforeEach(() => {
      bench = new Bench();
      counter = compileSubject('counter', bench.dir);
    });
    afterEach(() => bench.dispose());

    test('a file that has grown is a conflict, unless it is to be cut back', async () => {
      const file = join(bench.dir, 'lines.txt');
      const first = await run('--append', file);
      await first.output.waitForLines(20);
      await dumpAndEnd(bench, first, 'image');
      appendFileSync(file, 'written by somebody else\n');
      const error = await refusal(restoreFrom(bench, 'image'));
      expect(error).toMatchObject({ code: 'CONFLICT', details: { path: file } });
      bench.openGate();
      const second = await restoreFrom(bench, 'image', { truncate: true });
      await second.keeper.exited;
      const all = wholeCount(LINES).slice(0, -1);
      expect(bench.read('lines.txt').split('\n').filter(Boolean)).toEqual(all);
    });

    test('a file that has shrunk, and one that is gone, are named', async () => {
      const file = join(bench.dir, 'lines.txt');
      const first = await run('--file', file);
      await first.output.waitForLines(20);
      await dumpAndEnd(bench, first, 'image');
      truncateSync(file, 3);
      const shrunk = await refusal(planCpuRestore(bench.folder('image'), { truncate: true }));
      expect(shrunk).toMatchObject({ code: 'CONFLICT', details: { path: file } });
      execFileSync('rm', [file]);
      const gone = await refusal(planCpuRestore(bench.folder('image'), { truncate: true }));
      expect(gone).toMatchObject({ code: 'NOT_FOUND', details: { path: file } });
    });

    test('a unix socket that leads out is named, and the program runs on', async () => {
      const path = join(bench.dir, 'outside.sock');
      const server = createServer().listen(path);
      try {
        const first = await run('--unix', path);
        await first.output.waitForLines(5);
        const error = await refusal(planCpuDump(dumpRequest(first)));
        expect(error.code).toBe('UNSUPPORTED');
        expect(error.message).toContain(`process ${first.started.pid} descriptor 3`);
        const late = await refusal(dumpCpu(dumpRequest(first), bench.folder('image'), dumpLimits));
        expect(late.code).toBe('UNSUPPORTED');
        // Sockets to the tree's executors are closed before the dump: they are no reason.
        const request = { ...dumpRequest(first), closing: [process.pid] };
        await expect(planCpuDump(request)).resolves.toMatchObject({ criu: {} });
        await runsToTheEnd(bench, first);
      } finally {
        server.close();
      }
    });

    test('a TCP connection is named, or comes back closed where that is asked for', async () => {
      const server = createServer().listen(0, '127.0.0.1');
      try {
        await once(server, 'listening');
        const { port } = server.address() as AddressInfo;
        const first = await run('--tcp', String(port));
        await first.output.waitForLines(5);
        const error = await refusal(planCpuDump(dumpRequest(first)));
        expect(error.code).toBe('UNSUPPORTED');
        expect(error.message).toContain('descriptor 3');
        expect(error.message).toContain('TCP');
        const request = { ...dumpRequest(first), closeTcp: true };
        await expect(planCpuDump(request)).resolves.toMatchObject({ criu: {} });
        await closesTcpOrSaysWhyNot(bench, first, request);
      } finally {
        server.close();
      }
    });

    test('a pipe that somebody else holds is named', async () => {
      const first = await bench.run([
        '/bin/sh',
        '-c',
        `${counter} ${LINES} 4000 --gate ${bench.gate} | cat`,
      ]);
      await first.output.waitForLines(5);
      // A pipe between two members of the tree is no leak.
      await expect(planCpuDump(dumpRequest(first))).resolves.toMatchObject({ criu: {} });
      const only = { ...dumpRequest(first), rootPid: childOf(first.started.pid) };
      const error = await refusal(planCpuDump(only));
      expect(error.code).toBe('UNSUPPORTED');
      expect(error.message).toMatch(/is a pipe that process \d+ holds too/);
    });

    test('CRIU that is missing is unavailable, one that is too old unsupported', async () => {
      const none = await refusal(findCriu({ PHOS_CRIU: '/nonexistent/criu' }));
      expect(none.code).toBe('UNAVAILABLE');
      expect(none.message).toContain('npm run setup');
      const old = join(bench.dir, 'criu');
      writeFileSync(old, '#!/bin/sh\necho Version: 3.17.1\n');
      chmodSync(old, 0o755);
      const error = await refusal(findCriu({ PHOS_CRIU: old }));
      expect(error.code).toBe('UNSUPPORTED');
      expect(error.message).toContain('3.17.1');
    });

    test('a pid that is taken is a conflict', async () => {
      const first = await run();
      await first.output.waitForLines(10);
      await dumpAndThaw(bench, first, 'image');
      const error = await refusal(restoreFrom(bench, 'image'));
      expect(error).toMatchObject({ code: 'CONFLICT', details: { pid: first.started.pid } });
      await runsToTheEnd(bench, first);
    });

    test('a pid that does not exist is not found', async () => {
      const first = await run();
      const request = { ...dumpRequest(first), rootPid: 4_194_304 };
      expect((await refusal(planCpuDump(request))).code).toBe('NOT_FOUND');
    });

    test.skipIf(noMount !== null)(
      `a full disk is a storage error at whatever write${noMount ? ` (skipped: ${noMount})` : ''}`,
      async () => {
        const first = await run('--memory', '8');
        await first.output.waitForLines(5);
        const image = bench.folder('small');
        // CRIU's small files take a page each, and are written before the memory.
        const pages = [1, 2, 4, 6, 8, 10, 12, 16, 24, 512];
        for (const size of pages.map((count) => `${count * 4}k`)) {
          execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'phos-test', image]);
          try {
            const error = await refusal(dumpCpu(dumpRequest(first), image, dumpLimits));
            expect([size, error.code]).toEqual([size, 'STORAGE']);
          } finally {
            execFileSync('umount', [image]);
          }
        }
        await runsToTheEnd(bench, first);
      },
    );

    test('a dump that is cancelled in the middle leaves the program unharmed', async () => {
      const first = await run('--memory', '400', '--children', '1');
      await first.output.waitForLines(5);
      for (const name of ['one', 'two', 'three', 'four', 'five', 'six']) {
        const cancel = new AbortController();
        const image = bench.folder(name);
        const dumping = refusal(
          dumpCpu(dumpRequest(first), image, { ...dumpLimits, signal: cancel.signal }),
        );
        await waitUntil(
          () => readdirSync(image).some((file) => file.startsWith('pages-')),
          DEADLINE_MS,
          'no pages',
        );
        cancel.abort();
        expect((await dumping).code).toBe('CANCELLED');
      }
      await runsToTheEnd(bench, first);
    });

    test('the CRIU of a phosd that died is made to end, and its tree goes on', async () => {
      const first = await run('--memory', '400');
      await first.output.waitForLines(5);
      const image = bench.folder('image');
      await first.cgroup.freeze(DEADLINE_MS);
      const criu = await findCriu();
      const args = dumpArguments({
        rootPid: first.started.pid,
        imagesDir: image,
        freezeCgroup: first.cgroup.path,
        externalTtys: [],
        leaveRunning: false,
        shellJob: false,
        closeTcp: false,
        deadlineMs: DEADLINE_MS,
        signal: null,
      });
      const criuEnd = new Promise((resolve) => {
        const options = { env: criuEnvironment };
        execFile(keeperPath(), ['stoppable', criu.path, ...args], options, resolve);
      });
      await waitUntil(
        () => readdirSync(image).some((file) => file.startsWith('pages-')),
        DEADLINE_MS,
        'no pages',
      );
      await stopAbandonedCriu(image, DEADLINE_MS);
      await criuEnd;
      await thawAbandoned(first.cgroup, DEADLINE_MS);
      await runsToTheEnd(bench, first);
    });

    test('a damaged image is refused with nothing left running', async () => {
      const first = await run();
      await first.output.waitForLines(10);
      await dumpAndEnd(bench, first, 'image');
      const image = bench.folder('image');
      const core = readdirSync(image).find((file) => file.startsWith('core-'));
      truncateSync(join(image, core ?? ''), 20);
      const error = await refusal(restoreFrom(bench, 'image'));
      expect(error.code).toBe('IMAGE_INVALID');
      await expect(planCpuRestore(image, { truncate: false })).resolves.toMatchObject({ criu: {} });
      truncateSync(join(image, 'process.json'), 20);
      expect((await refusal(restoreFrom(bench, 'image'))).code).toBe('IMAGE_INVALID');
    });

    test('a program that cannot be started says why, and no keeper stays', async () => {
      const start = (argv: string[], cwd = bench.dir) =>
        refusal(
          startKeeper({ ...bench.job(), argv, cwd, umask: 0o022, environment: {} }, DEADLINE_MS),
        );
      expect(await start(['/nonexistent/program'])).toMatchObject({ code: 'NOT_FOUND' });
      expect(await start(['no-such-program-on-any-path'])).toMatchObject({ code: 'NOT_FOUND' });
      expect(await start([bench.dir])).toMatchObject({ code: 'PERMISSION' });
      expect(await start(['true'], join(bench.dir, 'nowhere'))).toMatchObject({
        code: 'NOT_FOUND',
      });
      expect(readdirSync(bench.dir).filter((name) => name.endsWith('.sock'))).toEqual([]);
    });
  },
);

function childOf(pid: number): number {
  const child = listProcesses().find((row) => row.parentPid === pid);
  expect(child).toBeDefined();
  return child?.pid ?? 0;
}
