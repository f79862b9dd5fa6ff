// SPDX-License-Identifier: Apache-2.0
// phos: the command line. Grammar and exit codes are in README.md.
import { CommanderError } from 'commander';
import { exitCodeOf } from '../errors/exit-code.ts';
import { PhosError } from '../errors/phos-error.ts';
import { outcome, setExitCodes } from './context.ts';
import { Output } from './output.ts';
import { makeProgram } from './program.ts';

/** commander has said it on stderr, with the usage; programs read it on stdout. */
function usage(thrown: CommanderError): number {
  const error = new PhosError('USAGE', thrown.message.replace(/^error: /, ''));
  if (wantsJson()) new Output(true).failure(error);
  return exitCodeOf(error);
}

/** Asked of phos itself: what follows -- is the program's. */
function wantsJson(): boolean {
  const end = process.argv.indexOf('--');
  return process.argv.slice(2, end === -1 ? undefined : end).includes('--json');
}

async function main(): Promise<number> {
  setExitCodes(exitCodeOf);
  try {
    await makeProgram().parseAsync(process.argv);
    return await outcome();
  } catch (thrown) {
    if (thrown instanceof CommanderError) return thrown.exitCode === 0 ? 0 : usage(thrown);
    return exitCodeOf(new Output(wantsJson()).failure(thrown));
  }
}

process.exit(await main());
