// SPDX-License-Identifier: Apache-2.0
// A CPU-only program is dumped with CRIU, ended, and brought back under a new keeper. Its lines are
// counted through pipes, a terminal and a file: none may be lost and none may come twice.
import { spawn } from 'node:child_process';
import { chmodSync, closeSync, existsSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { JobCgroup } from '../../src/host/cgroup.ts';
import { dumpCpu, endTree, thawAbandoned, thawTree } from '../../src/host/cpu-checkpoint.ts';
import type { KeeperJob } from '../../src/host/keeper.ts';
import { isAlive, readProcess } from '../../src/host/proc.ts';
import { waitUntil } from '../../src/host/wait.ts';
import { Bench, Collector, compileSubject, DEADLINE_MS } from '../support/counter.ts';
import { mayDumpOthers, whyNoCheckpoint } from '../support/checkpointing.ts';
import {
  dumpAndEnd,
  dumpLimits,
  dumpRequest,
  restoreFrom,
  wholeCount,
} from '../support/cpu-round.ts';

const missing = await whyNoCheckpoint();
const LINES = 120;
const STEP_US = '4000';

describe.skipIf(missing !== null)(
  `CPU dump and restore${missing ? ` (skipped: ${missing})` : ''}`,
  () => {
    let bench: Bench;
    let counter: string;
    const run = (options: readonly string[] = [], overrides: Partial<KeeperJob> = {}) =>
      bench.run([counter, String(LINES), STEP_US, '--gate', bench.gate, ...options], overrides);
    beforeEach(() => {
      bench = new Bench();
      counter = compileSubject('counter', bench.dir);
    });
    afterEach(() => bench.dispose());

    test.each([
      ['pipes', null],
      ['a terminal', { rows: 30, columns: 100 }],
    ] as const)(
      'every line comes once through %s, and the exit code is the program’s own',
      async (_, pty) => {
        const first = await run(['--children', '2', '--memfd'], { pty });
        await first.output.waitForLines(20);
        const dump = await dumpAndEnd(bench, first, 'image');
        bench.openGate();
        expect(dump.tree).toHaveLength(3);
        expect(dump.tree.map((row) => readProcess(row.pid))).toEqual([null, null, null]);

        const second = await restoreFrom(bench, 'image');
        const exit = await second.keeper.exited;
        expect(exit).toMatchObject({ pid: first.started.pid, code: 7, signal: null });
        const lines = [...first.output.lines(), ...second.output.lines()];
        // A terminal carries standard error too: every tenth line is there twice by itself.
        const once = pty === null ? lines : lines.filter((line, at) => line !== lines[at - 1]);
        expect(once).toEqual(wholeCount(LINES));
      },
    );

    test('a file gets every line once, and so does standard error', async () => {
      const file = `${bench.dir}/lines.txt`;
      const first = await run(['--append', file]);
      await first.output.waitForLines(20);
      const dump = await dumpAndEnd(bench, first, 'image');
      bench.openGate();
      expect(dump.image.openFiles).toMatchObject([{ path: file, append: true }]);
      const second = await restoreFrom(bench, 'image');
      await second.keeper.exited;
      const all = wholeCount(LINES).slice(0, -1);
      expect(bench.read('lines.txt').split('\n').filter(Boolean)).toEqual(all);
      const errors = (first.output.err + second.output.err).split('\n').filter(Boolean);
      expect(errors).toEqual(all.filter((_, step) => step % 10 === 0));
    });

    test('a program that goes on loses nothing, and its image starts at the cut', async () => {
      const first = await run();
      await first.output.waitForLines(20);
      const dump = await dumpCpu(dumpRequest(first, true), bench.folder('image'), dumpLimits);
      const { stdoutBytes } = await first.keeper.flush(DEADLINE_MS);
      const stoppedMs = await thawTree(first.cgroup, dump, DEADLINE_MS);
      bench.openGate();
      expect(stoppedMs).toBeGreaterThan(dump.criuMs);
      expect(await first.keeper.exited).toMatchObject({ code: 7 });
      expect(first.output.lines()).toEqual(wholeCount(LINES));

      const second = await restoreFrom(bench, 'image');
      expect(await second.keeper.exited).toMatchObject({ code: 7 });
      const whole = `${wholeCount(LINES).join('\n')}\n`;
      expect(second.output.out).toBe(whole.slice(Number(stdoutBytes)));
      expect(second.output.lines().length).toBeGreaterThanOrEqual(LINES / 2);
    });

    test('a program that was to end, but whose image could not be committed, goes on', async () => {
      const first = await run(['--children', '1']);
      await first.output.waitForLines(20);
      const dump = await dumpCpu(dumpRequest(first), bench.folder('image'), dumpLimits);
      await thawTree(first.cgroup, dump, DEADLINE_MS);
      bench.openGate();
      expect(await first.keeper.exited).toMatchObject({ code: 7 });
      expect(first.output.lines()).toEqual(wholeCount(LINES));
    });

    test.skipIf(!mayDumpOthers())(
      'a program of another user (skipped without CAP_SYS_RESOURCE)',
      async () => {
        chmodSync(bench.dir, 0o755);
        const user = { uid: 65_534, gid: 65_534, groups: [65_534] };
        const first = await run([], user);
        await first.output.waitForLines(20);
        await dumpAndEnd(bench, first, 'image');
        const second = await restoreFrom(bench, 'image', { job: user });
        const status = readFileSync(`/proc/${second.started.pid}/status`, 'utf8');
        expect(status).toMatch(/^Uid:\s+65534\s+65534/m);
        bench.openGate();
        expect(await second.keeper.exited).toMatchObject({ code: 7 });
        expect([...first.output.lines(), ...second.output.lines()]).toEqual(wholeCount(LINES));
      },
    );

    test('threads come back', async () => {
      const first = await run(['--threads', '8']);
      await first.output.waitForLines(20);
      await dumpAndEnd(bench, first, 'image');
      const second = await restoreFrom(bench, 'image');
      const status = readFileSync(`/proc/${second.started.pid}/status`, 'utf8');
      expect(status).toMatch(/^Threads:\s+9$/m);
      bench.openGate();
      expect(await second.keeper.exited).toMatchObject({ code: 7 });
      expect([...first.output.lines(), ...second.output.lines()]).toEqual(wholeCount(LINES));
    });

    test('a program that phos did not start is dumped, and comes back under a keeper', async () => {
      const file = join(bench.dir, 'lines.txt');
      const output = openSync(join(bench.dir, 'out.txt'), 'w');
      const child = spawn(
        counter,
        [String(LINES), STEP_US, '--gate', bench.gate, '--append', file],
        { stdio: ['ignore', output, output] },
      );
      closeSync(output);
      const ended = new Promise((resolve) => child.once('exit', (_, signal) => resolve(signal)));
      await waitUntil(
        () => existsSync(file) && bench.read('lines.txt').split('\n').length > 20,
        DEADLINE_MS,
        'no lines',
      );
      const cgroup = new JobCgroup(bench.job().cgroup ?? '');
      const request = {
        rootPid: child.pid ?? 0,
        cgroup,
        keeper: null,
        closing: [],
        leaveRunning: false,
        closeTcp: false,
      };
      const dump = await dumpCpu(request, bench.folder('image'), dumpLimits);
      expect(dump.image.shellJob).toBe(true);
      expect(dump.image.ends).toEqual([]);
      await endTree(cgroup, dump.tree, DEADLINE_MS);
      expect(await ended).toBe('SIGKILL');
      bench.openGate();
      const second = await restoreFrom(bench, 'image');
      expect(await second.keeper.exited).toMatchObject({ code: 7 });
      const all = wholeCount(LINES).slice(0, -1);
      expect(bench.read('lines.txt').split('\n').filter(Boolean)).toEqual(all);
    });

    test('a tree left frozen by a phosd that died is found and goes on', async () => {
      const first = await run();
      await first.output.waitForLines(20);
      expect(await thawAbandoned(first.cgroup, DEADLINE_MS)).toBe(false);
      await dumpCpu(dumpRequest(first), bench.folder('image'), dumpLimits);
      expect(await thawAbandoned(new JobCgroup(first.cgroup.path), DEADLINE_MS)).toBe(true);
      bench.openGate();
      expect(await first.keeper.exited).toMatchObject({ code: 7 });
      expect(first.output.lines()).toEqual(wholeCount(LINES));
    });

    test('one image is restored twice', async () => {
      const first = await run();
      await first.output.waitForLines(20);
      await dumpAndEnd(bench, first, 'image');
      bench.openGate();
      const second = await restoreFrom(bench, 'image');
      await second.keeper.exited;
      const third = await restoreFrom(bench, 'image');
      await third.keeper.exited;
      expect(third.output.out).toBe(second.output.out);
      expect(first.output.out + third.output.out).toBe(`${wholeCount(LINES).join('\n')}\n`);
    });

    test('a restored program is dumped and restored again', async () => {
      const parts: string[] = [];
      let now = await run();
      await now.output.waitForLines(10);
      for (const name of ['one', 'two', 'three']) {
        await dumpAndEnd(bench, now, name);
        parts.push(now.output.out);
        now = await restoreFrom(bench, name);
      }
      bench.openGate();
      await now.keeper.exited;
      expect(parts.join('') + now.output.out).toBe(`${wholeCount(LINES).join('\n')}\n`);
    });

    test('input not read yet is read after the restore, once, and so is its end', async () => {
      const first = await run(['--stdin']);
      const sent = Array.from({ length: 100 }, (_, n) => `word ${n}`);
      await first.keeper.writeInput(
        Buffer.from(`${sent.join('\n')}\n${'x'.repeat(60)}\n`.repeat(1)),
      );
      first.keeper.endInput();
      await first.output.waitForLines(5);
      await dumpAndEnd(bench, first, 'image');
      bench.openGate();
      const second = await restoreFrom(bench, 'image');
      expect(await second.keeper.exited).toMatchObject({ code: 7 });
      const got = [...first.output.lines(), ...second.output.lines()];
      expect(got).toEqual([...sent.map((word) => `got ${word}`), `got ${'x'.repeat(60)}`, 'done']);
    });

    test('what was typed ahead on a terminal is read after the restore, once', async () => {
      const pty = { rows: 24, columns: 80 };
      const first = await run(['--stdin'], { pty });
      const words = Array.from({ length: 60 }, (_, n) => `word ${n}`);
      const last = Array.from({ length: 20 }, (_, n) => `last ${n}`);
      await first.keeper.writeInput(
        Buffer.from([...words, ...last].map((word) => `${word}\r`).join('')),
      );
      await first.output.waitForLines(90);
      await dumpAndEnd(bench, first, 'image');
      const second = await restoreFrom(bench, 'image');
      bench.openGate();
      await second.keeper.writeInput(Buffer.from('the end\r'));
      await second.keeper.writeInput(Buffer.from([4]));
      expect(await second.keeper.exited).toMatchObject({ code: 7 });
      const got = [...first.output.lines(), ...second.output.lines()];
      const answers = got.filter((line, at) => line.startsWith('got ') && line !== got[at - 1]);
      expect(answers).toEqual([...words, ...last, 'the end'].map((word) => `got ${word}`));
    });

    test('what a full pipe holds at the dump is delivered once', async () => {
      const slow = new Collector();
      let release: () => void = () => {};
      const held = new Promise<void>((resolve) => {
        release = resolve;
      });
      const first = await bench.run([counter, '3000', '0', '--burst', '400']);
      await first.keeper.detach(DEADLINE_MS);
      await first.keeper.attach(
        { stdout: (bytes) => held.then(() => slow.stdout(bytes)), stderr: () => held },
        null,
        DEADLINE_MS,
      );
      // The program stands still when socket, keeper and pipe are full.
      await waitForSteady(first.started.pid);
      const exited = dumpAndEnd(bench, first, 'image');
      await new Promise((resolve) => setTimeout(resolve, 500));
      release();
      await exited;
      const second = await restoreFrom(bench, 'image');
      await second.keeper.exited;
      // There is a log only if something came while nobody was attached.
      const log = `${first.job.id}.out`.split('/').pop() ?? '';
      const logged = existsSync(join(bench.dir, log)) ? bench.read(log) : '';
      const lines = (first.output.out + logged + slow.out + second.output.out).split('\n');
      const steps = lines.filter(Boolean).map((line) => line.replace(/\.+$/, ''));
      expect(new Set(steps).size).toBe(steps.length);
      expect(steps.length).toBe(3001);
    });

    test('nothing of the job is left when it is over', async () => {
      const first = await run(['--children', '1']);
      await first.output.waitForLines(5);
      await dumpAndEnd(bench, first, 'image');
      bench.openGate();
      const second = await restoreFrom(bench, 'image');
      await second.keeper.exited;
      await second.keeper.closed;
      expect(second.cgroup.members()).toEqual([]);
      expect(isAlive(second.started)).toBe(false);
    });
  },
);

/** Waits until a process makes no progress: it sleeps with its output full. */
async function waitForSteady(pid: number): Promise<void> {
  let before = '';
  for (let same = 0; same < 5; ) {
    await new Promise((resolve) => setTimeout(resolve, 20));
    const now = JSON.stringify(readProcess(pid)?.state);
    same = now === before && now === '"S"' ? same + 1 : 0;
    before = now;
  }
}
