// SPDX-License-Identifier: Apache-2.0
// What every command promises to programs: --json gives one JSON object on standard output, for a
// failure too, and the exit code says what kind of failure it was.
import type { Command as Verb } from 'commander';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { makeProgram } from '../../src/cli/program.ts';
import { ERRORS } from '../../src/gen/error-codes.ts';
import { built, Command, TestPhos, until } from '../support/control.ts';

/** Every command that does something, by its words: "image verify". */
function verbs(command: Verb, words: readonly string[] = []): Map<string, Verb> {
  const found = new Map<string, Verb>();
  for (const child of command.commands) {
    const path = [...words, child.name()];
    if (child.commands.length === 0) found.set(path.join(' '), child);
    else for (const [name, verb] of verbs(child, path)) found.set(name, verb);
  }
  return found;
}

interface Answer {
  readonly error?: { readonly code: string; readonly message: string };
}

const isJson = (option: { readonly long?: string | undefined }) => option.long === '--json';

/** What a command needs: a pid for a target, a number where one is asked, else a path. */
function argumentsOf(verb: Verb | undefined, path: string): string[] {
  const given = verb?.registeredArguments.filter((one) => one.required) ?? [];
  const must = verb?.options.filter((one) => one.mandatory) ?? [];
  return [
    ...given.map((one) => (one.name() === 'target' ? '1' : path)),
    ...must.flatMap((one) => [one.long ?? '', one.flags.endsWith('<n>') ? '1' : path]),
  ];
}

describe('the command line', () => {
  const all = verbs(makeProgram());
  const phos = new TestPhos();
  const nowhere = join(phos.folder, 'nowhere');
  afterAll(() => phos.close());

  it('takes --json everywhere', () => {
    const without = [...all].filter(([, verb]) => !verb.options.some(isJson)).map(([name]) => name);
    expect(all.size).toBeGreaterThan(10);
    expect(without).toEqual([]);
  });

  it.each([...all.keys()].filter((name) => !['start', 'doctor', 'run'].includes(name)))(
    '%s without phosd gives one JSON object, and its exit code fits',
    async (name) => {
      const verb = all.get(name);
      const ended = await phos.run(...name.split(' '), '--json', ...argumentsOf(verb, nowhere));
      const { error } = JSON.parse(ended.stdout) as Answer;
      // A command that needs no phosd and finds nothing to do has succeeded.
      const code = name.startsWith('image ') ? 'NOT_FOUND' : 'UNAVAILABLE';
      const failed = [code, ERRORS[code].exitCode];
      const outcome = error === undefined ? ['done', ended.code] : [error.code, ended.code];
      expect([failed, ['done', 0]]).toContainEqual(outcome);
      // It says the cure: what to start, or where to look.
      const cure = code === 'UNAVAILABLE' ? 'phos start' : 'check the path';
      expect(error?.message ?? cure).toContain(cure);
    },
  );

  it('run without phosd ends with 125 and says why', async () => {
    const ended = await phos.run('run', '--json', '--', 'true');
    const { error } = JSON.parse(ended.stdout) as Answer;
    expect([error?.code, ended.code]).toEqual(['UNAVAILABLE', 125]);
    // What follows -- is the program's.
    const own = await phos.run('run', '--', 'true', '--json');
    expect([own.code, own.stdout]).toEqual([125, '']);
    expect(own.stderr).toContain('phos start');
  });

  it.each([
    [['frobnicate']],
    [['dump', '1']],
    [['dump', 'x', '--dir', '/tmp/x']],
    [['dump', '1', '--dir', '/tmp/x', '--drain', 'soon']],
    [['restore']],
    [['ps', 'too', 'many']],
    [['status', '--no-such-option']],
  ])('calls %j a usage error', async (args) => {
    const ended = await phos.run(...args, '--json');
    const { error } = JSON.parse(ended.stdout) as { error: { code: string } };
    expect([error.code, ended.code]).toEqual(['USAGE', 2]);
  });

  it('tells people on stderr, with the usage', async () => {
    const ended = await phos.run('dump', '1');
    expect([ended.code, ended.stdout]).toEqual([2, '']);
    expect(ended.stderr).toContain('--dir');
    expect(ended.stderr).toContain('(see phos dump --help)');
  });

  it('shows help and its version, and that is no failure', async () => {
    for (const args of [['dump', '--help'], ['--version'], ['help']]) {
      const ended = await phos.run(...args);
      expect([args, ended.code, ended.stderr]).toEqual([args, 0, '']);
      expect(ended.stdout).not.toBe('');
    }
  });

  it('tells why a device cannot be used: doctor, and the program that wants it', async () => {
    const own = new TestPhos();
    const missing = '/nonexistent/libcuda.so.1';
    const command = (...args: string[]) =>
      new Command(args, { ...own.env, PHOS_CUDA_LIBRARY: missing }).ended;
    try {
      expect((await command('start', '--driver', 'cuda')).code).toBe(0);
      await until('a device that is given up', async () => {
        const { devices } = await own.json<{ devices: { state: string }[] }>('status');
        return devices[0]?.state === 'failed';
      });
      const doctor = await command('doctor');
      expect(doctor.code).toBe(9);
      expect(doctor.stdout).toMatch(new RegExp(`device 0 +fail .*${missing}.*To mend it`));
      const program = built('test/subjects/memory_steps');
      const ended = await command('run', '--', program, '1', '1000', join(own.folder, 'stop'));
      expect(ended.code).not.toBe(0);
      expect(ended.stderr).toContain(`cannot load the CUDA driver ${missing}`);
    } finally {
      await own.close();
    }
  });

  it('doctor says what is missing, each with its fix', async () => {
    const doctor = await phos.json<{
      ok: boolean;
      findings: { name: string; verdict: string; fix: string | null }[];
    }>('doctor');
    expect(doctor.ok).toBe(true);
    const phosd = doctor.findings.find((one) => one.name === 'phosd');
    expect(phosd).toMatchObject({ verdict: 'warn', fix: 'run phos start' });
    for (const { verdict, fix } of doctor.findings) expect(verdict === 'ok').toBe(fix === null);
  });
});
