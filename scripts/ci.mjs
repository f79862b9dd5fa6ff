// SPDX-License-Identifier: Apache-2.0
// The stages of .ci/run, one after another. Every stage runs, even when an earlier one failed, so
// that one run shows everything; only the set-up is needed by all. Each has a deadline, and all of
// them together have one, so that a machine that is too slow still gives an account.
//
// Where only the end of the output is shown, it must be enough to work with: it names what was
// skipped and, just before the last line, every failure with its error.

import { spawn } from 'node:child_process';
import {
  createWriteStream,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
} from 'node:fs';
import { join } from 'node:path';
import { lastLines, readJunit, readVitest, sum } from './lib/test-report.mjs';
import { root } from './setup/step.mjs';

const reports = join(root, 'build/ci');
const task = (...args) => [process.execPath, join(root, 'scripts/task.mjs'), ...args];

const stages = [
  { name: 'check', command: task('check'), minutes: 4 },
  { name: 'test', command: task('test'), minutes: 25 },
  { name: 'sanitize', command: task('test:sanitize'), minutes: 25 },
  { name: 'modelcheck', command: task('modelcheck', '--quick'), minutes: 5 },
  // The other targets need most of the native code built once more, for which there is no time.
  {
    name: 'fuzz',
    command: task('fuzz', '--seconds', '20', 'ring', 'fatbin', 'cubin'),
    minutes: 6,
  },
  { name: 'demo', command: task('demo'), minutes: 5 },
  { name: 'bench', command: task('bench', 'remoting', '--json', '--smoke'), minutes: 5 },
];

const allMinutes = 44;

/** Of each stage's output this much is kept for the summary; all of it is in build/ci. */
const tailChars = 64 * 1024;
const tailLines = 60;
/** Failures whose error is shown; of the rest only the names. */
const shownErrors = 30;

const begun = Date.now();
const total = { passed: 0, failed: 0 };
const skipped = [];
const failures = [];
rmSync(reports, { recursive: true, force: true });
mkdirSync(reports, { recursive: true });

if (account('setup', await runStage({ name: 'setup', command: task('setup'), minutes: 15 }))) {
  for (const stage of stages) account(stage.name, await runStage(stage));
}
process.stdout.write(summary());
process.stdout.write(`${total.passed} passed, ${total.failed} failed\n`);
process.exitCode = total.failed === 0 ? 0 : 1;

/** @returns {Promise<{ code: number, verdict: string, output: string }>} output: its end */
function runStage({ name, command, minutes: own }) {
  const start = Date.now();
  const minutes = Math.max(0, Math.min(own, allMinutes - (start - begun) / 60_000));
  process.stderr.write(`\nci: ${name} ...\n`);
  const log = createWriteStream(join(reports, `${name}.log`));
  return new Promise((resolve, reject) => {
    const [program, ...args] = command;
    const child = spawn(program, args, {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, PHOS_TEST_REPORTS: join(reports, name) },
      detached: true,
    });
    let output = '';
    const pass = (from, to) =>
      from.setEncoding('utf8').on('data', (text) => {
        to.write(text);
        log.write(text);
        output = (output + text).slice(-tailChars);
      });
    pass(child.stdout, process.stdout);
    pass(child.stderr, process.stderr);
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      if (child.pid !== undefined) process.kill(-child.pid, 'SIGKILL');
    }, minutes * 60_000);
    child.on('error', reject);
    let finished = false;
    const finish = (exitCode, signal) => {
      if (finished) return;
      finished = true;
      child.stdout.destroy();
      child.stderr.destroy();
      log.end();
      const seconds = ((Date.now() - start) / 1000).toFixed(0);
      const ended = signal === null ? `exit code ${exitCode}` : `ended by ${signal}`;
      const verdict = late ? `no end within ${minutes.toFixed(1)} minutes` : ended;
      process.stderr.write(`ci: ${name}: ${verdict}, ${seconds} s\n`);
      resolve({ code: late ? 124 : (exitCode ?? 1), verdict, output });
    };
    // What a failed test leaves behind may hold the pipes open for ever; the rest has 5 s.
    child.on('exit', (exitCode, signal) => {
      clearTimeout(timer);
      endLeftOvers(join(reports, name));
      const rest = setTimeout(() => finish(exitCode, signal), 5000);
      child.on('close', () => {
        clearTimeout(rest);
        finish(exitCode, signal);
      });
    });
  });
}

/** Ends what a stage left running: all of it has the stage's folder in its environment. */
function endLeftOvers(folder) {
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    try {
      const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
      if (!environment.includes(`PHOS_TEST_REPORTS=${folder}`)) continue;
      const line = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
      process.stderr.write(`ci: left running, ending it: ${pid} ${line}\n`);
      process.kill(Number(pid), 'SIGKILL');
    } catch (error) {
      // It ended meanwhile, or is another user's.
      if (!['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes(error.code)) throw error;
    }
  }
}

/**
 * Adds a stage's tests to the sum; a stage without a report counts as one.
 *
 * @returns {boolean} true when the stage succeeded
 */
function account(name, { code, verdict, output }) {
  const found = sum([
    read(join(reports, name, 'vitest.jsonl'), readVitest),
    read(join(reports, name, 'ctest.xml'), readJunit),
  ]);
  total.passed += found.passed;
  total.failed += found.failed.length;
  skipped.push(...found.skipped.map((test) => `${name}: ${test}`));
  failures.push(...found.failed.map((test) => ({ ...test, name: `${name}: ${test.name}` })));
  if (code === 0 && name !== 'setup' && found.passed + found.failed.length === 0) total.passed += 1;
  // A stage that fails without a failed test (a crash, a deadline, a leak) is a failure too.
  if (code !== 0 && found.failed.length === 0) {
    total.failed += 1;
    failures.push({
      name: `${name}: the stage failed without a failed test (${verdict}); its end:`,
      error: lastLines(output, tailLines),
    });
  }
  return code === 0;
}

/** A report that is cut off (its writer was ended) says nothing; the stage's exit code does. */
function read(path, parse) {
  if (!existsSync(path)) return sum([]);
  try {
    return parse(readFileSync(path, 'utf8'));
  } catch (error) {
    process.stderr.write(`ci: ${path} cannot be read: ${error.message}\n`);
    return sum([]);
  }
}

function summary() {
  let text = '\n';
  for (const name of skipped) text += `skipped  ${name}\n`;
  for (const [index, { name, error }] of failures.entries()) {
    text += `FAILED   ${name}\n`;
    if (index < shownErrors) text += error.map((line) => `         ${line}\n`).join('');
  }
  return text;
}
