#!/usr/bin/env node
// SPDX-License-Identifier: Apache-2.0
/**
 * phos-autogen: `gen` writes the generated files, `gen --check` fails when one is stale, `import`
 * compares the notation with the vendor's header. Exit codes are those of phos: 2 usage, 6 no such
 * header, 7 the notation is not valid, 10 something differs.
 */
import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { emitAll } from './emit/index.ts';
import { compareOutputs, writeOutputs } from './gen.ts';
import { compareWithHeader } from './import/compare.ts';
import { readDriverHeader, readRefusedNames } from './import/header.ts';
import { buildIr } from './ir.ts';
import { loadNotation, NotationError } from './load.ts';

const EXIT = { usage: 2, notFound: 6, invalid: 7, differs: 10 } as const;

/** The version of the driver API that the notation describes. */
const CUDA_VERSION = 13000;

/** The repository's root, whether this runs from the tree or from dist/. */
function findRoot(): string {
  let here = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(here, 'autogen', 'notation'))) {
    const parent = dirname(here);
    if (parent === here)
      throw new Error(
        'autogen/notation was not found above this program; run it from the repository',
      );
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
  console.error(
    'phos-autogen: run `npm run gen` and commit the result; generated files are never edited',
  );
  return EXIT.differs;
}

function installedHeader(): string | null {
  const homes = [
    process.env.CUDA_HOME,
    process.env.CUDA_PATH,
    '/usr/local/cuda',
    '/usr/local/cuda-13.0',
  ];
  const paths = homes
    .filter((home) => home !== undefined && home !== '')
    .map((home) => join(home ?? '', 'include', 'cuda.h'));
  return paths.find((path) => existsSync(path)) ?? null;
}

function runImport(root: string, given: string | null): number {
  if (given !== null && !existsSync(given)) {
    console.error(`phos-autogen: ${given} does not exist; give the path of a cuda.h`);
    return EXIT.notFound;
  }
  const path = given ?? installedHeader();
  if (path === null) {
    console.error(
      'phos-autogen: SKIPPED: no cuda.h on this machine, so the notation was NOT compared with it',
    );
    return 0;
  }
  const header = readDriverHeader(path);
  if (header.cudaVersion !== CUDA_VERSION && given === null) {
    console.error(
      `phos-autogen: SKIPPED: ${path} is of version ${header.cudaVersion}, the notation of ` +
        `${CUDA_VERSION}; NOT compared`,
    );
    return 0;
  }
  const differences = compareWithHeader(
    buildIr(loadNotation(join(root, 'autogen', 'notation'))),
    header,
  );
  const { enums, records, functions } = header.header;
  const counts = readRefusedNames(path).map((r) => `${r.header} ${r.names.length}`);
  console.log(
    `${path}, version ${header.cudaVersion}: ${header.versions.size} base names, ` +
      `${functions.size} symbols, ` +
      `${enums.size} enums, ${records.size} structures and unions`,
  );
  console.log(`refused by cuGetProcAddress (NOT_FOUND): ${counts.join(', ')}`);
  for (const difference of differences) console.error(`phos-autogen: ${difference}`);
  console.log(
    differences.length === 0
      ? 'the notation agrees with the header'
      : `${differences.length} differences`,
  );
  return differences.length === 0 ? 0 : EXIT.differs;
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

program
  .command('import')
  .description('compare the notation with cuda.h; skips loudly where there is none')
  .option('--header <path>', 'the cuda.h to read; cudaTypedefs.h must lie beside it', (value) =>
    resolve(value),
  )
  .action((options: { header?: string }) => act((root) => runImport(root, options.header ?? null)));

program.parse();
