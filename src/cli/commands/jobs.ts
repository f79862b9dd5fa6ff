// SPDX-License-Identifier: Apache-2.0
// restore, suspend, resume.
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { action, client, parseMs, resolveTarget } from '../context.ts';
import { follow, terminalSize } from '../foreground.ts';
import { bytes } from '../format.ts';
import { jobData, jobWarnings, stageTable } from '../job-report.ts';
import { followJob } from '../job-stream.ts';
import type { Output } from '../output.ts';

const TARGET = 'pid of the root of its process tree, or job id';

export function addJobCommands(program: Command): void {
  action(
    program
      .command('restore')
      .description('bring a program back from an image; exits as the program does')
      .argument('<folder>', 'the image')
      .option('-d, --detach', 'leave it in the background; its output goes to a log', false)
      .option('--truncate', 'cut output files back that have grown since the dump', false)
      .option('-q, --quiet', 'no progress', false),
    restore,
  );
  action(
    program
      .command('suspend')
      .description('move a program out of the device; it waits until it is resumed')
      .argument('<target>', TARGET)
      .option('--drain <ms>', 'how long the device may take to reach the cut')
      .option('-q, --quiet', 'no progress', false),
    suspend,
  );
  action(
    program
      .command('resume')
      .description('bring a suspended program back into the device')
      .argument('<target>', TARGET)
      .option('-q, --quiet', 'no progress', false),
    resume,
  );
}

interface RestoreOptions {
  readonly detach: boolean;
  readonly truncate: boolean;
  readonly quiet: boolean;
}

async function restore(output: Output, options: RestoreOptions, folder: string): Promise<number> {
  const size = options.detach ? null : terminalSize();
  const request = {
    directory: resolve(folder),
    truncate: options.truncate,
    attach: !options.detach,
    ...(size === null ? {} : { pty: size }),
  };
  const result = await followJob((signal) => client().restore(request, { signal }), options.quiet);
  const text = [
    `process ${result.rootPid} was restored from ${result.directory} as job ${result.keeperId}`,
    stageTable(result),
    ...jobWarnings(result),
  ].join('\n');
  if (options.detach) {
    output.result(jobData(result), text);
    return 0;
  }
  // Standard output is the program's from here on.
  if (!options.quiet) process.stderr.write(`${text}\n`);
  return follow(result.keeperSocket, size, output);
}

async function suspend(
  output: Output,
  options: { readonly drain?: string; readonly quiet: boolean },
  target: string,
): Promise<void> {
  const drainMs = options.drain === undefined ? 0 : parseMs(options.drain);
  const pid = await resolveTarget(target);
  const result = await followJob(
    (signal) => client().suspend({ pid, drainMs }, { signal }),
    options.quiet,
  );
  const moved = `${bytes(result.deviceBytes)} moved out of the device`;
  output.result(
    jobData(result),
    [`process ${pid} is suspended, ${moved}`, stageTable(result), ...jobWarnings(result)].join(
      '\n',
    ),
  );
}

async function resume(
  output: Output,
  options: { readonly quiet: boolean },
  target: string,
): Promise<void> {
  const pid = await resolveTarget(target);
  const result = await followJob((signal) => client().resume({ pid }, { signal }), options.quiet);
  const moved = `${bytes(result.deviceBytes)} moved into the device`;
  output.result(
    jobData(result),
    [`process ${pid} goes on, ${moved}`, stageTable(result), ...jobWarnings(result)].join('\n'),
  );
}
