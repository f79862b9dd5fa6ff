// SPDX-License-Identifier: Apache-2.0
// The stages of .ci/run, one after another. Every stage runs, even when an earlier one failed, so
// that one run shows everything; only the set-up is needed by all. Each has a deadline.

import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { root } from './setup/step.mjs';

const reports = join(root, 'build/ci');
const task = (...args) => [process.execPath, join(root, 'scripts/task.mjs'), ...args];

const stages = [
  { name: 'check', command: task('check'), minutes: 4 },
  { name: 'test', command: task('test'), minutes: 16 },
  { name: 'sanitize', command: task('test:sanitize'), minutes: 25 },
  { name: 'demo', command: task('demo'), minutes: 5 },
  { name: 'bench', command: task('bench', 'remoting', '--json', '--smoke'), minutes: 5 },
];

const total = { passed: 0, failed: 0 };
rmSync(reports, { recursive: true, force: true });
mkdirSync(reports, { recursive: true });

if ((await runStage({ name: 'setup', command: task('setup'), minutes: 15 })) === 0) {
  for (const stage of stages) count(stage.name, await runStage(stage));
} else {
  total.failed += 1;
}
process.stdout.write(`${total.passed} passed, ${total.failed} failed\n`);
process.exit(total.failed === 0 ? 0 : 1);

/** @returns {Promise<number>} exit code; 124 when the deadline ended it */
function runStage({ name, command, minutes }) {
  const start = Date.now();
  process.stderr.write(`\nci: ${name} ...\n`);
  return new Promise((resolve, reject) => {
    const [program, ...args] = command;
    const child = spawn(program, args, {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
      env: { ...process.env, PHOS_TEST_REPORTS: join(reports, name) },
      detached: true,
    });
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    }, minutes * 60_000);
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(timer);
      const seconds = ((Date.now() - start) / 1000).toFixed(0);
      const verdict = late ? `no end within ${minutes} minutes` : `exit code ${code}`;
      process.stderr.write(`ci: ${name}: ${verdict}, ${seconds} s\n`);
      resolve(late ? 124 : (code ?? 1));
    });
  });
}

/** Adds a stage's tests to the sum; a stage without a report counts as one. */
function count(name, code) {
  const found = [vitestCounts(join(reports, name, 'vitest.json'))];
  found.push(junitCounts(join(reports, name, 'ctest.xml')));
  const passed = found.reduce((sum, counts) => sum + counts.passed, 0);
  const failed = found.reduce((sum, counts) => sum + counts.failed, 0);
  total.passed += passed;
  total.failed += failed;
  if (code === 0 && passed + failed === 0) total.passed += 1;
  // A stage that fails without a failed test (a crash, a deadline, a leak) is a failure too.
  if (code !== 0 && failed === 0) total.failed += 1;
}

function vitestCounts(path) {
  if (!existsSync(path)) return { passed: 0, failed: 0 };
  const report = JSON.parse(readFileSync(path, 'utf8'));
  return { passed: report.numPassedTests, failed: report.numFailedTests };
}

function junitCounts(path) {
  if (!existsSync(path)) return { passed: 0, failed: 0 };
  const head = readFileSync(path, 'utf8').slice(0, 2000);
  const number = (name) => Number(new RegExp(`\\b${name}="(\\d+)"`).exec(head)?.[1] ?? 0);
  const failed = number('failures');
  return { passed: number('tests') - failed - number('skipped') - number('disabled'), failed };
}
