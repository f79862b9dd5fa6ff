// SPDX-License-Identifier: Apache-2.0
// The programs over the driver API and the CUDA runtime that the tests run on sim, here on the
// device: what they print must be the same with and without phos.

import { existsSync } from 'node:fs';
import { mustEnd, sameOutput, Skip } from '../lib/cases.mjs';
import { resultOf } from '../lib/compare.mjs';
import { built, runUnder, source } from '../lib/place.mjs';

const steps = built('examples/steps');
const ptx = `${steps}/steps.ptx`;

function program(name, path, args = [], { optional = false } = {}) {
  const test = sameOutput({ name, command: [path, ...args], deadlineMs: 60_000 });
  return {
    ...test,
    run: (context) => {
      if (optional && !existsSync(path)) throw new Skip(`${path} was not built`);
      return test.run(context);
    },
  };
}

const randomProgram = (seed, ...more) =>
  program(
    `random program, seed ${seed}${more.length > 0 ? ', modules come and go' : ''}`, //
    built('test/subjects/random_program'),
    [ptx, `${seed}`, '2000', '0', ...more],
  );

/** The program asks the device something, then looks through its own descriptors and maps. */
const noDeviceFile = {
  name: 'no device file, no real driver in the program',
  deadlineMs: 30_000,
  run: async ({ phos, deadlineMs }) => {
    const command = ['python3', source('test/gpu/descriptors.py')];
    const run = mustEnd(await runUnder(phos, command, { deadlineMs }), 'under phos');
    return { found: resultOf(run.stdout) };
  },
};

export const subjects = {
  parallel: 6,
  budgetMs: 60_000,
  cases: () => [
    program('steps, driver API', `${steps}/steps`, ['--steps', '50', '--mib', '16']),
    program(
      'steps, runtime linked in',
      `${steps}/steps_runtime_static`,
      ['--steps', '50', '--mib', '16'],
      { optional: true },
    ),
    program(
      'steps, runtime shared',
      `${steps}/steps_runtime_shared`,
      ['--steps', '50', '--mib', '16'],
      { optional: true },
    ),
    randomProgram(1),
    randomProgram(2),
    randomProgram(3, '/dev/null', 'reload'),
    program('runtime calls, linked in', built('test/subjects/runtime_calls_static'), [], {
      optional: true,
    }),
    program('management library', built('test/subjects/management'), ['--summary'], {
      optional: true,
    }),
    ...[1, 2].map((client) =>
      program(`two clients at once, ${client}`, `${steps}/steps`, ['--steps', '80', '--mib', '64']),
    ),
    noDeviceFile,
  ],
};
