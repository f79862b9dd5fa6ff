// SPDX-License-Identifier: Apache-2.0
// Running cases: each has a name, a deadline, and a function that gives what it found. A case that
// fails says so by its name at once; the others go on.

import { outsideSpread, resultOf, same } from './compare.mjs';
import { runNative, runUnder } from './place.mjs';
import { tail } from './processes.mjs';

export function say(text) {
  process.stderr.write(`gpu: ${text}\n`);
}

/** A case cannot be run here, for a reason that is told. */
export class Skip extends Error {}

/** A case failed: a sentence, and what else is known. */
export class Failure extends Error {
  constructor(message, details = {}) {
    super(message);
    this.details = details;
  }
}

/**
 * Runs cases, several at a time, until the budget is spent; those that did not get their turn
 * fail, saying so.
 *
 * @returns {Promise<object[]>} one record for each: name, outcome (passed, failed, skipped), ms
 */
export async function runCases(cases, context, { parallel, budgetMs }) {
  const end = performance.now() + budgetMs;
  const queue = [...cases];
  const records = [];
  const worker = async () => {
    for (let one = queue.shift(); one !== undefined; one = queue.shift()) {
      const left = end - performance.now();
      const record =
        left < 3000
          ? { name: one.name, outcome: 'failed', ms: 0, why: 'the time of the suite was spent' }
          : await runCase(one, context, Math.min(one.deadlineMs, left));
      records.push(record);
      const why = record.why === undefined ? '' : `: ${record.why}`;
      say(`${context.suite}/${record.name}: ${record.outcome} (${record.ms} ms)${why}`);
    }
  };
  await Promise.all(Array.from({ length: parallel }, worker));
  return records;
}

async function runCase(one, context, deadlineMs) {
  const began = performance.now();
  const done = (record) => ({
    name: one.name,
    ...record,
    ms: Math.round(performance.now() - began),
  });
  try {
    const details = await one.run({ ...context, deadlineMs });
    return done({ outcome: 'passed', ...details });
  } catch (error) {
    if (error instanceof Skip) return done({ outcome: 'skipped', why: error.message });
    const details = error instanceof Failure ? error.details : { stack: error.stack };
    return done({ outcome: 'failed', why: error.message.split('\n')[0], ...details });
  }
}

/** What of a run is kept in the record of its case. */
export function kept({ code, ms, late, stdout, stderr }) {
  return { code, ms, late, stdout: tail(stdout), stderr: tail(stderr) };
}

/** @throws Failure, or Skip where the program says (exit code 77) that something is missing here */
export function mustEnd(run, where) {
  if (run.code === 77) throw new Skip(`${where}: ${run.stderr.trim().split('\n').at(-1)}`);
  if (run.code === 0 && !run.late) return run;
  const why = run.late ? 'did not end in time' : `ended with ${run.code}`;
  const said = run.stderr.trim().split('\n').at(-1) ?? '';
  throw new Failure(`${where} ${why}: ${said.slice(0, 300)}`, { run: kept(run) });
}

/**
 * A program that must print the same with and without phos, byte for byte.
 *
 * @param {{name: string, command: string[], deadlineMs: number, env?: Record<string, string>}} it
 */
export function sameOutput({ name, command, deadlineMs, env = {} }) {
  return {
    name,
    deadlineMs,
    run: async ({ phos, deadlineMs: left }) => {
      const options = { deadlineMs: left, env };
      const [native, under] = await Promise.all([
        runNative(phos, command, options),
        runUnder(phos, command, options),
      ]);
      mustEnd(native, 'without phos');
      mustEnd(under, 'under phos');
      if (native.stdout !== under.stdout) {
        throw new Failure('the outputs differ', { native: kept(native), phos: kept(under) });
      }
      return { native_ms: native.ms, phos_ms: under.ms, output: tail(native.stdout) };
    },
  };
}

/** What the client library said (PHOS_LOG), with how often: calls that it refused, above all. */
function saidByPhos(stderr) {
  const counts = new Map();
  for (const line of stderr.split('\n').filter((one) => one.startsWith('phos: '))) {
    counts.set(line, (counts.get(line) ?? 0) + 1);
  }
  const most = [...counts].toSorted(([, a], [, b]) => b - a).slice(0, 28);
  return most.map(([line, count]) => `${count} ${line}`);
}

/** A workload that prints its result as JSON: see compare.mjs. */
export function sameResult({ name, command, deadlineMs, env = {} }) {
  return {
    name,
    deadlineMs,
    run: async ({ phos, deadlineMs: left }) => {
      const began = performance.now();
      const options = { deadlineMs: left, env };
      const [native, under] = await Promise.all([
        runNative(phos, command, options),
        runUnder(phos, command, {
          ...options,
          env: { ...env, PHOS_LOG: '1', PHOS_COUNT_CALLS: '1' },
        }),
      ]);
      const first = parsed(native, 'without phos');
      const found = parsed(under, 'under phos');
      const times = {
        native_ms: native.ms,
        phos_ms: under.ms,
        facts: found.facts ?? null,
        native_facts: first.facts ?? null,
        phos_said: saidByPhos(under.stderr),
      };
      if (same(first.exact, found.exact)) return { ...times, agreement: 'bit for bit' };
      const rest = { deadlineMs: left - (performance.now() - began), env };
      const second = parsed(await runNative(phos, command, rest), 'without phos, again');
      const outside = same(first.exact, second.exact)
        ? 'two runs without phos agree bit for bit, the one under phos does not'
        : outsideSpread(first.values ?? [], second.values ?? [], found.values ?? []);
      const details = { ...times, results: { first, second, phos: found } };
      if (outside !== null) throw new Failure(outside, details);
      return { ...details, agreement: 'within the spread of two runs without phos' };
    },
  };
}

function parsed(run, where) {
  const result = resultOf(mustEnd(run, where).stdout);
  if (result === null) throw new Failure(`${where}: no result was printed`, { run: kept(run) });
  return result;
}
