// SPDX-License-Identifier: Apache-2.0
// A CPU-only program is dumped with CRIU, ended, and brought back under a new keeper. Its lines are
// counted through pipes, a terminal and a file: none may be lost and none may come twice.
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { dumpCpu, thawTree } from '../../src/host/cpu-checkpoint.ts';
import { isAlive, readProcess } from '../../src/host/proc.ts';
import { Bench, Collector, compileSubject, DEADLINE_MS } from '../support/counter.ts';
import { whyNoCheckpoint } from '../support/checkpointing.ts';
import {
  dumpAndEnd,
  dumpAndThaw,
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
        const first = await bench.run(
          [counter, String(LINES), STEP_US, '--children', '2', '--memfd'],
          { pty },
        );
        await first.output.waitForLines(20);
        const dump = await dumpAndEnd(bench, first, 'image');
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
      const first = await bench.run([counter, String(LINES), STEP_US, '--append', file]);
      await first.output.waitForLines(20);
      const dump = await dumpAndEnd(bench, first, 'image');
      expect(dump.image.openFiles).toMatchObject([{ path: file, append: true }]);
      const second = await restoreFrom(bench, 'image');
      await second.keeper.exited;
      const all = wholeCount(LINES).slice(0, -1);
      expect(bench.read('lines.txt').split('\n').filter(Boolean)).toEqual(all);
      const errors = (first.output.err + second.output.err).split('\n').filter(Boolean);
      expect(errors).toEqual(all.filter((_, step) => step % 10 === 0));
    });

    test('a program that goes on loses nothing, and its image starts at the cut', async () => {
      const first = await bench.run([counter, String(LINES), STEP_US]);
      await first.output.waitForLines(20);
      const { dump, stoppedMs } = await dumpAndThaw(bench, first, 'image');
      expect(stoppedMs).toBeGreaterThan(dump.criuMs);
      const atCut = first.output.lines().length;
      expect(await first.keeper.exited).toMatchObject({ code: 7 });
      expect(first.output.lines()).toEqual(wholeCount(LINES));

      const second = await restoreFrom(bench, 'image');
      expect(await second.keeper.exited).toMatchObject({ code: 7 });
      const again = second.output.lines();
      const whole = wholeCount(LINES);
      expect(again).toEqual(whole.slice(whole.length - again.length));
      // What the keeper had taken by the cut may still have been under way to this test.
      expect(again.length).toBeLessThanOrEqual(LINES + 1 - atCut);
      expect(again.length).toBeGreaterThan(1);
    });

    test('a program that was to end, but whose image could not be committed, goes on', async () => {
      const first = await bench.run([counter, String(LINES), STEP_US, '--children', '1']);
      await first.output.waitForLines(20);
      const dump = await dumpCpu(dumpRequest(first), bench.folder('image'), dumpLimits);
      await thawTree(first.cgroup, dump, DEADLINE_MS);
      expect(await first.keeper.exited).toMatchObject({ code: 7 });
      expect(first.output.lines()).toEqual(wholeCount(LINES));
    });

    test('one image is restored twice', async () => {
      const first = await bench.run([counter, String(LINES), STEP_US]);
      await first.output.waitForLines(20);
      await dumpAndEnd(bench, first, 'image');
      const second = await restoreFrom(bench, 'image');
      await second.keeper.exited;
      const third = await restoreFrom(bench, 'image');
      await third.keeper.exited;
      expect(third.output.out).toBe(second.output.out);
      expect(first.output.out + third.output.out).toBe(`${wholeCount(LINES).join('\n')}\n`);
    });

    test('a restored program is dumped and restored again', async () => {
      const parts: string[] = [];
      let now = await bench.run([counter, String(LINES), STEP_US]);
      for (const name of ['one', 'two', 'three']) {
        await now.output.waitForLines(10);
        await dumpAndEnd(bench, now, name);
        parts.push(now.output.out);
        now = await restoreFrom(bench, name);
      }
      await now.keeper.exited;
      expect(parts.join('') + now.output.out).toBe(`${wholeCount(LINES).join('\n')}\n`);
    });

    test('input not read yet is read after the restore, once, and so is its end', async () => {
      const first = await bench.run([counter, '1000', STEP_US, '--stdin']);
      const sent = Array.from({ length: 100 }, (_, n) => `word ${n}`);
      await first.keeper.writeInput(
        Buffer.from(`${sent.join('\n')}\n${'x'.repeat(60)}\n`.repeat(1)),
      );
      first.keeper.endInput();
      await first.output.waitForLines(5);
      await dumpAndEnd(bench, first, 'image');
      const second = await restoreFrom(bench, 'image');
      expect(await second.keeper.exited).toMatchObject({ code: 7 });
      const got = [...first.output.lines(), ...second.output.lines()];
      expect(got).toEqual([...sent.map((word) => `got ${word}`), `got ${'x'.repeat(60)}`, 'done']);
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
      const logged = bench.read(`${first.job.id}.out`.split('/').pop() ?? '');
      const lines = (first.output.out + logged + slow.out + second.output.out).split('\n');
      const steps = lines.filter(Boolean).map((line) => line.replace(/\.+$/, ''));
      expect(new Set(steps).size).toBe(steps.length);
      expect(steps.length).toBe(3001);
    });

    test('nothing of the job is left when it is over', async () => {
      const first = await bench.run([counter, String(LINES), STEP_US, '--children', '1']);
      await first.output.waitForLines(5);
      await dumpAndEnd(bench, first, 'image');
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
