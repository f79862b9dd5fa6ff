// SPDX-License-Identifier: Apache-2.0
// `npm run modelcheck`: explores every scenario, or kills the mutants, or replays a counterexample.
// Exit code 1 on a violation, a bound that was hit, or a mutant that survived.
import { spawn } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { type Exploration, explore, type Watch } from '../../src/verify/explore.ts';
import { atRest, safety } from '../../src/verify/invariants.ts';
import { mutants } from '../../src/verify/mutants.ts';
import { allLocalLaws, realMachines, System } from '../../src/verify/system.ts';
import { scenarios } from '../../src/verify/scenarios.ts';
import type { Scenario } from '../../src/verify/scenario.ts';
import { type Killed, killMutant, MUTANT_STATES } from './mutation.ts';
import { writePage } from './page.ts';
import { replay, type Trace } from './replay.ts';

const usage = `usage: npm run modelcheck -- [options]
  --json              one line of figures on stdout
  --only NAME         this scenario (may be given several times)
  --quick             the scenarios and mutants of CI
  --mutants           kill the planted mutants as well, and write docs/verification.md
  --mutant NAME       explore with this mutant, up to its counterexample
  --replay FILE       walk through a counterexample, in the model and with real actors
  --save FILE         write the counterexample there (default: build/counterexample.json)
  --jobs N            processes at once (default 2)
`;

const { values } = parseArgs({
  options: {
    json: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true, default: [] },
    quick: { type: 'boolean', default: false },
    mutants: { type: 'boolean', default: false },
    mutant: { type: 'string' },
    replay: { type: 'string' },
    save: { type: 'string', default: 'build/counterexample.json' },
    jobs: { type: 'string', default: '2' },
    worker: { type: 'string' },
    help: { type: 'boolean', default: false },
  },
});

const tell = (line: string): void => void process.stderr.write(`${line}\n`);
const isTerminal = process.stderr.isTTY;
const started = performance.now();

function watchOf(name: string): Watch {
  return {
    now: () => performance.now(),
    onProgress: (states, depth, waiting) => {
      const text = `  ${name}: ${states} states, depth ${depth}, ${waiting} waiting`;
      process.stderr.write(isTerminal ? `\r${text}  ` : `${text}\n`);
    },
  };
}

function chosen(): readonly Scenario[] {
  const names = new Set(values.only);
  for (const name of names) {
    if (!scenarios.some((one) => one.name === name)) {
      tell(`there is no scenario '${name}'; known: ${scenarios.map((one) => one.name).join(' ')}`);
      process.exit(2);
    }
  }
  const picked = scenarios.filter((one) => names.size === 0 || names.has(one.name));
  return values.quick && names.size === 0 ? picked.filter((one) => one.quick) : picked;
}

/** One task in this process: a scenario, or a mutant. */
function work(task: string): Exploration | Killed {
  const [kind, name = ''] = task.split('=');
  if (kind === 'mutant') return killMutant(name, watchOf(name));
  const scenario = scenarios.find((one) => one.name === name) as Scenario;
  const machines = values.mutant === undefined ? realMachines : mutantMachines(values.mutant);
  const system = new System(machines, scenario.homes, scenario.devices);
  return explore(system, scenario, watchOf(name));
}

function mutantMachines(name: string) {
  const mutant = mutants.find((one) => one.name === name);
  if (mutant !== undefined) return mutant.machines();
  tell(`there is no mutant '${name}'; see docs/verification.md`);
  process.exit(2);
}

/** The same program in a process of its own, so that two cores are used. */
function inWorker<T>(task: string): Promise<T> {
  const self = fileURLToPath(import.meta.url);
  const extra = values.mutant === undefined ? [] : ['--mutant', values.mutant];
  const args = ['--max-old-space-size=3072', '--import', 'tsx', self, '--worker', task, ...extra];
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
    });
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(JSON.parse(text) as T);
      else reject(new Error(`the worker for ${task} ended with ${code}`));
    });
  });
}

async function inParallel<T>(tasks: readonly string[], onDone: (result: T) => void): Promise<T[]> {
  const results: T[] = [];
  const waiting = tasks.map((task, index) => ({ task, index }));
  const lane = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const result = await inWorker<T>(next.task);
      results[next.index] = result;
      onDone(result);
    }
  };
  await Promise.all(Array.from({ length: Number(values.jobs) }, lane));
  return results;
}

function tellExploration(one: Exploration): void {
  const rate = Math.round(one.transitions / Math.max(one.seconds, 0.001));
  tell(
    `${one.violation === null && !one.boundHit ? 'ok  ' : 'FAIL'} ${one.scenario}: ` +
      `${one.states} states, ${one.transitions} transitions, depth ${one.depth}, ` +
      `${one.restStates} ends, ${one.seconds.toFixed(1)} s (${rate}/s)`,
  );
  if (one.boundHit) tell(`     the bound of states was hit: not everything was seen`);
  if (one.violation === null) return;
  tell(`     broken: ${one.violation.law}; the shortest way there:`);
  one.violation.trace.forEach((label, at) => tell(`     ${String(at + 1).padStart(3)} ${label}`));
}

function save(one: Exploration): void {
  if (one.violation === null) return;
  const mutant = values.mutant ?? null;
  const trace: Trace = {
    scenario: one.scenario,
    mutant,
    ...one.violation,
    steps: one.violation.trace,
  };
  writeFileSync(values.save, `${JSON.stringify(trace, null, 2)}\n`);
  tell(`     kept in ${values.save}; walk through it with --replay ${values.save}`);
}

async function main(): Promise<number> {
  if (values.help) {
    process.stdout.write(usage);
    return 0;
  }
  if (values.worker !== undefined) {
    process.stdout.write(JSON.stringify(work(values.worker)));
    return 0;
  }
  if (values.replay !== undefined) {
    return replay(JSON.parse(readFileSync(values.replay, 'utf8')) as Trace, tell);
  }
  const explored = await inParallel<Exploration>(
    chosen().map((one) => `scenario=${one.name}`),
    tellExploration,
  );
  const bad = explored.filter((one) => one.violation !== null || one.boundHit);
  for (const one of bad.slice(0, 1)) save(one);
  const killed = values.mutants || values.quick ? await kill() : [];
  const survived = killed.filter((one) => one.law === null);
  report(explored, killed);
  if (values.mutants) writePage(explored, killed);
  return bad.length + survived.length === 0 ? 0 : 1;
}

async function kill(): Promise<Killed[]> {
  const names = mutants.filter((one) => values.mutants || one.quick).map((one) => one.name);
  const killed = await inParallel<Killed>(
    names.map((name) => `mutant=${name}`),
    (one) =>
      tell(`${one.law === null ? 'FAIL' : 'ok  '} mutant ${one.name}: ${one.law ?? 'alive'}`),
  );
  if (killed.some((one) => one.law === null)) {
    tell(`a mutant lives when no scenario shows it within ${MUTANT_STATES} states each`);
  }
  return killed;
}

function report(explored: readonly Exploration[], killed: readonly Killed[]): void {
  const sum = (of: (one: Exploration) => number) => explored.reduce((all, one) => all + of(one), 0);
  const figures = {
    states: sum((one) => one.states),
    transitions: sum((one) => one.transitions),
    invariants: Object.keys(safety).length + Object.keys(atRest).length + allLocalLaws.length,
    scenarios: explored.length,
    boundsHit: explored.filter((one) => one.boundHit).length,
    violations: explored.filter((one) => one.violation !== null).length,
    mutants: killed.length,
    killed: killed.filter((one) => one.law !== null).length,
    seconds: Math.round((performance.now() - started) / 100) / 10,
  };
  if (values.json) process.stdout.write(`${JSON.stringify(figures)}\n`);
  else
    tell(
      Object.entries(figures)
        .map(([name, value]) => `${name} ${value}`)
        .join(', '),
    );
}

process.exitCode = await main();
