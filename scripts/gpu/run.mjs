#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
// Runs suites on a machine with a GPU, from a tree that was built or from a pack (pack.mjs):
//
//   node scripts/gpu/run.mjs SUITE[,SUITE...]|all [--out FOLDER] [--only TEXT] [--budget-s N]
//                            [--driver cuda|sim] [--runs N]
//
// SUITE: subjects, torch, checkpoint, errors, bench. Each leaves FOLDER/SUITE.json; the summary
// goes to standard output, progress to standard error. Exit code 1 when a case failed, 77 when
// there is no GPU (`--driver sim` rehearses without one).

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { runCases, say } from './lib/cases.mjs';
import { machine } from './lib/machine.mjs';
import { hasGpu, Phos } from './lib/place.mjs';
import { bench } from './suites/bench.mjs';
import { checkpoint } from './suites/checkpoint.mjs';
import { errors } from './suites/errors.mjs';
import { subjects } from './suites/subjects.mjs';
import { torch } from './suites/torch.mjs';

const NO_GPU = 77;
const suites = { subjects, errors, checkpoint, torch, bench };

class UsageError extends Error {}

function parse() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      out: { type: 'string', default: 'gpu-results' },
      only: { type: 'string', default: '' },
      'budget-s': { type: 'string', default: '280' },
      driver: { type: 'string', default: 'cuda' },
      runs: { type: 'string', default: '0' },
    },
  });
  const asked = positionals.join(',');
  const names = asked === 'all' ? Object.keys(suites) : asked.split(',').filter(Boolean);
  const unknown = names.filter((name) => !(name in suites));
  if (names.length === 0 || unknown.length > 0 || !['cuda', 'sim'].includes(values.driver)) {
    throw new UsageError(`usage: run.mjs ${Object.keys(suites).join('|')}|all [--out FOLDER] ...`);
  }
  const budgetMs = Number(values['budget-s']) * 1000;
  if (!(budgetMs > 0)) throw new UsageError('--budget-s takes a number of seconds');
  return { names, ...values, out: resolve(values.out), budgetMs, runs: Number(values.runs) };
}

/** One suite in a phos of its own, so that what it leaves behind is nobody else's. */
async function runSuite(name, options, facts, budgetMs) {
  const suite = suites[name];
  const scratch = mkdtempSync(join(tmpdir(), 'phos-suite-'));
  const phos = new Phos(options.driver);
  const began = performance.now();
  const { driver, runs, only } = options;
  const context = { phos, driver, runs, only, suite: name, scratch };
  // Whoever ends this run from outside must not leave a phosd behind.
  const interrupted = () => {
    void phos.close().finally(() => process.exit(143));
  };
  process.once('SIGTERM', interrupted);
  process.once('SIGINT', interrupted);
  let cases = [];
  let trouble = null;
  let troubles = [];
  try {
    const pool = ['--pool', `${suite.pool ?? Math.min(suite.parallel, 4)}`];
    await phos.json(['start', ...pool], 60_000);
    const wanted = suite.cases(context).filter((one) => one.name.includes(only));
    const limits = { parallel: suite.parallel, budgetMs: Math.min(budgetMs, suite.budgetMs) };
    cases = await runCases(wanted, context, limits);
  } catch (error) {
    trouble = error.stack;
    say(`${name}: ${error.message}`);
  } finally {
    process.removeListener('SIGTERM', interrupted);
    process.removeListener('SIGINT', interrupted);
    troubles = await phos.close();
    rmSync(scratch, { recursive: true, force: true });
  }
  const record = {
    suite: name,
    date: new Date().toISOString(),
    machine: facts,
    seconds: (performance.now() - began) / 1000,
    trouble,
    cases,
    troubles,
    ...suite.summarise?.(cases),
  };
  writeFileSync(join(options.out, `${name}.json`), `${JSON.stringify(record, null, 2)}\n`);
  return record;
}

function summary(records) {
  const lines = [];
  for (const { suite, seconds, trouble, cases } of records) {
    const count = (outcome) => cases.filter((one) => one.outcome === outcome).length;
    const counts = ['passed', 'failed', 'skipped'].map((one) => `${count(one)} ${one}`).join(', ');
    lines.push(`${suite}: ${counts} in ${seconds.toFixed(1)} s`);
    if (trouble !== null) lines.push(`  FAILED ${trouble.split('\n')[0]}`);
    for (const { name, outcome, why, note } of cases) {
      const told = [why, note].filter((one) => one !== undefined).join('; ');
      lines.push(`  ${outcome.padEnd(8)}${name}${told === '' ? '' : `: ${told}`}`);
    }
  }
  return lines.join('\n');
}

async function main() {
  const options = parse();
  if (options.driver === 'cuda' && !hasGpu()) {
    say('SKIPPED: there is no NVIDIA GPU here (--driver sim rehearses without one)');
    return NO_GPU;
  }
  mkdirSync(options.out, { recursive: true });
  const facts = machine(options.driver);
  const end = performance.now() + options.budgetMs;
  const records = [];
  for (const name of options.names) {
    // A suite may use what the suites before it left over.
    records.push(await runSuite(name, options, facts, end - performance.now()));
  }
  process.stdout.write(`${summary(records)}\n`);
  const good = (record) =>
    record.trouble === null && record.cases.every((one) => one.outcome !== 'failed');
  return records.every(good) ? 0 : 1;
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`${error.message}\n`);
  process.exitCode = 2;
}
