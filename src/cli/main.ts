// SPDX-License-Identifier: Apache-2.0
// phos: the command line. Grammar and exit codes are in README.md.
import { CommanderError } from 'commander';
import { exitCodeOf } from '../errors/exit-code.ts';
import { outcome, setExitCodes } from './context.ts';
import { Output } from './output.ts';
import { makeProgram } from './program.ts';

const USAGE = 2;

async function main(): Promise<number> {
  setExitCodes(exitCodeOf);
  try {
    await makeProgram().parseAsync(process.argv);
    return await outcome();
  } catch (thrown) {
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? 0 : USAGE;
    return exitCodeOf(new Output(process.argv.includes('--json')).failure(thrown));
  }
}

process.exit(await main());
