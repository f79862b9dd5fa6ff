// SPDX-License-Identifier: Apache-2.0
// What the reports of vitest (vitest-lines.mjs) and ctest (JUnit) say about a run: how many tests
// passed, which failed with what error, which were skipped and why. Pure functions of their texts.

const errorLines = 12;
const columns = 300;

/**
 * @typedef {{ name: string, error: string[] }} Failure error: its first lines, without colours
 * @typedef {{ passed: number, failed: Failure[], skipped: string[] }} Verdict
 */

/**
 * @param {string} text the lines of vitest-lines.mjs; the last may be cut off
 * @returns {Verdict} a test that began and did not end, because the run was ended, has failed
 */
export function readVitest(text) {
  const ends = new Map();
  for (const line of text.split('\n').slice(0, -1)) {
    const { id, ...test } = JSON.parse(line);
    ends.set(id, test);
  }
  const verdict = { passed: 0, failed: [], skipped: [] };
  for (const { name, state, error } of ends.values()) {
    if (state === 'passed') verdict.passed += 1;
    else if (state === 'failed') verdict.failed.push({ name, error: firstLines(error) });
    else if (state === 'skipped') verdict.skipped.push(name);
    else verdict.failed.push({ name, error: ['it was still running when the run was ended'] });
  }
  return verdict;
}

/**
 * @param {string} text ctest's JUnit report
 * @returns {Verdict} a test whose program is missing failed, although ctest calls it skipped
 */
export function readJunit(text) {
  const verdict = { passed: 0, failed: [], skipped: [] };
  for (const [, attributes, body] of text.matchAll(/<testcase\b([^>]*)>([\s\S]*?)<\/testcase>/g)) {
    const name = unescape(/\bname="([^"]*)"/.exec(attributes)?.[1] ?? '?');
    const status = /\bstatus="([^"]*)"/.exec(attributes)?.[1];
    const output = unescape(/<system-out>([\s\S]*?)<\/system-out>/.exec(body)?.[1] ?? '');
    const excuse = /<skipped message="([^"]*)"/.exec(body)?.[1] ?? '';
    if (status === 'run') verdict.passed += 1;
    else if (status === 'disabled') verdict.skipped.push(`${name}: disabled`);
    else if (excuse.startsWith('SKIP_')) verdict.skipped.push(`${name}: ${skipReason(output)}`);
    else verdict.failed.push({ name, error: essence(output) });
  }
  return verdict;
}

/**
 * @param {Verdict[]} verdicts
 * @returns {Verdict} their sum
 */
export function sum(verdicts) {
  return {
    passed: verdicts.reduce((total, verdict) => total + verdict.passed, 0),
    failed: verdicts.flatMap((verdict) => verdict.failed),
    skipped: verdicts.flatMap((verdict) => verdict.skipped),
  };
}

/** @returns {string[]} the last lines of a stage's output, without colours and empty lines */
export function lastLines(text, count) {
  return lines(text).slice(-count);
}

/** The part of a native test's output that says what went wrong, or its end after a crash. */
function essence(output) {
  const all = lines(output);
  if (all.length === 0) return ['no output: it crashed, or did not end within its deadline'];
  const start = all.findIndex((line) =>
    /: Failure$|ERROR: |runtime error: |terminate called|Assertion|Unable to find/.test(line),
  );
  return start === -1 ? all.slice(-errorLines) : all.slice(start, start + errorLines);
}

/** GoogleTest prints `FILE:LINE: Skipped` and the reason on the next line. */
function skipReason(output) {
  const all = lines(output);
  const at = all.findIndex((line) => line.endsWith(': Skipped'));
  return all[at + 1] ?? 'no reason given';
}

function firstLines(text) {
  return lines(text).slice(0, errorLines);
}

function lines(text) {
  // Colours and other escapes of a terminal: ESC [ ... letter.
  const plain = text.replaceAll(
    new RegExp(`${String.fromCharCode(27)}\\[[0-9;?]*[A-Za-z]`, 'g'),
    '',
  );
  const kept = plain.split(/\r?\n|\r/).filter((line) => line.trim() !== '');
  return kept.map((line) => line.slice(0, columns));
}

function unescape(text) {
  const plain = { lt: '<', gt: '>', quot: '"', apos: "'", amp: '&' };
  return text.replaceAll(/&(lt|gt|quot|apos|amp);/g, (_, name) => plain[name]);
}
