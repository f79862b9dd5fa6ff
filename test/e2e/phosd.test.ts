// SPDX-License-Identifier: Apache-2.0
// phosd from start to stop, and programs under it, as the command line shows them.
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isRunning, TestPhos, until } from '../support/control.ts';

describe('phosd', () => {
  it('starts, tells how it is, refuses a second one, and stops without a trace', async () => {
    const phos = new TestPhos();
    try {
      expect(await phos.failure('status')).toMatchObject({ exit: 9, code: 'UNAVAILABLE' });
      const started = await phos.json<{ pid: number; alreadyRunning: boolean }>('start');
      expect(started.alreadyRunning).toBe(false);
      const again = await phos.json<{ pid: number; alreadyRunning: boolean }>('start');
      expect(again).toMatchObject({ pid: started.pid, alreadyRunning: true });
      await until('a warm executor', async () => {
        const { devices } = await phos.json<{ devices: { warmExecutors: number }[] }>('status');
        return devices[0]?.warmExecutors === 1;
      });
      const [executor] = registryOf(phos).executors;
      expect(isRunning(executor?.process.pid ?? 0)).toBe(true);
      expect((await phos.run('stop')).code).toBe(0);
      expect(isRunning(started.pid)).toBe(false);
      expect(isRunning(executor?.process.pid ?? 0)).toBe(false);
      expect(existsSync(join(phos.runtimeDir, 'phosd.pid'))).toBe(false);
    } finally {
      await phos.close();
    }
  });

  it('is not stopped by what a killed one left behind', async () => {
    const phos = new TestPhos();
    try {
      mkdirSync(phos.runtimeDir, { mode: 0o700 });
      writeFileSync(join(phos.runtimeDir, 'phosd.pid'), `${process.pid} 1\n`);
      writeFileSync(join(phos.runtimeDir, 'registry.json'), '{"schema":');
      expect((await phos.run('start')).code).toBe(0);
      expect(registryOf(phos).schema).toBe('phos-registry');
    } finally {
      await phos.close();
    }
  });

  it('says why it cannot start', async () => {
    const phos = new TestPhos();
    try {
      writeFileSync(phos.runtimeDir, 'in the way');
      expect(await phos.failure('start')).toMatchObject({ exit: 4, code: 'PERMISSION' });
    } finally {
      await phos.close();
    }
  });
});

describe('phos run', () => {
  const phos = new TestPhos();
  beforeAll(async () => {
    await phos.json('start');
  });
  afterAll(() => phos.close());

  it.each([
    ['its exit status', 'echo out; echo err >&2; exit 7', 7],
    ['a signal', 'echo out; echo err >&2; kill -TERM $$', 143],
  ])('ends with %s and passes both streams on', async (_, script, code) => {
    const ended = await phos.run('run', '--', 'sh', '-c', script);
    expect(ended).toEqual({ code, stdout: 'out\n', stderr: 'err\n' });
  });

  it('gives the program its folder, its environment and its input', async () => {
    const command = phos.begin('run', '--', 'sh', '-c', 'pwd; echo $PHOS_E2E; cat');
    const ended = await command.ended;
    expect(ended.code).toBe(0);
    expect(ended.stdout.split('\n')[0]).toBe(process.cwd());
  });

  it('forwards signals', async () => {
    const script = 'trap "echo caught; exit 3" INT; echo ready; while :; do sleep 0.05; done';
    const command = phos.begin('run', '--', 'sh', '-c', script);
    await command.untilLines(1);
    command.child.kill('SIGINT');
    expect(await command.ended).toMatchObject({ code: 3, stdout: 'ready\ncaught\n' });
  });

  it('leaves a detached program to itself and its output to a log', async () => {
    const job = await phos.json<{ jobId: string; pid: number; logOut: string }>(
      'run',
      '--detach',
      '--',
      'sh',
      '-c',
      'echo hello; sleep 0.3; echo bye',
    );
    expect(job.pid).toBeGreaterThan(0);
    await until('the end of the program', async () => (await phos.ps()).runs.length === 0);
    expect(readFileSync(job.logOut, 'utf8')).toBe('hello\nbye\n');
  });

  it('says with 125 that phos itself failed', async () => {
    const missing = await phos.run('run', '--', 'no-such-program');
    expect(missing.code).toBe(125);
    expect(missing.stderr).toContain('no-such-program');
  });

  it('refuses nonsense with 2', async () => {
    expect((await phos.run('run')).code).toBe(2);
    expect((await phos.run('frobnicate')).code).toBe(2);
    expect((await phos.run('dump', 'x', '--dir', '/tmp/x')).code).toBe(2);
  });

  it('is refused by a stop, unless that is forced', async () => {
    const command = phos.begin('run', '--', 'sh', '-c', 'echo ready; sleep 60');
    await command.untilLines(1);
    expect(await phos.failure('stop')).toMatchObject({ exit: 10, code: 'CONFLICT' });
    expect((await phos.run('stop', '--force')).code).toBe(0);
    expect((await command.ended).code).toBe(137);
    await phos.json('start');
  });
});

interface RegistryText {
  readonly schema: string;
  readonly executors: readonly { readonly process: { readonly pid: number } }[];
}
function registryOf(phos: TestPhos): RegistryText {
  return JSON.parse(readFileSync(join(phos.runtimeDir, 'registry.json'), 'utf8')) as RegistryText;
}
