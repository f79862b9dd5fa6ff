#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
/**
 * phos-autogen: `gen` writes the generated files, `gen --check` fails when one is stale. Exit codes
 * are those of phos: 2 usage, 7 the notation is not valid, 10 something differs.
 */
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { emitAll } from './emit/index.ts';
import { compareOutputs, writeOutputs } from './gen.ts';
import { buildIr } from './ir.ts';
import { loadNotation, NotationError } from './load.ts';

const EXIT = { usage: 2, invalid: 7, differs: 10 } as const;

/** The repository's root, whether this runs from the tree or from dist/. */
function findRoot(): string {
  let here = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(here, 'autogen', 'notation'))) {
    const parent = dirname(here);
    if (parent === here) throw new Error('autogen/notation was not found above this program; run it from the repository');
    here = parent;
  }
  return here;
}

function runGen(root: string, check: boolean): number {
  const files = emitAll(buildIr(loadNotation(join(root, 'autogen', 'notation'))));
  if (!check) {
    const written = writeOutputs(root, files);
    console.error(`phos-autogen: ${files.length} generated files, ${written.length} changed`);
    return 0;
  }
  const differences = compareOutputs(root, files);
  for (const { path, why } of differences) console.error(`phos-autogen: ${path} is ${why}`);
  if (differences.length === 0) return 0;
  console.error('phos-autogen: run `npm run gen` and commit the result; generated files are never edited');
  return EXIT.differs;
}

const program = new Command('phos-autogen')
  .description('Generates what phos derives from the notation of the CUDA driver API.')
  .option('--root <folder>', 'repository to work on', (value) => resolve(value))
  .exitOverride((error) => process.exit(error.exitCode === 0 ? 0 : EXIT.usage));

function act(run: (root: string) => number): void {
  try {
    const { root } = program.opts<{ root?: string }>();
    process.exitCode = run(root ?? findRoot());
  } catch (error) {
    if (!(error instanceof NotationError)) throw error;
    console.error(`phos-autogen: ${error.message}`);
    process.exitCode = EXIT.invalid;
  }
}

program
  .command('gen')
  .description('write the generated files')
  .option('--check', 'write nothing; fail when a file is stale', false)
  .action((options: { check: boolean }) => act((root) => runGen(root, options.check)));

program.parse();
