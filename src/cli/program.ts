// SPDX-License-Identifier: Apache-2.0
// The grammar of phos: every command of every file in commands/.
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { packageRoot } from '../model/locate.ts';
import { addCleanCommand } from './commands/clean.ts';
import { addDaemonCommands } from './commands/daemon.ts';
import { addDoctorCommand } from './commands/doctor.ts';
import { addDumpCommands } from './commands/dump.ts';
import { addExplainCommand } from './commands/explain.ts';
import { addImageCommands } from './commands/image.ts';
import { addJobCommands } from './commands/jobs.ts';
import { addRunCommands } from './commands/run.ts';

export function makeProgram(): Command {
  const { version } = JSON.parse(readFileSync(new URL('package.json', packageRoot), 'utf8')) as {
    version: string;
  };
  const program = new Command('phos')
    .description('checkpoint, restore and suspend programs that use a GPU')
    .version(version)
    .enablePositionalOptions()
    .showHelpAfterError('(see phos --help)')
    .exitOverride();
  addDaemonCommands(program);
  addRunCommands(program);
  addDumpCommands(program);
  addJobCommands(program);
  addExplainCommand(program);
  addImageCommands(program);
  addCleanCommand(program);
  addDoctorCommand(program);
  overrideExits(program, 'phos');
  return program;
}

// commander ends the process by itself unless each command is told not to.
function overrideExits(command: Command, words: string): void {
  for (const child of command.commands) {
    const own = `${words} ${child.name()}`;
    child.exitOverride().showHelpAfterError(`(see ${own} --help)`);
    overrideExits(child, own);
  }
}
