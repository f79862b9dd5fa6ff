// SPDX-License-Identifier: Apache-2.0
// `npm run check`: everything that can be said about the tree without running the product.
// All checks run, two at a time, so that one visit shows every finding.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { capture, root } from './setup/step.mjs';

const node = process.execPath;
const local = (path) => join(root, 'node_modules', path);

/** The longest ones first, so that two at a time end early. */
const checks = [
  { name: 'types', command: [node, local('typescript/bin/tsc'), '-p', 'tsconfig.json'] },
  { name: 'lint', command: [local('.bin/oxlint'), '--type-aware', '--deny-warnings'] },
  { name: 'layers', command: [node, 'scripts/layers.mjs'] },
  {
    name: 'generated code',
    command: [node, '--import', 'tsx', 'autogen/main.ts', 'gen', '--check'],
    only: 'autogen/main.ts',
  },
  { name: 'generated protocol', command: [node, 'scripts/proto.mjs', '--check'] },
  {
    name: 'tidy',
    command: [node, local('vitest/vitest.mjs'), 'run', '--project', 'tidy', '--reporter=dot'],
  },
  { name: 'format', command: [local('.bin/biome'), 'format'] },
];

/** @returns {Promise<boolean>} true when every check passes */
export async function runChecks() {
  const start = Date.now();
  const queue = checks.filter(
    (check) => check.only === undefined || existsSync(join(root, check.only)),
  );
  let failures = 0;
  const total = queue.length;
  const worker = async () => {
    for (let check = queue.shift(); check !== undefined; check = queue.shift()) {
      if (!(await report(check))) failures += 1;
    }
  };
  await Promise.all([worker(), worker()]);
  const seconds = ((Date.now() - start) / 1000).toFixed(1);
  process.stderr.write(`check: ${total - failures} of ${total} passed in ${seconds} s\n`);
  return failures === 0;
}

async function report({ name, command }) {
  const start = Date.now();
  const { code, output, timedOut } = await capture(command, {
    timeoutMs: 300_000,
    env: { NO_COLOR: '1' },
  });
  const passed = code === 0;
  const seconds = ((Date.now() - start) / 1000).toFixed(1);
  const verdict = passed ? 'ok' : timedOut ? 'no end within 300 s' : 'failed';
  process.stderr.write(`check: ${name}: ${verdict} (${seconds} s)\n`);
  if (!passed) process.stderr.write(`${output.trimEnd()}\n\n`);
  return passed;
}
