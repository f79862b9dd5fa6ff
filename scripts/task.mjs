// SPDX-License-Identifier: Apache-2.0
// What the npm scripts run: `node scripts/task.mjs NAME [arguments]`. Each task sets itself up
// first. Progress goes to stderr; standard output is the task's own.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { runChecks } from './check.mjs';
import { root, SetupError } from './setup/step.mjs';
import { everything, fail, setup } from './setup.mjs';

const node = process.execPath;
// Where CI wants reports of what passed and failed; nothing is written elsewhere.
const reports = process.env['PHOS_TEST_REPORTS'];
const bin = (name) => join(root, 'node_modules/.bin', name);
const vitest = (...args) => {
  const lines = ['--reporter=default', '--reporter=./scripts/lib/vitest-lines.mjs'];
  const extra = reports === undefined ? [] : lines;
  return [node, join(root, 'node_modules/vitest/vitest.mjs'), ...args, ...extra];
};
const script = (path, ...args) => [node, '--import', 'tsx', path, ...args];
const withTests = [...everything, 'apt:test', 'native:default'];
const tsc = [node, join(root, 'node_modules/typescript/bin/tsc'), '-p', 'tsconfig.json'];

/**
 * needs: what the set-up must bring; commands: run in order, the arguments of the npm script go to
 * the last; all: the later ones run although an earlier one failed, so that one run shows every
 * failure; minutes: the deadline of the whole task.
 */
const tasks = {
  setup: { needs: everything, commands: [], minutes: 1 },
  build: { needs: ['npm', 'apt', 'native', 'dist'], commands: [], minutes: 1 },
  format: { needs: ['npm'], commands: [[bin('biome'), 'format', '--write']], minutes: 2 },
  lint: { needs: ['npm'], commands: [[bin('oxlint'), '--type-aware']], minutes: 5 },
  typecheck: { needs: ['npm'], commands: [tsc], minutes: 5 },
  layers: { needs: ['npm'], commands: [[node, 'scripts/layers.mjs']], minutes: 2 },
  gen: {
    needs: ['npm'],
    commands: [script('autogen/main.ts', 'gen'), [node, 'scripts/proto.mjs']],
    minutes: 5,
  },
  unused: { needs: ['npm'], commands: [[bin('knip')]], minutes: 5 },
  docs: { needs: ['npm'], commands: [[bin('typedoc')]], minutes: 5 },
  test: { needs: withTests, commands: [ctest('build'), vitest('run')], all: true, minutes: 40 },
  'test:unit': {
    needs: ['npm'],
    commands: [vitest('run', '--project', 'unit', '--project', 'tidy')],
    minutes: 10,
  },
  'test:e2e': { needs: withTests, commands: [vitest('run', '--project', 'e2e')], minutes: 20 },
  'test:native': {
    needs: ['npm', 'apt', 'native:default'],
    commands: [ctest('build')],
    minutes: 20,
  },
  'test:gpu': {
    needs: withTests,
    commands: [[node, 'scripts/gpu/test.mjs']],
    minutes: 30,
  },
  'test:sanitize': {
    needs: ['npm', 'apt', 'native:asan'],
    commands: [ctest('build-asan')],
    minutes: 60,
  },
  modelcheck: {
    needs: ['npm'],
    commands: [script('scripts/modelcheck/main.ts')],
    minutes: 60,
  },
  faults: { needs: everything, commands: [script('scripts/faults/main.ts')], minutes: 120 },
  // Builds by itself: with clang where there is one.
  fuzz: { needs: ['npm', 'apt'], commands: [[node, 'scripts/fuzz/main.mjs']], minutes: 60 },
  soak: { needs: everything, commands: [script('scripts/soak/main.ts')], minutes: 90 },
  demo: { needs: everything, commands: [script('scripts/demo/main.ts')], minutes: 10 },
  bench: { needs: everything, commands: [script('bench/main.ts')], minutes: 60 },
};

function ctest(folder) {
  const command = ['ctest', '--test-dir', folder, '--output-on-failure', '--no-tests=error'];
  const report = reports === undefined ? [] : ['--output-junit', `${reports}/ctest.xml`];
  return [...command, '-j', '2', ...report];
}

const [name = '', ...args] = process.argv.slice(2);
try {
  await main();
} catch (error) {
  fail(error);
}

async function main() {
  if (name === 'check') {
    await setup(['npm']);
    process.exit((await runChecks()) ? 0 : 1);
  }
  const task = tasks[name];
  if (task === undefined) {
    throw new SetupError(`no task '${name}'`, `use one of: check ${Object.keys(tasks).join(' ')}`);
  }
  await setup(task.needs);
  const deadline = Date.now() + task.minutes * 60_000;
  let failure = 0;
  for (const [index, command] of task.commands.entries()) {
    const last = index === task.commands.length - 1;
    const code = await run(last ? [...command, ...args] : command, deadline - Date.now());
    if (code !== 0 && (task.all !== true || code >= 124)) process.exit(code);
    failure ||= code;
  }
  process.exit(failure);
}

/**
 * Runs a command on our own terminal, and passes SIGINT and SIGTERM on to it.
 *
 * @returns {Promise<number>} its exit code, 128 + n after a signal, 124 after the deadline
 */
function run([program, ...rest], timeoutMs) {
  if (program.includes('/') && !existsSync(program)) {
    throw new SetupError(`${program} is missing`, 'run `npm ci`');
  }
  return new Promise((resolve, reject) => {
    const child = spawn(program, rest, { cwd: root, stdio: 'inherit' });
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      process.stderr.write(`task ${name}: no end within its deadline, ending it\n`);
      child.kill('SIGTERM');
      setTimeout(() => child.kill('SIGKILL'), 10_000).unref();
    }, timeoutMs);
    const pass = (signal) => child.kill(signal);
    process.on('SIGTERM', pass);
    // The terminal sends SIGINT to the child as well; this only keeps us alive until it ends.
    process.on('SIGINT', () => {});
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      process.removeListener('SIGTERM', pass);
      resolve(late ? 124 : (code ?? 128 + signalNumber(signal)));
    });
  });
}

function signalNumber(signal) {
  return { SIGHUP: 1, SIGINT: 2, SIGQUIT: 3, SIGABRT: 6, SIGKILL: 9, SIGTERM: 15 }[signal] ?? 0;
}
