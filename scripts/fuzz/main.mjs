// SPDX-License-Identifier: Apache-2.0
// `npm run fuzz -- [--seconds N] [--json] [--keep] [TARGET ...]`: every target of native/fuzz, from
// its corpus on, two at a time. --keep adds what reached new code to the corpus, as few inputs as
// will do. Without clang the ordinary build replays the corpus and tries blind changes; that is
// said aloud, because it finds much less.

import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { aptPackages, fuzzPackages } from '../setup/apt.mjs';
import { nativeBuild } from '../setup/native.mjs';
import { root, SetupError } from '../setup/step.mjs';
import { readFigures } from './figures.mjs';

const targets = ['ring', 'dispatch', 'attach', 'image', 'fatbin', 'cubin', 'ptx'];
const fixtures = join(root, 'native/test/code_images/fixtures');
const more = { fatbin: [fixtures], cubin: [fixtures] };
const AT_ONCE = 2;
/** Beyond its seconds a target may take this long to replay its corpus and to end. */
const MARGIN_S = 240;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '60' },
    json: { type: 'boolean', default: false },
    keep: { type: 'boolean', default: false },
  },
});
const seconds = Number(values.seconds);
const seed = process.env['PHOS_SEED'] ?? String(Date.now() & 0x7fffffff);
const say = (text) => process.stderr.write(`fuzz: ${text}\n`);

process.exitCode = await main();

async function main() {
  const unknown = positionals.filter((name) => !targets.includes(name));
  if (unknown.length > 0 || !(seconds >= 0)) {
    say(`unknown target ${unknown.join(' ')}; there are ${targets.join(' ')}`);
    return 2;
  }
  const queue = positionals.length > 0 ? positionals : targets;
  const folder = await build(queue.map((name) => `fuzz_${name}`));
  const guided = folder.endsWith('build-fuzz');
  const results = [];
  const waiting = [...queue];
  const worker = async () => {
    for (let name = waiting.shift(); name !== undefined; name = waiting.shift()) {
      results.push(await fuzz(name, folder, guided));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  results.sort((a, b) => queue.indexOf(a.target) - queue.indexOf(b.target));
  const failed = results.filter((one) => !one.passed).length;
  if (values.json) process.stdout.write(`${JSON.stringify({ seed, guided, results })}\n`);
  say(`${results.length - failed} of ${results.length} targets held (seed ${seed})`);
  return failed === 0 && results.length > 0 ? 0 : 1;
}

/** The build with libFuzzer, or the ordinary one where there is no clang. */
async function build(programs) {
  try {
    await aptPackages(fuzzPackages);
    return await nativeBuild('fuzz', ...programs);
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say(`NO LIBFUZZER: ${error.message}`);
    say('NO LIBFUZZER: the corpus is replayed, and changed blindly, by the ordinary build');
    return nativeBuild('default', ...programs);
  }
}

async function fuzz(target, folder, guided) {
  const corpus = join(root, 'native/fuzz/corpus', target);
  const scratch = mkdtempSync(join(tmpdir(), `phos-fuzz-${target}-`));
  const kept = join(folder, 'fuzz', 'artifacts');
  mkdirSync(kept, { recursive: true });
  const inputs = [corpus, ...(more[target] ?? [])];
  const program = join(folder, 'fuzz', `fuzz_${target}`);
  const args = guided
    ? [`-max_total_time=${Math.max(1, Math.round(seconds))}`, '-max_len=65536', '-timeout=30']
        .concat(['-rss_limit_mb=3072', `-seed=${seed}`, `-artifact_prefix=${kept}/${target}-`])
        .concat(['-print_final_stats=1', '-verbosity=1', scratch, ...inputs])
    : [...inputs, '--seconds', String(seconds), '--seed', seed];
  try {
    const { code, output } = await run(program, args, join(kept, `${target}-last`));
    const figures = readFigures(output);
    const passed = code === 0;
    const text = `${figures.executions} inputs, ${figures.coverage} places reached`;
    say(`${passed ? 'ok  ' : 'FAIL'} ${target}: ${guided ? text : figures.line}`);
    if (!passed) say(`     ended with ${code}; its input is in ${kept}; it said:\n${output}`);
    if (passed && guided && values.keep) await keep(program, target, scratch, inputs);
    return { target, passed, seconds, ...figures };
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** Rebuilds the corpus from what it had and what was found, as few inputs as reach the same. */
async function keep(program, target, found, inputs) {
  const corpus = join(root, 'native/fuzz/corpus', target);
  const merged = mkdtempSync(join(tmpdir(), `phos-corpus-${target}-`));
  const { code } = await run(program, ['-merge=1', '-max_len=65536', merged, ...inputs, found], '');
  if (code === 0 && readdirSync(merged).length > 0) {
    const before = existsSync(corpus) ? readdirSync(corpus).length : 0;
    for (const name of readdirSync(merged)) {
      const short = name.slice(0, 12);
      cpSync(join(merged, name), join(corpus, short), { force: true });
    }
    say(`${target}: corpus of ${before} inputs has ${readdirSync(corpus).length} now`);
  }
  rmSync(merged, { recursive: true, force: true });
}

function run(program, args, last) {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: root,
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        PHOS_FUZZ_LAST: last,
        ASAN_OPTIONS: 'detect_leaks=1:allocator_may_return_null=1:handle_abort=1',
        UBSAN_OPTIONS: 'print_stacktrace=1:halt_on_error=1',
      },
    });
    let output = '';
    const take = (text) => {
      output = (output + text).slice(-16_384);
    };
    child.stdout.setEncoding('utf8').on('data', take);
    child.stderr.setEncoding('utf8').on('data', take);
    const timer = setTimeout(() => child.kill('SIGKILL'), (seconds + MARGIN_S) * 1_000);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code: code ?? signal, output });
    });
  });
}
