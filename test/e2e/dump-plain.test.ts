// SPDX-License-Identifier: Apache-2.0
// Programs under phos that never touch the device, through the command line: they are dumped and
// restored as any other, keep their input and output, and do not notice when phosd dies.
import { existsSync, readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { waitUntil } from '../../src/host/wait.ts';
import { whyNoCheckpoint } from '../support/checkpointing.ts';
import { compileSubject } from '../support/counter.ts';
import { wholeCount } from '../support/cpu-round.ts';
import { GpuBench, STEP_MS } from '../support/gpu-job.ts';
import { isGone } from '../support/is-gone.ts';

const missing = await whyNoCheckpoint();
const LINES = 100;

describe.skipIf(missing !== null)(
  `plain programs${missing ? ` (skipped: ${missing})` : ''}`,
  () => {
    let bench: GpuBench;
    let image: string;
    let gate: { readonly path: string; readonly open: () => void };
    let counter: string[];
    beforeEach(async () => {
      bench = await GpuBench.open();
      image = bench.path('image');
      gate = bench.gate();
      const program = compileSubject('counter', bench.phos.folder);
      counter = [program, String(LINES), '2000', '--gate', gate.path];
    });
    afterEach(() => bench.close());

    test('dump and restore keep every line, and the exit code', async () => {
      const first = await bench.run([...counter, '--children', '2', '--threads', '3']);
      await first.said('stdout', 20);
      await bench.dump(first.pid, image);
      expect((await first.ended).code).toBe(137);
      gate.open();
      const second = await bench.restore(image);
      expect((await second.ended).code).toBe(7);
      expect([...first.stdoutLines(), ...second.stdoutLines()]).toEqual(wholeCount(LINES));
    });

    test('in the background, output goes to the log, before and after', async () => {
      const { pid, logOut, jobId } = JSON.parse(
        await bench.phos.must(['run', '--detach', '--json', '--', ...counter]),
      ) as { pid: number; logOut: string; jobId: string };
      const lines = (path: string) =>
        existsSync(path) ? readFileSync(path, 'utf8').split('\n').filter(Boolean) : [];
      await waitUntil(() => lines(logOut).length >= 20, STEP_MS, 'no 20 lines');
      await bench.phos.must(['dump', jobId, '--dir', image]);
      const before = lines(logOut);
      gate.open();
      const restored = await bench.phos.must(['restore', '--detach', '--json', image]);
      const { rootPid, runJobId } = JSON.parse(restored) as { rootPid: number; runJobId: string };
      expect(rootPid).toBe(pid);
      const second = logOut.replace(jobId, runJobId);
      await waitUntil(() => lines(second).at(-1) === 'done', STEP_MS, 'it did not end');
      expect([...before, ...lines(second)]).toEqual(wholeCount(LINES));
    });

    test('a phosd that is killed and started again finds the program, and dumps it', async () => {
      const first = await bench.run(counter);
      await first.said('stdout', 10);
      const { pid } = JSON.parse(await bench.phos.must(['status', '--json'])) as { pid: number };
      process.kill(pid, 'SIGKILL');
      await waitUntil(() => isGone(pid), STEP_MS, 'phosd did not die');
      await bench.startPhosd();
      const runs = (await bench.list()).runs.map((run) => [run.jobId, run.pid]);
      expect(runs).toEqual([[first.jobId, first.pid]]);
      await bench.dump(first.pid, image);
      expect((await first.ended).code).toBe(137);
      gate.open();
      const second = await bench.restore(image);
      expect((await second.ended).code).toBe(7);
      expect([...first.stdoutLines(), ...second.stdoutLines()]).toEqual(wholeCount(LINES));
    });
  },
);
