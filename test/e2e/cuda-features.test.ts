// SPDX-License-Identifier: Apache-2.0
// Many small programs over the CUDA runtime, one test of theirs for each feature, judged by
// themselves: on the simulated device and under phos.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  buildDir,
  directEnv,
  type Ended,
  PrivatePhos,
  start,
} from '../../scripts/lib/private-phos.ts';

const RUN_MS = 100_000;
const folder = join(buildDir, 'test/subjects/cuda');
const programOf = (name: string): string => join(folder, name);

/** Programs whose tests leave nothing behind, so that one process runs them all. */
const programs = ['copies', 'graphs', 'launches', 'pools', 'streams', 'textures', 'vmm'];

/** What the simulated device does not do yet, by test. */
const notOnSim = new Set(['device_clocks_go_on']);
/** What phos answers 801 to, by test. */
const notUnderPhos = new Set([
  ...notOnSim,
  'graph_clone_and_child',
  'graph_exec_parameters_change',
  'graph_memory_nodes_explicit',
  'graph_node_disabled',
  'graph_nodes_of_a_capture',
  'graph_of_kernel_copy_and_fill_nodes',
  'graph_topology_queries',
]);

const built = existsSync(programOf('streams'));
if (!built) {
  process.stderr.write(
    'SKIPPED: no nvcc here, so the programs of test/subjects/cuda are not run\n',
  );
}

async function testsOf(program: string): Promise<string[]> {
  const options = { timeoutMs: RUN_MS, env: directEnv };
  const { stdout } = await start([programOf(program), 'list'], options).ended;
  return stdout.trim().split('\n');
}

/** Every test named passed; else what the program said is part of the failure. */
function expectPassed({ stdout, stderr }: Ended, names: readonly string[]): void {
  const verdicts = stdout.split('\n').filter((line) => /^(ok|FAIL) /.test(line));
  const failed =
    verdicts.length !== names.length || verdicts.some((line) => !line.startsWith('ok'));
  expect([verdicts, failed ? stderr : '']).toEqual([names.map((name) => `ok ${name}`), '']);
}

describe.runIf(built)('programs of CUDA features', () => {
  let phos: PrivatePhos;

  beforeAll(async () => {
    phos = new PrivatePhos();
    await phos.must(['start']);
  });

  afterAll(async () => {
    await phos.close();
  });

  test.each(programs)('%s on sim', async (program) => {
    const names = (await testsOf(program)).filter((name) => !notOnSim.has(name));
    const command = [programOf(program), ...names];
    expectPassed(await start(command, { timeoutMs: RUN_MS, env: directEnv }).ended, names);
  });

  test.each(programs)('%s under phos', async (program) => {
    const names = (await testsOf(program)).filter((name) => !notUnderPhos.has(name));
    const command = ['run', '--', programOf(program), ...names];
    expectPassed(await phos.command(command, { timeoutMs: RUN_MS }).ended, names);
  });

  test('errors that end a context, each in a process of its own', async () => {
    const names = await testsOf('errors');
    expect(names.length).toBeGreaterThan(4);
    await Promise.all(
      names.map(async (name) => {
        const options = { timeoutMs: RUN_MS, env: directEnv };
        const ended = await start([programOf('errors'), name], options).ended;
        expectPassed(ended, [name]);
        if (name !== 'device_printf') return;
        expect(ended.stdout).toContain('from thread 1: 5 text 1.50\n');
      }),
    );
  });

  test('a managed variable: on sim, and refused by name under phos', async () => {
    const direct = await start([programOf('managed')], { timeoutMs: RUN_MS, env: directEnv }).ended;
    expectPassed(direct, ['managed_variable']);
    const command = ['run', '--', programOf('managed')];
    const { code, stderr } = await phos.command(command, { timeoutMs: RUN_MS }).ended;
    expect(stderr).toContain('managed_word');
    expect(code).not.toBe(0);
  });
});
