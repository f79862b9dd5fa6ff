// SPDX-License-Identifier: Apache-2.0
// The driver that a program sees. What phos does not implement is said, never pretended: the call
// answers 801, and phosd tells its name once for each program, in its log and in phos ps. And the
// program's environment holds for its driver, although that runs in another process.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Command, TestPhos, until } from '../support/control.ts';
import { compileSubject } from '../support/counter.ts';

const NOT_SUPPORTED = 801;
const coverage = fileURLToPath(new URL('../../docs/api-coverage.md', import.meta.url));

/** The first functions that the generated table of coverage calls unsupported. */
function unsupported(count: number): string[] {
  const rows = readFileSync(coverage, 'utf8').matchAll(/^\| (cu\w+) \| *\| unsupported \|/gm);
  return [...rows].map((row) => row[1] ?? '').slice(0, count);
}

describe('calls without an implementation', () => {
  const phos = new TestPhos();
  beforeAll(async () => {
    await phos.json('start');
  });
  afterAll(() => phos.close());

  it('answer 801, and are named once for each program', async () => {
    const names = unsupported(2);
    expect(names).toHaveLength(2);
    const program = compileSubject('call_by_name', phos.folder);
    for (const round of ['first', 'second']) {
      const stop = join(phos.folder, `stop-${round}`);
      const command = phos.begin('run', '--', program, stop, ...names);
      await command.untilLines(3);
      const answers = names.map((name) => `${name} ${NOT_SUPPORTED} ${NOT_SUPPORTED}`);
      expect(command.lines()).toEqual([...answers, 'ready']);
      await until(`${round} program's calls in phos ps`, async () => {
        const { clients } = await phos.json<{ clients: { unsupportedCalls: string[] }[] }>('ps');
        return clients[0]?.unsupportedCalls.toSorted().join() === names.toSorted().join();
      });
      const said = (await phos.run('ps')).stdout.split('\n');
      const remark = said.find((one) => one.includes('calls that phos does not support'));
      for (const name of names) expect(remark).toContain(name);
      writeFileSync(stop, '');
      expect((await command.ended).code).toBe(0);
    }
    const log = readFileSync(join(phos.folder, 'log', 'phosd.log'), 'utf8').split('\n');
    for (const name of names) {
      const told = log.filter(
        (line) => line.includes('not supported') && line.includes(`"${name}"`),
      );
      expect([name, told.length]).toEqual([name, 2]);
    }
  });
});

describe('the environment of a program', () => {
  const phos = new TestPhos();
  let program = '';
  beforeAll(async () => {
    program = compileSubject('call_by_name', phos.folder);
    await phos.json('start');
  });
  afterAll(() => phos.close());
  const begin = (name: string, env: NodeJS.ProcessEnv) =>
    new Command(['run', '--', program, join(phos.folder, name)], { ...phos.env, ...env });

  it.each(['', '-1', '7', 'nonsense', ' ,0'])(
    'CUDA_VISIBLE_DEVICES=%j leaves no device, and the reason is said',
    async (list) => {
      const ended = await begin('never', { CUDA_VISIBLE_DEVICES: list }).ended;
      expect([ended.code, ended.stdout]).toEqual([1, 'cuInit 100\n']);
      expect(ended.stderr).toContain(`CUDA_VISIBLE_DEVICES='${list}' leaves the program no device`);
    },
  );

  it('is its executor’s, but for what names files and libraries', async () => {
    const command = begin('stop', {
      CUDA_VISIBLE_DEVICES: '0',
      CUDA_MODULE_LOADING: 'EAGER',
      CUDA_INJECTION64_PATH: '/tmp/evil.so',
      CUDA_CACHE_PATH: '/tmp/evil',
    });
    await command.untilLines(1);
    const [client] = (await phos.ps()).clients;
    const environ = readFileSync(`/proc/${client?.executorPid}/environ`, 'utf8').split('\0');
    const own = environ.filter((entry) => entry.startsWith('CUDA_'));
    expect(own).toEqual(['CUDA_MODULE_LOADING=EAGER']);
    writeFileSync(join(phos.folder, 'stop'), '');
    expect((await command.ended).code).toBe(0);
  });
});
