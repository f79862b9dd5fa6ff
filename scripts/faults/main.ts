// SPDX-License-Identifier: Apache-2.0
// `npm run faults`: each fault at each point in turn, in a real dump, restore or suspend.
import { writeFileSync } from 'node:fs';
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
  },
});

const all = faultPoints.flatMap((point) => point.kinds.map((kind) => ({ point, kind })));
const page = fileURLToPath(new URL('../../docs/faults.md', import.meta.url));

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
  const results: RoundResult[] = [];
  for (const { point, kind } of all.filter(isChosen)) {
    const result = await new Round(point, kind).run();
    results.push(result);
    const { fault, outcome, program, image, seconds, problems } = result;
    process.stderr.write(
      `${problems.length === 0 ? 'ok  ' : 'FAIL'} ${fault}: ${outcome}; program ${program}; ` +
        `image ${image}; ${seconds} s\n`,
    );
    for (const problem of problems) process.stderr.write(`     ${problem}\n`);
  }
  const bad = results.filter((one) => one.problems.length > 0).length;
  const figures = { points: faultPoints.length, faults: results.length, failed: bad };
  process.stdout.write(values.json ? `${JSON.stringify(figures)}\n` : '');
  process.stderr.write(`${results.length - bad} of ${results.length} faults were survived\n`);
  // A run over everything is what the page shows.
  if (results.length === all.length) writeFileSync(page, pageOf(results));
  return bad === 0 && results.length > 0 ? 0 : 1;
}

process.exitCode = await main();
