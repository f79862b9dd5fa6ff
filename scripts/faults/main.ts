// SPDX-License-Identifier: Apache-2.0
// `npm run faults`: each fault at each point in turn, in a real dump, restore or suspend. Results
// are kept in build/faults.jsonl as they come, so that --resume goes on where a run was ended.
import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { pageOf } from './page.ts';
import { type FaultKind, type FaultPoint, faultPoints, nameOf, quick } from './points.ts';
import { Round, type RoundResult } from './round.ts';

const { values } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    only: { type: 'string', multiple: true, default: [] },
    list: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    // Goes on with what an earlier run of this build has not tried, or has failed.
    resume: { type: 'boolean', default: false },
    // Rounds side by side: each has a phosd of its own.
    jobs: { type: 'string', default: '1' },
  },
});

const all = faultPoints.flatMap((point) => point.kinds.map((kind) => ({ point, kind })));
const page = fileURLToPath(new URL('../../docs/faults.md', import.meta.url));

const kept = fileURLToPath(new URL('../../build/faults.jsonl', import.meta.url));

/** What an earlier run found; the last word counts. */
function readKept(): Map<string, RoundResult> {
  if (!existsSync(kept)) return new Map();
  const lines = readFileSync(kept, 'utf8').split('\n').filter(Boolean);
  const results = lines.map((line) => JSON.parse(line) as RoundResult);
  return new Map(results.map((one) => [one.fault, one]));
}

function isChosen({ point, kind }: { point: FaultPoint; kind: FaultKind }): boolean {
  const name = nameOf(point, kind);
  if (values.only.length > 0) return values.only.some((one) => name.startsWith(one));
  return !values.quick || quick.includes(name);
}

async function main(): Promise<number> {
  if (values.list) {
    for (const { point, kind } of all) process.stdout.write(`${nameOf(point, kind)}\n`);
    return 0;
  }
  const isWhole = values.only.length === 0 && !values.quick;
  if (isWhole && !values.resume) rmSync(kept, { force: true });
  const results: RoundResult[] = [];
  const before = values.resume ? readKept() : new Map<string, RoundResult>();
  const isHeld = (name: string): boolean => before.get(name)?.problems.length === 0;
  const waiting = all.filter(isChosen).filter((one) => !isHeld(nameOf(one.point, one.kind)));
  const worker = async (): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const result = await new Round(next.point, next.kind).run();
      results.push(result);
      tell(result);
      if (isWhole) appendFileSync(kept, `${JSON.stringify(result)}\n`);
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, Number(values.jobs)) }, worker));
  const bad = results.filter((one) => one.problems.length > 0).length;
  const figures = { points: faultPoints.length, faults: results.length, failed: bad };
  process.stdout.write(values.json ? `${JSON.stringify(figures)}\n` : '');
  process.stderr.write(`${results.length - bad} of ${results.length} faults were survived\n`);
  // A run over everything, in one go or several, is what the page shows.
  if (isWhole) writeFileSync(page, pageOf([...readKept().values()]));
  return bad === 0 && results.length + before.size > 0 ? 0 : 1;
}

function tell({ fault, outcome, program, image, seconds, problems }: RoundResult): void {
  process.stderr.write(
    `${problems.length === 0 ? 'ok  ' : 'FAIL'} ${fault}: ${outcome}; program ${program}; ` +
      `image ${image}; ${seconds} s\n`,
  );
  for (const problem of problems) process.stderr.write(`     ${problem}\n`);
}

process.exitCode = await main();
