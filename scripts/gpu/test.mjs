// SPDX-License-Identifier: Apache-2.0
// `npm run test:gpu`: every suite but the benchmark on the real device. Where there is none it says
// so and ends well: these tests cannot be run there, and nothing was shown to be broken.

import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { hasGpu } from './lib/place.mjs';

const DEADLINE_MS = 1_500_000;
const line = '='.repeat(72);

if (hasGpu()) {
  const script = fileURLToPath(new URL('run.mjs', import.meta.url));
  const suites = ['subjects,errors,checkpoint,torch', '--budget-s', '1200'];
  const out = ['--out', 'build-gpu/results'];
  const options = { stdio: 'inherit', timeout: DEADLINE_MS };
  const { status, error } = spawnSync(
    process.execPath,
    [script, ...suites, ...out, ...process.argv.slice(2)],
    options,
  );
  if (error !== undefined) throw error;
  process.exitCode = status ?? 1;
} else {
  process.stdout.write(`${line}\nSKIPPED: no NVIDIA GPU here, no GPU test was run\n${line}\n`);
}
